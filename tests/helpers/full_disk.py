"""A disk without room."""

from pathlib import Path


def fill(folder: Path) -> Path:
    """Take all the space there is; the file to delete."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler
