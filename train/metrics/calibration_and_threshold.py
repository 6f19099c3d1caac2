"""Calibration and threshold: chosen on validation images, carried over to every other set, never chosen there."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import roc_curve

from rcdnet.models.calibration import MOST, Calibration
from rcdnet.models.verdict import ConformalThresholds, VerdictThresholds
from train.metrics.verdict_thresholds import conformal_thresholds, verdict_thresholds

SENSITIVITY = 0.95


@dataclass(frozen=True)
class OperatingPoint:
    """threshold: of the calibrated probability. rule: how it was chosen, as the end of a sentence.

    chosen_on: the sources whose images chose the threshold. verdict, conformal: of the three answers and of conformal sets, chosen on the
    images of all sources; None for weights of before there were any.
    """

    calibration: Calibration
    threshold: float
    rule: str
    chosen_on: tuple[str, ...]
    verdict: VerdictThresholds | None = None
    conformal: ConformalThresholds | None = None


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
    probabilities = calibration.probability(*evidence.T)
    threshold = threshold_at_sensitivity(labels[used], probabilities[used], SENSITIVITY)
    rule = f"the threshold that found {SENSITIVITY * 100:.0f} % of the cancers on validation"
    return OperatingPoint(
        calibration,
        threshold,
        rule,
        tuple(dict.fromkeys(sources[used].tolist())),
        verdict_thresholds(labels, probabilities),
        conformal_thresholds(labels, probabilities),
    )


def fit_weights(labels: np.ndarray, evidence: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights, none below 0, and the bias at which sigmoid(evidence @ weights + bias) has the least log loss.

    Args:
        evidence: float (N, K). A column that is the same everywhere gets the weight 0. counts: how much each row counts, float (N,).

    Returns:
        float (K,) and the bias; no weight moves the log-odds by more than `MOST` for one standard deviation.
    """
    spread = evidence.std(axis=0)
    used = spread > 0
    scaled = evidence[:, used] / spread[used]
    sign, share = 1 - 2 * labels, counts / counts.sum()

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        wrong = sign * (scaled @ parameters[:-1] + parameters[-1])
        slope = share * sign * expit(wrong)
        return float(share @ np.logaddexp(0, wrong)), np.append(slope @ scaled, slope.sum())

    start = np.append(np.ones(used.sum()), 0.0)
    bounds = [(0, MOST)] * int(used.sum()) + [(-MOST, MOST)]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    weights = np.zeros(evidence.shape[1])
    weights[used] = found[:-1] / spread[used]
    return weights, float(found[-1])


def threshold_at_sensitivity(labels: np.ndarray, scores: np.ndarray, sensitivity: float) -> float:
    """A threshold at which `score >= threshold` finds at least that share of the positives, and as few negatives as can be.

    It lies midway between the score it has to reach and the next lower one, so that no rounding moves a score across.

    >>> round(threshold_at_sensitivity(np.array([0, 1, 1, 1]), np.array([0.2, 0.3, 0.6, 0.9]), 0.6), 6)
    0.45
    """
    _, found, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    reached = float(thresholds[np.argmax(found >= sensitivity)])
    lower = scores[scores < reached]
    return (reached + float(lower.max())) / 2 if len(lower) else reached / 2
