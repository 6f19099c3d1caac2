"""`predictions.csv`: what a model said about each image, and all that its figures are computed from."""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from rcdnet.calibration import Calibration
from rcdnet.errors import DatasetError
from train.data.decode import iterate_pixels
from train.data.marks import find_marks
from train.data.sources import Sample
from train.evaluate.references import box_scores, lesion_share
from train.files import write_whole


@dataclass(frozen=True)
class Row:
    """One image.

    group: patient or near-duplicate group. logit, vote, score: the evidence of `rcdnet.calibration`, for malignancy.
    probability: what the calibration makes of it, as the app shows it. marks: burned-in text or calipers were found.
    lesion_share: of the image's area. box_score: the reference by box geometry. pointing: the highest point of the true class's
    Grad-CAM map lies in the lesion. dice: of the predicted outline with the lesion. The last seven are nan or None where
    nothing is known.
    """

    id: str
    source: str
    patient: str | None
    group: int
    label: int
    logit: float
    vote: float
    score: float
    probability: float
    birads: int | None
    device: str | None
    marks: bool | None
    lesion_share: float
    box_score: float
    pointing: bool | None
    dice: float


@dataclass(frozen=True)
class Scores:
    """What a network gives for N images. evidence: float (N, 3), logit, vote and score. pointing, dice (N,): as in `Row`."""

    evidence: np.ndarray
    pointing: tuple[bool | None, ...]
    dice: np.ndarray


def predictions(
    samples: Sequence[Sample],
    groups: Sequence[int],
    scores: Scores,
    calibration: Calibration,
) -> list[Row]:
    """Rows for samples, in order."""
    found = {s.id: None if not isinstance(p, np.ndarray) else bool(find_marks(p)) for s, p in iterate_pixels(samples)}
    boxes = box_scores(calibration.box, samples)
    probabilities = calibration.probability(*scores.evidence.T)
    return [
        Row(
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


def write_predictions(path: Path, rows: Sequence[Row]) -> str:
    """Write rows with a header; the SHA-256 of the file. Floats are whole, so that the rows read again give the same figures."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {k: "" if v is None or v != v else int(v) if isinstance(v, bool) else v for k, v in asdict(row).items()}
        )
    content = text.getvalue().encode()
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def read_predictions(path: Path) -> list[Row]:
    """The rows of a predictions file; `DatasetError` if there is none or it is damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_row(record) for record in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path} holds no predictions ({error}). Make them with: python -m train evaluate RUN"
        ) from error


def _row(record: dict[str, str]) -> Row:
    if None in record or None in record.values():
        raise ValueError(f"the row of {record['id']} is not whole")

    def truth(name: str) -> bool | None:
        return bool(int(record[name])) if record[name] else None

    def number(name: str) -> float:
        return float(record[name]) if record[name] else float("nan")

    return Row(
        id=record["id"],
        source=record["source"],
        patient=record["patient"] or None,
        group=int(record["group"]),
        label=int(record["label"]),
        logit=float(record["logit"]),
        vote=float(record["vote"]),
        score=float(record["score"]),
        probability=float(record["probability"]),
        birads=int(record["birads"]) if record["birads"] else None,
        device=record["device"] or None,
        marks=truth("marks"),
        lesion_share=number("lesion_share"),
        box_score=number("box_score"),
        pointing=truth("pointing"),
        dice=number("dice"),
    )
