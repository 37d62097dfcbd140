"""Keep pyarrow from importing pandas, which takes a third of a small step's time, where nothing needs it.

pyarrow looks for pandas once, when it first converts Python values, to recognise those of pandas. If it is not found
then, only `to_pandas` looks for it again, as `tables.read_frame` does.
"""

import sys
from typing import Any

import pyarrow as pa


class _NoPandas:
    """Import hook that finds no pandas."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name == "pandas":
            raise ImportError(name)


if "pandas" not in sys.modules:
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)
