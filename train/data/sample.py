"""One labelled image on disk, and what readers of data sets share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rcdnet.errors import DatasetError
from rcdnet.models.registry import CLASSES
from train.data.csv_tables import clean
from train.data.labels import LABELS, NORMAL

PHANTOM_SOURCE = "phantoms"  # the source of drawn scans, and the name of their table
# Takes a sentence about what a reader passed over, or took for something else than is written.
Say = Callable[[str], object]


@dataclass(frozen=True)
class Sample:
    """One labelled image on disk.

    id: unique over all sources, `source/file stem`.
    label: index into `CLASSES`, or `train.data.labels.NO_LESION`.
    patient: id of the patient, where the source has one; images of one patient never part in a split.
    fold: official cross-validation fold, where the source has one.
    masks: lesion mask files, training supervision only; their union is the lesion.
    birads: the radiologist's category, 2 to 5. device: the scanner. box: x, y, width, height of the lesion in pixels.
    """

    id: str
    source: str
    path: Path
    label: int
    patient: str | None = None
    fold: int | None = None
    masks: tuple[Path, ...] = ()
    birads: int | None = None
    device: str | None = None
    box: tuple[int, int, int, int] | None = None


def is_phantom_folder(folder: Path) -> bool:
    """Whether a folder holds phantoms as `train.data.phantoms` writes them, with their table."""
    return (folder / f"{PHANTOM_SOURCE}.csv").is_file()


def ignore_message(sentence: str) -> None:
    """Takes a sentence where nobody asks for one."""


def parse_label(text: str, name: str) -> int:
    """The label that a table gives to an image of this name; `DatasetError` unless it is one of `LABELS`, for 1 may mean either."""
    word = clean(text).casefold()
    if word not in LABELS:
        raise DatasetError(
            f"{name} is labelled {text!r}; expected {', '.join(CLASSES)} or {NORMAL}. Correct it or leave it out."
        )
    return LABELS[word]
