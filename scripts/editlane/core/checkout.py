"""Find the files that come with the workflow, wherever the working directory is."""

from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
"""The folder that holds workflow/, scripts/, envs/ and resources/. It may be read-only."""

SHIPPED = ("config", "envs", "resources")
"""Its folders whose files a run may use. Others of the checkout are never taken for a user's own."""

LISTS = ("resources/demo/items.jsonl", "resources/canary/items.jsonl")
"""Its datasets. The workflow copies them to the working directory, because their images are built beside them."""


def find_dataset(name: str) -> Path:
    """Return the dataset of this name; if the workflow has yet to copy it, the checkout's."""
    return find_file(name) if name in LISTS else Path(name)


def find_file(name: str) -> Path:
    """Return the file or folder of this name in the working directory, or else the checkout's.

    If neither exists, return the name as it is, so that errors tell what the user wrote.
    """
    path = Path(name)
    shipped = CHECKOUT / path
    if path.parts[:1] in {(folder,) for folder in SHIPPED} and not path.exists() and shipped.exists():
        return shipped
    return path
