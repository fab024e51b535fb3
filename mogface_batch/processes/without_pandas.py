"""Keep pyarrow from importing pandas: that takes 0.4 s in each process, and nothing here needs it."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import pyarrow as pa

_PANDAS = "pandas"


class _PandasHider(MetaPathFinder):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> None:
        if fullname == _PANDAS:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def keep_pandas_out() -> None:
    """Hide pandas from pyarrow when it looks for it first: when it makes the first array from Python values.

    Call it only in processes of this package. `pyarrow.Table.to_pandas` looks again, and works.
    """
    if _PANDAS in sys.modules:
        return
    hider = _PandasHider()
    sys.meta_path.insert(0, hider)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(hider)
