"""What an image can be labelled: one of the two classes, or without a lesion."""

from rcdnet.errors import DatasetError
from rcdnet.models.registry import CLASSES
from train.data.csv_tables import clean

NO_LESION = -1  # the label of a scan of a breast in which there is none; it is no benign one
NORMAL = "normal"  # what data sets call it
LABELS = {name: label for label, name in enumerate(CLASSES)} | {NORMAL: NO_LESION}


def parse_label(text: str, name: str) -> int:
    """The label that a table gives to an image of this name; `DatasetError` unless it is one of `LABELS`, for 1 may mean either."""
    word = clean(text).casefold()
    if word not in LABELS:
        raise DatasetError(
            f"{name} is labelled {text!r}; expected {', '.join(CLASSES)} or {NORMAL}. Correct it or leave it out."
        )
    return LABELS[word]
