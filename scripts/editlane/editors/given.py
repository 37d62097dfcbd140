"""The edits that were made elsewhere (`format: pairs` or `edited_dir`): score only, no editing."""

from collections.abc import Mapping
from typing import Any

from editlane.core.errors import EditFailed, SourceUnreadable, UserError
from editlane.core.types import Edit, EditRequest
from editlane.images.files import open_image


class GivenEditor:
    """Returns the image that was given for the item."""

    VERSION = "1"
    NEEDS_MODEL = False
    SPEED_PARAMS: frozenset[str] = frozenset()

    def __init__(self, *, model: str | None, revision: str | None, params: Mapping[str, Any]) -> None:
        self.check_params(params)

    @classmethod
    def check_params(cls, params: Mapping[str, Any]) -> None:
        """Raises UserError where there are any: this adapter has no settings."""
        if params:
            raise UserError(f"params of the given editor: it takes none, but has {', '.join(params)}. Remove them.")

    def edit(self, request: EditRequest) -> Edit:
        """The given edit, RGB and upright. Raises EditFailed of kind `missing`, or of the kinds of open_image."""
        path = request.given
        if path is None:
            raise EditFailed("no edit is given for this item, or its file was missing", kind="missing")
        try:
            return Edit(image=open_image(path))
        except SourceUnreadable as error:
            raise EditFailed(f"the given edit cannot be read: {error}", kind=error.kind) from error
