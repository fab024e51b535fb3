"""Keeps pyarrow from importing pandas, where it is installed: 0.4 s of each process, for nothing that is used here."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import pyarrow as pa

_PANDAS = "pandas"


class _HidesPandas(MetaPathFinder):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> None:
        if fullname == _PANDAS:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def keep_pandas_out() -> None:
    """Have pyarrow find no pandas when it first looks, which is when the first array is made of Python values.

    For processes that are ours alone. `pyarrow.Table.to_pandas` looks again, and works.
    """
    if _PANDAS in sys.modules:
        return
    hides = _HidesPandas()
    sys.meta_path.insert(0, hides)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(hides)
