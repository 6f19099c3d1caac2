"""Calibration and threshold: chosen on validation images, carried over to every other set, never chosen there."""

from dataclasses import dataclass

import numpy as np

from rcdnet.models.calibration import Calibration
from train.metrics.classification import fit_weights, threshold_at_sensitivity

SENSITIVITY = 0.95


@dataclass(frozen=True)
class OperatingPoint:
    """threshold: of the calibrated probability. rule: how it was chosen, as the end of a sentence.

    chosen_on: the sources whose images chose the threshold.
    """

    calibration: Calibration
    threshold: float
    rule: str
    chosen_on: tuple[str, ...]


def operating_point(
    labels: np.ndarray, evidence: np.ndarray, sources: np.ndarray, box: tuple[float, ...], *, alike: bool = False
) -> OperatingPoint:
    """Calibration from all images, then the threshold that finds 95 % of the cancers among those of the first source.

    Network and outline have an equal say, each in units of its spread: left free, the outline alone would decide, and the heatmap,
    which shows what the network saw, would explain nothing. All sources choose the threshold together where the first has one
    class alone.

    Args:
        labels: int (N,). evidence: float (N, 3), logit, vote and score. sources: names (N,). box: weights behind the score.
            alike: every source counts alike in the fit of the calibration, however many images it has, instead of every image. The
            spread that makes the first two equal is of all images either way.
    """
    spread = evidence.std(axis=0)
    share = np.divide(1, spread, out=np.zeros(3), where=spread > 0)
    both = evidence[:, :2] @ share[:2]
    _, source, images = np.unique(sources, return_inverse=True, return_counts=True)
    counts = 1 / images[source] if alike else np.ones(len(labels))
    (equal, shape), bias = fit_weights(labels, np.stack([both, evidence[:, 2]], axis=1), counts)
    calibration = Calibration(float(equal * share[0]), float(equal * share[1]), float(shape), bias, box)
    used = sources == sources[0]
    if len(np.unique(labels[used])) < 2:
        used[:] = True
    probabilities = calibration.probability(*evidence[used].T)
    threshold = threshold_at_sensitivity(labels[used], probabilities, SENSITIVITY)
    rule = f"the threshold that found {SENSITIVITY * 100:.0f} % of the cancers on validation"
    return OperatingPoint(calibration, threshold, rule, tuple(dict.fromkeys(sources[used].tolist())))
