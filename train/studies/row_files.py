"""A study's CSV file: rows of one dataclass, added image by image, so that a kill loses at most the image that was being measured."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from train.crash_safe_files import append_line, read_complete_lines

Row = TypeVar("Row")


def header_of(kind: type[Any]) -> str:
    """The first line of a file of such rows, whose fields are texts, numbers, and true or false."""
    return ",".join(f.name for f in fields(kind)) + "\n"


def rows_text(rows: Sequence[Any], digits: int | None = None) -> str:
    """Rows as CSV without a header; floats with `digits` significant digits, or with all of them."""

    def cell(value: object) -> object:
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, float):
            return "" if math.isnan(value) else repr(float(value)) if digits is None else f"{value:.{digits}g}"
        return value

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([cell(value) for value in astuple(row)] for row in rows)
    return text.getvalue()


def append_rows(path: Path, rows: Sequence[Any], digits: int | None = None) -> None:
    """Add the rows of one image, of which there is one at least; a new file gets a header."""
    if not path.exists():
        append_line(path, header_of(type(rows[0])))
    append_line(path, rows_text(rows, digits))


def parse_rows(path: Path, kind: type[Row]) -> list[Row]:
    """The rows of a file, none where there is no file; a line that a kill cut off is passed over.

    Raises:
        OSError, ValueError, KeyError, TypeError: it holds something else.
    """
    hints = get_type_hints(kind)

    def parsed(text: str, hint: type) -> object:
        if hint is bool:
            return bool(int(text))
        if hint is float:
            return float(text) if text else math.nan
        return hint(text)

    lines = [line + "\n" for line in read_complete_lines(path)]
    if lines and lines[0] != header_of(kind):
        raise ValueError("its columns are others")
    return [
        kind(**{name: parsed(record[name], hint) for name, hint in hints.items()}) for record in csv.DictReader(lines)
    ]
