"""Read CSV files as people and programs write them."""

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from editlane.core.errors import UserError
from editlane.core.files import check_regular

LONGEST_LINE = 150_000_000
"""Characters of a line. The parser needs up to seven bytes for each."""


class CsvFile:
    """A CSV file with a header; the header is read when the file is opened.

    A column without a name is left out: pandas writes its index as one, and spreadsheets have notes beside the table.
    """

    def __init__(self, path: Path, delimiter: str = ",") -> None:
        """Read the header. Raises UserError for a column that is there twice, and like `read_rows`."""
        self._path, self._delimiter = path, delimiter
        check_regular(path)
        header = next(self._read_lines(), (0, []))[1]
        self.columns = [name for name in header if name.strip()]
        """Names of the columns, in order."""
        check_columns_once(path, self.columns)
        self._places = [place for place, name in enumerate(header) if name.strip()]
        self._width = len(header)

    def read_rows(self, place: str = "line {line}") -> Iterator[tuple[str, dict[str, str | None]]]:
        """Yield (place of the row, its cells by name). Missing cells are None; rows without any are left out.

        `place` may hold the row's {number} and {line}. Raises UserError if the file is malformed, or a row has more
        cells than the header.
        """
        lines = self._read_lines()
        next(lines, None)
        number = 0
        for line, cells in lines:
            values = [cells[at] if at < len(cells) else None for at in self._places]
            number += any(values)
            where = place.format(number=number, line=line)
            if any(cells[self._width :]):
                raise UserError(f"{self._path}, {where} has more cells than the header has names; is a quote missing?")
            if any(values):
                yield where, dict(zip(self.columns, values, strict=True))

    def _read_lines(self) -> Iterator[tuple[int, Sequence[str]]]:
        with self._path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(self._bound(file), delimiter=self._delimiter, strict=True)
            try:
                for cells in reader:
                    if cells:
                        yield reader.line_num, cells
            except csv.Error as error:
                raise UserError(f"{self._path} is broken near line {reader.line_num}: {error} (broken CSV).") from error
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._path} is not UTF-8 ({error.reason}). Save it as UTF-8 and try again."
                ) from error

    def _bound(self, file: TextIO) -> Iterator[str]:
        """Yield the lines of a file. Raises UserError for one that is longer than LONGEST_LINE."""
        for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), ""), 1):
            if len(line) > LONGEST_LINE:
                raise UserError(
                    f"{self._path}, line {number} is longer than {LONGEST_LINE:,} characters. Is a line break missing? "
                    "An image of that size belongs into a file."
                )
            yield line


def check_columns_once(path: Path, columns: Sequence[str]) -> None:
    """Raise UserError if a table has two columns of one name, because either may be meant."""
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise UserError(f"{path} has the column {doubled[0]} twice. Remove one.")
