"""Copies of the checkout, in which commands of the README run."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy_checkout(folder: Path) -> None:
    """Copy the tracked and new files to `folder`, and link the installed packages."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")


def run_in(folder: Path, *command: str) -> str:
    """Run a command there, without a GPU; return what it prints. Asserts that it succeeds."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "GPULEASE_DIR": str(folder / ".leases")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def make(folder: Path, target: str) -> str:
    """Run `make TARGET` there with the installed packages; return what it prints."""
    return run_in(folder, "make", target, "--old-file=.venv/installed")
