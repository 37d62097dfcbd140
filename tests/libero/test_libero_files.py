"""The installed LIBERO is LIBERO: its models, textures and tasks are those of the repository that policies know."""

import os
import subprocess
from hashlib import sha1, sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-libero/bin/python"

pytestmark = [
    pytest.mark.libero,
    pytest.mark.skipif(not PYTHON.exists(), reason="LIBERO is not installed; `make test-libero` does it"),
]

UPSTREAM = "e4093a0983d026c265eb196d464b4f1e330589391379e390e030eeb82bf10b8f"
"""Computed from `git ls-tree -r` of Lifelong-Robot-Learning/LIBERO at 8f1084e3132a39270c3a13ebe37270a43ece2a01: its 585
files in libero/libero/assets and the 130 `.bddl` files in libero/libero/bddl_files. The package has the same bytes."""
ASSETS, TASKS = 585, 130

SUITES = ("libero_10", "libero_90", "libero_goal", "libero_object", "libero_spatial")
ADDED = {
    "articulated_objects": "yellow_cabinet yellow_cabinet.xml yellow_stove yellow_stove.xml",
    "custom_objects": "libero_mug libero_mug_yellow",
    "scenes": "yellow_book",
    "stable_hope_objects": "bigger_alphabet_soup bigger_milk blue_ketchup green_bbq_sauce green_butter "
    "green_chocolate_pudding green_ketchup red_alphabet_soup red_cream_cheese red_orange_juice red_salad_dressing "
    "red_sticker yellow_cookies yellow_milk yellow_tomato_sauce",
    "stable_scanned_objects": "bigger_akita_black_bowl black_bowl red_akita_black_bowl red_basket red_ramekin "
    "red_sticker yellow_bowl yellow_plate",
    "turbosquid_objects": "brown_rack red_yellow_book white_bottle white_porcelain_mug yellow_desk_caddy "
    "yellow_moka_pot",
}
"""What LIBERO-PRO has besides, for its own variants of the suites."""


def find_roots() -> tuple[Path, Path]:
    """Return the folders of the assets and of the tasks, as LIBERO itself finds them."""
    code = (
        "from libero.libero import get_libero_path as find; print('ROOTS', find('assets'), find('bddl_files'), sep='|')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([PYTHON, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assets, tasks = next(line for line in done.stdout.splitlines() if line.startswith("ROOTS|")).split("|")[1:]
    return Path(assets), Path(tasks)


def is_added(path: Path) -> bool:
    return len(path.parts) > 1 and path.parts[1] in ADDED.get(path.parts[0], "").split()


def hash_blob(content: bytes) -> str:
    """Return the name that git gives a file's content."""
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


def test_assets_and_tasks_are_the_bytes_of_liberos_repository() -> None:
    assets, tasks = find_roots()
    known = [path.relative_to(assets) for path in assets.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    files = {f"assets/{path}": assets / path for path in known if not is_added(path)}
    assert len(files) == ASSETS
    files |= {f"bddl_files/{suite}/{path.name}": path for suite in SUITES for path in (tasks / suite).glob("*.bddl")}
    assert len(files) == ASSETS + TASKS
    lines = "".join(f"{name} {hash_blob(files[name].read_bytes())}\n" for name in sorted(files))
    assert sha256(lines.encode()).hexdigest() == UPSTREAM
