"""Who is one patient, in a column that people and Excel wrote."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from rcdnet.errors import DatasetError
from train.data.csv_tables import clean, is_missing_value
from train.data.folder_listing import printable

_PARTS = re.compile(r"\d+|[^\W\d_]+")
_WHOLE = re.compile(r"(\d+)[.,]0+")  # a number that went through a spreadsheet or pandas
_ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d{2}")  # as Excel shows a long number, and saves it
_MOST_OF = 0.2  # share of a table's images, and
_MANY = 20  # number of images, from which one patient is worth a word


def parse_patient_ids(cells: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """The patient of each cell, None where it says none, and sentences about what was taken for what.

    Written as 1, 001 and 1.0, or as p2 and P2, it is one patient, called as it is written first: two who are taken for one stay on
    one side of a split, one who is taken for two would not.

    >>> parse_patient_ids(["001", "P2", "1", "p-2", "nan", "12", "1-2"])[0]
    ['001', 'P2', '001', 'P2', None, '12', '1-2']
    """
    first: dict[tuple[str, ...], str] = {}
    spellings: dict[tuple[str, ...], dict[str, None]] = {}
    found: list[str | None] = []
    unknown: Counter[str] = Counter()
    for cell in cells:
        written = clean(cell)
        if is_missing_value(written):
            found.append(None)
            unknown.update([written] if written else [])
            continue
        if _ROUNDED.fullmatch(written):
            raise DatasetError(
                f"A patient is given as {written}, a number that a spreadsheet rounded, so two patients may look like one. Format the "
                "column as text and enter the numbers again."
            )
        key = _key(written)
        found.append(first.setdefault(key, written))
        spellings.setdefault(key, {})[written] = None
    notes = [
        f"the patient of {count} image{'s' * (count > 1)} is given as {printable(cell)}, which is read as unknown"
        for cell, count in unknown.items()
    ]
    if alike := [" and ".join(map(printable, names)) for names in spellings.values() if len(names) > 1]:
        more = f", and so are {len(alike) - 3} more groups" if len(alike) > 3 else ""
        notes.append(
            f"patients {'; '.join(alike[:3])} are each taken for one patient{more}, because only their spelling differs; if they are "
            "two, give them different names"
        )
    for name, count in Counter(filter(None, found)).most_common(1):
        if count >= max(_MANY, _MOST_OF * len(cells)):
            notes.append(
                f"{count} of {len(cells)} images are of one patient, {printable(name)}; if that stands for unknown, leave it empty"
            )
    return found, notes


def _key(written: str) -> tuple[str, ...]:
    """Letters and numbers of a name, each without what only its writing adds."""
    text = unicodedata.normalize("NFKC", written).casefold()
    if whole := _WHOLE.fullmatch(text):
        text = whole[1]
    return tuple(part.lstrip("0") or "0" for part in _PARTS.findall(text))
