"""What the locale of this process does to text that is not ASCII."""

import io
import sys

from editlane.core.errors import UserError


def escape_unencodable() -> None:
    """Let stdout and stderr escape what their encoding lacks, such as Chinese in ASCII. By default it raises."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_names_of_files() -> None:
    """Raise UserError if this Python cannot name every file, because categories and items name files."""
    encoding = sys.getfilesystemencoding()
    if encoding.replace("-", "").lower() != "utf8":
        raise UserError(
            f"this Python names files in {encoding}, which has no Chinese, for example: the locale says so, and "
            "PYTHONUTF8 is 0 or unset. Set PYTHONUTF8=1, or a locale such as LC_ALL=C.UTF-8, and start again."
        )
