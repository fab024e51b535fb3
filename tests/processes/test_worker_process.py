"""Tests of mogface_batch.processes.worker_process, in processes of their own."""

import importlib.util
import subprocess
import sys

import pytest

KEEP_OUT = """
import sys
import pyarrow as pa
from mogface_batch.processes.worker_process import keep_pandas_out
keep_pandas_out()
values = pa.table({"a": pa.array([1, 2]), "b": ["x", None]})
print("pandas" in sys.modules, values.to_pylist()[1])
"""
TO_PANDAS = """
print(values.to_pandas()["a"].sum(), pa.array(values.to_pandas()["a"]).to_pylist())
"""


def said(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_arrays_are_made_without_pandas():
    assert said(KEEP_OUT) == "False {'a': 2, 'b': None}\n"


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="no pandas")
def test_who_asks_for_pandas_still_gets_it():
    assert said(KEEP_OUT + TO_PANDAS).splitlines()[1] == "3 [1, 2]"


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="no pandas")
def test_pandas_that_is_there_stays():
    assert said("import pandas\n" + KEEP_OUT) == "True {'a': 2, 'b': None}\n"
