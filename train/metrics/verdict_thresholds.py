"""The thresholds of the three answers and of conformal sets: chosen on validation images, carried over to every other set."""

from collections.abc import Sequence

import numpy as np

from rcdnet.models.registry import CLASSES
from rcdnet.models.verdict import VERDICTS, ConformalThresholds, VerdictCounts, VerdictThresholds

MISSED = 0.02  # of the cancers among the images that choose, so many may be told low suspicion
REACHED = 0.10  # of the benign lesions among them, so many may be told high suspicion
LEVEL = 0.90  # of conformal sets


def verdict_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> VerdictThresholds:
    """The highest low and the lowest high threshold that `MISSED` and `REACHED` allow on these images, midway between two scores.

    Where the first would lie above the second, a scan between them could be called either; both are then the first.

    Args:
        labels: int (N,) of 0 and 1, both present. probabilities: of malignancy, calibrated, float (N,).
    """
    sick, well = np.sort(probabilities[labels == 1]), np.sort(probabilities[labels == 0])
    missed, reached = int(MISSED * len(sick) + 1e-9), int(REACHED * len(well) + 1e-9)
    lowest_found = sick[missed]
    below = probabilities[probabilities < lowest_found]
    low = float((lowest_found + below.max()) / 2) if len(below) else float(lowest_found / 2)
    highest_kept = well[len(well) - reached - 1]
    above = probabilities[probabilities > highest_kept]
    high = float((highest_kept + above.min()) / 2) if len(above) else float((1 + highest_kept) / 2)
    return VerdictThresholds(low, max(low, high), MISSED, REACHED)


def conformal_thresholds(labels: np.ndarray, probabilities: np.ndarray, level: float = LEVEL) -> ConformalThresholds:
    """Thresholds by which the set of a new scan holds its class with at least that probability, each class by itself.

    A class with so few images that no threshold could promise it is in every set: its threshold is 0.

    Args:
        labels: int (N,) of 0 and 1. probabilities: of malignancy, float (N,).
    """
    least = []
    for k, of_class in enumerate((1 - probabilities, probabilities)):
        scores = np.sort(of_class[labels == k])
        rank = int((1 - level) * (len(scores) + 1) + 1e-9)  # of n + 1 exchangeable scores, so many may lie below
        least.append(float(scores[rank - 1]) if rank else 0.0)
    return ConformalThresholds(level, *least)


def verdict_counts(
    data: str,
    role: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    thresholds: Sequence[VerdictThresholds],
    conformal: Sequence[ConformalThresholds],
) -> VerdictCounts:
    """What these scans are told, each by its own thresholds, which it must not have chosen."""
    verdicts = np.array(
        [VERDICTS.index(t.verdict(p)) for t, p in zip(thresholds, probabilities.tolist(), strict=True)], int
    )
    sets = [c.classes(p) for c, p in zip(conformal, probabilities.tolist(), strict=True)]
    held = np.array([CLASSES[label] in s for label, s in zip(labels.tolist(), sets, strict=True)], bool)
    benign, malignant = (np.bincount(verdicts[labels == k], minlength=3).tolist() for k in (0, 1))
    return VerdictCounts(
        data,
        role,
        (benign[0], benign[1], benign[2]),
        (malignant[0], malignant[1], malignant[2]),
        sum(len(s) == 1 for s in sets),
        (int(held[labels == 0].sum()), int(held[labels == 1].sum())),
    )
