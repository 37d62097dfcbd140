"""A step that needs no pandas does not import it, and one that does gets it."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[3] / "scripts"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_tables_are_written_without_pandas() -> None:
    code = "import sys, pyarrow as pa; from editlane.core import tables; pa.table({'a': [1]})"
    assert run(f"{code}; print('pandas' in sys.modules)") == "False"


def test_pandas_is_found_where_it_is_needed(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
import pyarrow as pa
from editlane.core import tables
path = Path({str(tmp_path)!r}) / "t.parquet"
tables.write_table(path, [{{"score": 1.5}}, {{"score": None}}], pa.schema([("score", pa.float64())]))
frame = tables.read_frame(path, ["score"])
print(type(frame).__module__, pa.array(frame["score"]).null_count)
"""
    assert run(code).startswith("pandas")
    assert run(code).endswith(" 1"), "pyarrow knows the values of pandas from then on"
