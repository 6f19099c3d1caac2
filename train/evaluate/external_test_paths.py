"""Where an external test lies, and what it must not take the place of."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from rcdnet.errors import DatasetError
from train.evaluate.evaluation import read_evaluation
from train.evaluate.predictions import PredictionRow, read_predictions

LONGEST_NAME = 200  # bytes of a folder's name; file systems take 255


def external_test_folder(home: Path, sources: Iterable[str]) -> Path:
    """Where a test on these sources lies: a folder of its own below `external`, and nowhere else."""
    name = "+".join(sources)
    if Path(name).name != name or name in ("", ".", "..") or len(name.encode()) > LONGEST_NAME:
        raise DatasetError(f"{name[:40]} cannot be the name of a folder. Give one for the figures with --out.")
    return home / "external" / name


def check_same_images(place: Path, digest: str, rows: Sequence[PredictionRow]) -> None:
    """Two folders of one name would take each other's place. The same weights say the same of the same image."""
    if not (place / "evaluation.json").exists() or read_evaluation(place / "evaluation.json").weights_sha256 != (
        digest,
    ):
        return
    before = {row.id: row.logit for row in read_predictions(place / "predictions.csv")}
    if not any(math.isclose(before.get(row.id, math.nan), row.logit, abs_tol=0.01) for row in rows):
        raise DatasetError(f"{place} holds a test on other images. Remove that folder, or give another one with --out.")
