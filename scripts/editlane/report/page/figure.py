"""What a section shows as a picture."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with its title and what is to be known to read it."""

    title: str
    svg: Markup
    note: str = ""
