"""Tests of benchmarks.measure_code: the rules for names, sizes, and the files that a row passes."""

import doctest
from pathlib import Path

import pytest

from benchmarks import measure_code
from benchmarks.code_metrics import names, sizes
from benchmarks.code_metrics.modules import read_modules
from benchmarks.code_metrics.row_files import trace_row
from mogface_batch.errors import InputError

ROOT = Path(__file__).parents[2]
CLEAN = """
class Plan:
    @property
    def rows(self): ...
    @classmethod
    def of(cls, text): ...
    def __len__(self): ...

def load_plan(path, *, limit):
    def count_rows(batch): ...
    return [row for row in path]
"""
VAGUE = """
class Plan: ...

def told(some):
    found = some
    for other in found:
        self = other

def _sorted_rows(): ...
"""


@pytest.fixture
def checkout(tmp_path):
    """Return a function that writes a package of these files and returns the checkout."""

    def write(**texts):
        for name, text in {"__init__": "", **texts}.items():
            path = tmp_path / "mogface_batch" / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def modules_of(checkout):
    return read_modules(checkout, "mogface_batch")


def test_the_examples_of_the_rules_hold():
    assert doctest.testmod(names).failed == 0


def test_properties_constructors_and_magic_methods_are_not_judged(checkout):
    assert names.list_function_names(modules_of(checkout(plan=CLEAN))) == ["load_plan", "count_rows"]


@pytest.mark.parametrize(
    ("name", "is_participle", "is_verb"),
    [
        pytest.param("told", True, False, id="irregular"),
        pytest.param("_listed", True, False, id="regular-and-private"),
        pytest.param("worked_off", True, False, id="with-a-particle"),
        pytest.param("embed_rows", False, False, id="a-base-form-that-is-not-in-the-list"),
        pytest.param("open", False, True, id="a-base-form-in-en"),
        pytest.param("put_part", False, True, id="equal-to-its-base-form"),
        pytest.param("is_done", False, True, id="a-claim"),
        pytest.param("plan", False, False, id="a-noun-alone"),
        pytest.param("plan_units", False, True, id="a-verb-with-its-object"),
        pytest.param("rows_left", False, False, id="a-noun"),
    ],
)
def test_a_name_is_judged_by_its_first_word(name, is_participle, is_verb):
    assert names.begins_with_participle(name) is is_participle
    assert names.begins_with_verb(name) is is_verb


def test_local_names_are_counted_once_a_function(checkout):
    total, vague = names.count_local_names(modules_of(checkout(plan=CLEAN, told=VAGUE)))

    # path, limit, row, batch and text; some, found, other.
    assert total == 8
    assert vague == {"some": 1, "found": 1, "other": 1}


def test_names_that_occur_twice_are_found(checkout):
    modules = modules_of(checkout(plan=CLEAN, a__in__plan=VAGUE, a__in____init__=""))

    assert sizes.find_repeated_file_names(modules) == {"plan.py": ["a", "."]}
    assert sizes.find_repeated_class_names(modules) == {"Plan": ["a/plan.py", "plan.py"]}
    assert sizes.count_files_by_folder(modules) == [(".", 2), ("a", 2)]
    assert sizes.measure_functions(modules).longest_name == "a/plan.py: told"


def test_the_check_fails_where_names_are_worse_than_the_limits(checkout, capsys):
    assert measure_code.main([str(checkout(plan=CLEAN)), "--check"]) == 0
    assert measure_code.main([str(checkout(told=VAGUE)), "--check"]) == 1

    assert "| function names that begin with a participle, of 4 | 50.0 % | told, _sorted_rows |" in (
        capsys.readouterr().out
    )


def test_a_folder_without_the_package_is_a_sentence(tmp_path, capsys):
    assert measure_code.main([str(tmp_path)]) == InputError.exit_code

    assert "has no package mogface_batch" in capsys.readouterr().err


def test_the_files_that_a_row_passes_are_those_of_all_processes():
    trace = trace_row(ROOT, "mogface_batch", "local")

    folders = {file.partition("/")[0] for file in trace.files}
    assert {"cli", "planning", "storage", "images", "detector", "stages", "output"} <= folders
    assert not any(file.startswith(("export/", "engines/ray/")) for file in trace.files)
    assert trace.without_entry < trace.files
    assert {file for file in trace.files if file.startswith(("storage/", "images/"))} <= trace.without_entry
