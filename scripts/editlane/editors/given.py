"""Use edits that were made elsewhere (`format: pairs`, `edited_dir` or `dir`), so that they can be scored."""

from typing import Annotated

from pydantic import Field

from editlane.core.errors import EditFailed, SourceUnreadable
from editlane.core.params import EDITS_FOLDER, Params
from editlane.core.types import Edit, EditRequest, RunsOn
from editlane.images.files import open_image


class GivenParams(Params):
    """The settings of given edits."""

    dir: Annotated[Annotated[str, Field(min_length=1)] | None, EDITS_FOLDER] = None
    """Folder with this editor's edit of each item, named as in `dataset.edited_dir`. Without it, the edits are those of
    the dataset."""


class GivenEditor:
    """Returns the image that was given for the item."""

    VERSION = "1"
    RUNS_ON = RunsOn.NOTHING
    PARAMS = GivenParams

    def __init__(self, *, model: str | None, revision: str | None, params: GivenParams) -> None: ...

    def edit(self, request: EditRequest) -> Edit:
        """Return the given edit, RGB and upright. Raises EditFailed of kind `missing`, or of a kind of open_image."""
        path = request.given
        if path is None:
            raise EditFailed("no edit is given for this item, or its file was missing", kind="missing")
        try:
            return Edit(image=open_image(path))
        except SourceUnreadable as error:
            raise EditFailed(f"the given edit cannot be read: {error}", kind=error.kind) from error
