"""`predictions.csv`: what a model said about each image, and all that its figures are computed from."""

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np

from rcdnet.errors import DatasetError
from rcdnet.models.calibration import Calibration
from rcdnet.safe_read import LARGEST, MB, Count, Share, Unreadable, Within, parse_as, quoted, read_regular
from train.crash_safe_files import write_atomic
from train.data.burned_in_marks import find_burned_in_marks
from train.data.load_images import iterate_pixels
from train.data.sample import Sample
from train.evaluate.lesion_box_classifier import box_scores, lesion_share
from train.evaluate.network_outputs import NetworkOutputs


@dataclass(frozen=True)
class PredictionRow:
    """One image.

    group: patient or near-duplicate group. logit, vote, score: the evidence of `rcdnet.models.calibration`, for malignancy.
    probability: what the calibration makes of it, as the app shows it. marks: burned-in text or calipers were found.
    lesion_share: of the image's area. box_score: the reference by box geometry. pointing: the highest point of the true class's
    Grad-CAM map lies in the lesion. dice: of the predicted outline with the lesion. The last seven are nan or None where
    nothing is known.
    """

    id: str
    source: str
    patient: str | None
    group: Count
    label: Annotated[int, Within(0, 1)]
    logit: float
    vote: float
    score: float
    probability: Share
    birads: Annotated[int, Within(0, 9)] | None
    device: str | None
    marks: bool | None
    lesion_share: Annotated[float, Within(-1e-6, 1 + 1e-6, null=math.nan)]
    box_score: Annotated[float, Within(-LARGEST, LARGEST, null=math.nan)]
    pointing: bool | None
    dice: Annotated[float, Within(-1e-6, 1 + 1e-6, null=math.nan)]


LIMIT = 32 * MB  # of the file; a hundred thousand images
_COLUMNS = {f.name for f in fields(PredictionRow)}


def predictions(
    samples: Sequence[Sample],
    groups: Sequence[int],
    scores: NetworkOutputs,
    calibration: Calibration,
) -> list[PredictionRow]:
    """Rows for samples, in order."""
    found = {
        s.id: None if not isinstance(p, np.ndarray) else bool(find_burned_in_marks(p))
        for s, p in iterate_pixels(samples)
    }
    boxes = box_scores(calibration.box, samples)
    probabilities = calibration.probability(*scores.evidence.T)
    return [
        PredictionRow(
            id=s.id,
            source=s.source,
            patient=s.patient,
            group=int(group),
            label=s.label,
            logit=float(logit),
            vote=float(vote),
            score=float(score),
            probability=float(probability),
            birads=s.birads,
            device=s.device,
            marks=found[s.id],
            lesion_share=lesion_share(s),
            box_score=float(box),
            pointing=hit,
            dice=float(dice),
        )
        for s, group, (logit, vote, score), probability, box, hit, dice in zip(
            samples, groups, scores.evidence, probabilities, boxes, scores.pointing, scores.dice, strict=True
        )
    ]


def write_predictions(path: Path, rows: Sequence[PredictionRow]) -> str:
    """Write rows with a header; the SHA-256 of the file. Floats are whole, so that the rows read again give the same figures."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(PredictionRow)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: "" if v is None or v != v else int(v) if isinstance(v, bool) else v for k, v in asdict(row).items()}
        )
    content = text.getvalue().encode()
    write_atomic(path, content)
    return hashlib.sha256(content).hexdigest()


def read_predictions(path: Path) -> list[PredictionRow]:
    """The rows of a predictions file; `DatasetError` if there is none or it is damaged."""
    return read_with_sha256(path)[0]


def read_with_sha256(path: Path, digest: str | None = None) -> tuple[list[PredictionRow], str]:
    """As `read_predictions`, with the SHA-256 of the file; no rows, which may be many, where another `digest` was expected."""
    try:
        content = read_regular(path, LIMIT)
        found = hashlib.sha256(content).hexdigest()
        if digest not in (None, found):
            return [], found
        records = csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True)
        return [_row(record) for record in records], found
    except (Unreadable, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path} holds no predictions ({error}). Make them with: python -m train evaluate RUN"
        ) from error


def _row(record: dict[str, str]) -> PredictionRow:
    """The row of a record; `Unreadable` if it is none."""
    name = quoted(record.get("id"))
    if None in record or None in record.values() or not record.keys() >= _COLUMNS:
        raise Unreadable(f"the row of {name} is not whole")
    try:
        row: PredictionRow = parse_as(PredictionRow, {column: _value(column, record[column]) for column in _COLUMNS})
    except ValueError as error:
        raise Unreadable(f"the row of {name}: {error}") from error
    return row


def _value(column: str, text: str) -> str | float | bool | None:
    """What a cell holds, None for nothing; `ValueError` where a number is expected and is not there, or too large."""
    if column in ("id", "source") or not text:
        return text or None
    if column in ("patient", "device"):
        return text
    if column in ("marks", "pointing") and text in ("0", "1"):
        return text == "1"
    number = float(text)
    if not abs(number) <= LARGEST:
        raise ValueError(f"{text[:20]} is no number of a row")
    return int(text) if text.isdecimal() else number
