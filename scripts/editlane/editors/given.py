"""Use edits that were made elsewhere (`format: pairs` or `edited_dir`), so that they can be scored."""

from editlane.core.errors import EditFailed, SourceUnreadable
from editlane.core.params import Params
from editlane.core.types import Edit, EditRequest, RunsOn
from editlane.images.files import open_image


class GivenEditor:
    """Returns the image that was given for the item."""

    VERSION = "1"
    RUNS_ON = RunsOn.NOTHING
    PARAMS = Params

    def __init__(self, *, model: str | None, revision: str | None, params: Params) -> None: ...

    def edit(self, request: EditRequest) -> Edit:
        """Return the given edit, RGB and upright. Raises EditFailed of kind `missing`, or of a kind of open_image."""
        path = request.given
        if path is None:
            raise EditFailed("no edit is given for this item, or its file was missing", kind="missing")
        try:
            return Edit(image=open_image(path))
        except SourceUnreadable as error:
            raise EditFailed(f"the given edit cannot be read: {error}", kind=error.kind) from error
