"""The names that the edit of an item may have in a folder of edits: paths in it, without suffix."""

from editlane.datasets.item_ids import number_turn, sanitise_id

_RE_EDIT_SUFFIX = "_primary"
"""Added to the names of edits by RE-Edit's own pipeline."""


def list_edit_names(
    name: str | None, own: tuple[str, ...], categories: tuple[str, str], format: str
) -> tuple[str, ...]:
    """List the names that an edit may have: the item's id, or else its image's stem, alone or in a folder of its
    category, and the benchmark's own. There are none for a record without id and name."""
    if name is None:
        return ()
    names = dict.fromkeys((name, sanitise_id(name)))
    if format == "base64-json":
        names |= dict.fromkeys(name + _RE_EDIT_SUFFIX for name in tuple(names))
    inside = [f"{category}/{name}" for category in dict.fromkeys(categories) for name in (*names, *own)]
    return (*names, *inside, *own)


def name_edits_of_turn(names: tuple[str, ...], turn: int) -> tuple[str, ...]:
    """List the names that the edit of a turn may have: those of the whole chain's, with the turn's number."""
    split = [name.rpartition("/") for name in names]
    numbered = [(folder + slash, (f"{stem}-turn{turn}", number_turn(stem, turn))) for folder, slash, stem in split]
    return tuple(dict.fromkeys(folder + name for folder, both in numbered for name in both))
