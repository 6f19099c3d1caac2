"""Tables as people bring them: CSV by comma, semicolon or tab, in the encodings of Excel, with paths of Windows and the Mac."""

import codecs
import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rcdnet.errors import DatasetError
from train.data.folder_listing import equivalent_name, path_exists, suggest_path

TABLE = ("path", "label", "patient", "mask")
SUFFIXES = (".csv", ".tsv")
_DELIMITERS = (",", ";", "\t", "|")
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u200e\u200f"))
_WITHOUT = {
    "nan", "<nan>", "nat", "none", "null", "nil", "na", "<na>", "n/a", "#n/a", "#nv", "n.a.", "n.a", "k.a.", "-1", "unknown", "unbekannt",
    "inconnu", "desconocido", "missing", "not available", "not known", "tbd",
}  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """The rows of a table, by column; blank ones left out. lines: where each stands in the file. notes: how it had to be read."""

    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]
    notes: tuple[str, ...]


def read_table(path: Path, columns: Iterable[str], *, own: bool = False) -> Rows:
    """The rows of a table that has `columns`. Of one's `own` no other than `TABLE` may be there: a column of patients under another
    name, passed over, would let them lie on both sides of a split.

    Raises:
        DatasetError: it cannot be read, or a row of it could be read in two ways.
    """
    text, encoding = _text_of(path)
    columns = tuple(columns)
    found = _records(path, text, columns, own=own)
    (_, header), *records = found
    names = [clean(name).lower() if own else clean(name) for name in header]
    if missing := [name for name in columns if name not in names]:
        raise DatasetError(
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(filter(None, names)) or 'none'}."
        )
    if twice := [name for name in TABLE if own and names.count(name) > 1]:
        raise DatasetError(f"{path.name} has two columns named {twice[0]}. Remove one of them.")
    if others := [name for name in names if own and name and name not in TABLE]:
        raise DatasetError(
            f"{path.name} has the columns {', '.join(others)}, which are not read. Expected {', '.join(TABLE)}: rename them or take "
            "them out."
        )
    notes = [] if encoding == "UTF-8" else [f"{path.name} is not in UTF-8 and was read as {encoding}"]
    rows, lines = [], []
    for line, cells in records:
        if not any(map(clean, cells)):
            continue
        if any(map(clean, cells[len(names) :])):
            raise DatasetError(
                f"Line {line} of {path.name} has {len(cells)} cells; expected {len(names)}. Put a name with a comma between quotes."
            )
        if any("\n" in cell for cell in cells):
            raise DatasetError(f"A quote in {path.name} is not closed before line {line}. Close it, or take it out.")
        padded = [*cells, *[""] * (len(names) - len(cells))]
        rows.append(dict(zip(names, padded, strict=False)))
        lines.append(line)
    if own and any(clean(row.get("", "")) for row in rows):
        notes.append(f"{path.name} has a column without a name, which was skipped")
    return Rows(tuple(rows), tuple(lines), tuple(notes))


def is_table(path: Path) -> bool:
    """Whether a file is a table of one's own: it has the columns path and label."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            start = file.read(4000)
        found = _records(path, _decoded(path, start, partly=True)[0].splitlines()[:9], TABLE[:2], own=True)
    except (OSError, DatasetError):
        return False
    return bool(found) and set(TABLE[:2]) <= {clean(name).lower() for name in found[0][1]}


def clean(cell: str) -> str:
    """A cell without spaces around it or characters that cannot be seen."""
    return cell.translate(_INVISIBLE).strip()


def is_missing_value(cell: str) -> bool:
    """Whether a cell says that there is nothing to say.

    >>> [is_missing_value(cell) for cell in ("", "NaN", "n/a", " - ", "P1")]
    [True, True, True, True, False]
    """
    return clean(cell).casefold() in _WITHOUT or not any(map(str.isalnum, cell))


def path_of(base: Path, cell: str) -> Path:
    """The file that a cell means, relative to `base`; where there is none, the one that it says.

    Read as the cell, without spaces around it, with `\\` for `/`, and, where one file alone fits, in another Unicode form or case.
    """
    for text in dict.fromkeys((cell, clean(cell), clean(cell).replace("\\", "/"))):
        if text and path_exists(base / text):
            return base / text
    parts, here = Path(clean(cell).replace("\\", "/")).parts, base
    for part in parts:
        found = here / part if part in ("/", "..") else equivalent_name(here, part)
        here = here / (found or part)
    return here


def missing_file_hint(path: Path) -> str:
    """What helps somebody whose table or folder names a file that is not there."""
    if os.name != "nt" and any(re.fullmatch("[A-Za-z]:", part) for part in path.parts):
        return "That is a Windows path: give paths relative to the table."
    return suggest_path(path) or "Put it back, or correct its row."


def _text_of(path: Path) -> tuple[str, str]:
    if not path.is_file():
        hint = suggest_path(path)
        raise DatasetError(
            f"{path} does not exist. Expected the data set as it was downloaded, nothing moved or renamed. {hint}".rstrip()
        )
    try:
        return _decoded(path, path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be opened ({error.strerror}). Allow it to be read.") from error


def _decoded(path: Path, content: bytes, *, partly: bool = False) -> tuple[str, str]:
    """Text and encoding. Windows-1252 gives every byte its own letter, so that no two names become one; a wrong guess finds no file."""
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    order = {"utf-16": "UTF-16"} if marked else {"utf-8-sig": "UTF-8", "cp1252": "Windows-1252"}
    for codec, name in order.items():
        try:
            text = codecs.getincrementaldecoder(codec)().decode(content, final=not partly)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            raise DatasetError(f"{path.name} holds a zero byte. Save it as CSV in UTF-8.")
        return text, name
    raise DatasetError(f"{path.name} is no table in UTF-8. Save it as CSV in UTF-8.")


def _records(
    path: Path, text: str | Sequence[str], columns: Sequence[str], *, own: bool
) -> list[tuple[int, list[str]]]:
    """Lines of cells with their numbers, the header first; the delimiter is the one that parts the header into these columns."""
    lines = io.StringIO(text, newline=None).readlines() if isinstance(text, str) else list(text)
    first_line = lines[0].strip().lower() if lines else ""
    first = 1 if first_line.startswith("sep=") else 0  # of Excel
    try:
        for delimiter in (*(first_line[4:5] if first and first_line[4:] else _DELIMITERS), ","):
            reader = csv.reader(lines[first:], delimiter=delimiter, skipinitialspace=True)
            header = next((cells for cells in reader if any(map(clean, cells))), [])
            if set(columns) <= {clean(name).lower() if own else clean(name) for name in header}:
                break
        return [(reader.line_num + first, header), *((reader.line_num + first, cells) for cells in reader)]
    except csv.Error as error:
        raise DatasetError(f"{path.name} is no table in UTF-8 ({error}). Save it as CSV in UTF-8.") from error
