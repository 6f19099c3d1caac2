"""What rows are told by the three answers and by conformal sets, each by thresholds that it did not choose."""

from collections.abc import Iterable, Sequence

import numpy as np

from rcdnet.models.verdict import VerdictCounts
from train.data.public_datasets import TITLES
from train.evaluate.predictions import PredictionRow
from train.metrics.calibration_and_threshold import OperatingPoint
from train.metrics.verdict_thresholds import verdict_counts


def count_verdicts(told: Iterable[tuple[PredictionRow, OperatingPoint]], role: str) -> tuple[VerdictCounts, ...]:
    """Of each source, how many of each class got each answer. Rows whose point has no thresholds for that are passed over.

    Args:
        told: rows, with the probability that the point's calibration gives them. role: what else the rows were used for.
    """
    parts: dict[str, list[tuple[PredictionRow, OperatingPoint]]] = {}
    for row, point in told:
        parts.setdefault(row.source, []).append((row, point))
    return tuple(c for source, members in parts.items() if (c := _of_source(source, role, members)))


def _of_source(source: str, role: str, members: Sequence[tuple[PredictionRow, OperatingPoint]]) -> VerdictCounts | None:
    usable = [(row, p.verdict, p.conformal) for row, p in members if p.verdict and p.conformal]
    if not usable:
        return None
    rows, thresholds, conformal = zip(*usable, strict=True)
    labels, probabilities = np.array([row.label for row in rows], int), np.array([row.probability for row in rows])
    return verdict_counts(TITLES.get(source, source), role, labels, probabilities, thresholds, conformal)
