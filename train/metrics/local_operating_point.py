"""Calibration and thresholds of a hospital's own, from as few scans as it has labelled; and what so few can prove, by simulation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from rcdnet.errors import DatasetError
from rcdnet.models.verdict import VerdictThresholds
from train.metrics.calibration_and_threshold import SENSITIVITY, fit_weights, threshold_at_sensitivity
from train.metrics.verdict_thresholds import MISSED, REACHED

SLOPE_FROM = 50  # scans of the rarer class from which the slope is fitted too; below, it would follow single scans
DRAWS = 200


@dataclass(frozen=True)
class LocalPoint:
    """log-odds of the hospital's probability = slope * log-odds of the shipped one + bias. threshold: of the two answers."""

    slope: float
    bias: float
    threshold: float
    verdict: VerdictThresholds

    def probability(self, log_odds: np.ndarray) -> np.ndarray:
        """Of malignancy, from the shipped calibration's log-odds, of one shape."""
        return expit(self.slope * log_odds + self.bias)


def local_point(labels: np.ndarray, log_odds: np.ndarray) -> LocalPoint:
    """Platt's calibration (1999) of the shipped log-odds, float (N,), and thresholds by conformal quantiles of the same scans.

    With few scans of a class the slope stays 1 and the bias alone moves. Isotonic regression was left out: the thresholds hang on
    the order of the scans alone, which no monotone calibration changes.

    Args:
        labels: int (N,) of 0 and 1.

    Raises:
        DatasetError: a class is missing, or the scans of the two do not differ in what the model says.
    """
    if len(np.unique(labels)) < 2:
        raise DatasetError("An operating point needs scans of both classes. Add some of the other.")
    if min(labels.sum(), len(labels) - labels.sum()) >= SLOPE_FROM:
        (fitted,), offset = fit_weights(labels, log_odds[:, None], np.ones(len(labels)))
        if not fitted > 0:
            raise DatasetError(
                "On these scans the model cannot tell benign from malignant. No threshold can mend that."
            )
        return _point(labels, log_odds, float(fitted), float(offset))
    return _point(labels, log_odds, 1.0, _shift(labels, log_odds))


def _point(labels: np.ndarray, log_odds: np.ndarray, slope: float, bias: float) -> LocalPoint:
    probabilities = expit(slope * log_odds + bias)
    threshold = threshold_at_sensitivity(labels, probabilities, SENSITIVITY)
    return LocalPoint(slope, bias, threshold, conformal_verdict_thresholds(labels, probabilities))


def conformal_verdict_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> VerdictThresholds:
    """Thresholds that a new cancer falls below, and a new benign lesion reaches, with at most `MISSED` and `REACHED` probability.

    By the rank of a new scan among exchangeable ones (as `rcdnet.models.verdict.ConformalThresholds`). Below 49 cancers, or 9 benign
    lesions, no rank is small enough: low is 0, or high is 1.
    """
    sick, well = np.sort(probabilities[labels == 1]), np.sort(probabilities[labels == 0])
    missed, reached = int(MISSED * (len(sick) + 1) + 1e-9), int(REACHED * (len(well) + 1) + 1e-9)
    low = float(sick[missed - 1]) if missed else 0.0
    high = float(np.nextafter(well[len(well) - reached], 1)) if reached else 1.0
    return VerdictThresholds(low, max(low, high), MISSED, REACHED)


def _shift(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """The bias at which the mean probability is the share of malignant scans, one more of each class counted."""
    share = (labels.sum() + 1) / (len(labels) + 2)
    return float(brentq(lambda bias: expit(log_odds + bias).mean() - share, -60, 60))


def _drawn_point(labels: np.ndarray, log_odds: np.ndarray) -> LocalPoint:
    """As `local_point`; of a draw on which the model tells nothing apart, with the bias alone: to draw anew would flatter."""
    try:
        return local_point(labels, log_odds)
    except DatasetError:
        return _point(labels, log_odds, 1.0, _shift(labels, log_odds))


@dataclass(frozen=True)
class Simulated:
    """What an operating point chosen on `scans` scans of a hospital was worth on its other scans, over the draws: median, 5 and 95 %.

    sensitivity, specificity: of the two answers. missed: share of the cancers that were told low suspicion. cleared, alarmed: shares of
    the benign lesions that were told low and high.
    """

    scans: int
    sensitivity: tuple[float, float, float]
    specificity: tuple[float, float, float]
    missed: tuple[float, float, float]
    cleared: tuple[float, float, float]
    alarmed: tuple[float, float, float]


def simulate(
    labels: np.ndarray,
    log_odds: np.ndarray,
    groups: np.ndarray,
    sizes: Sequence[int],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Simulated]:
    """Draw patients until there are as many scans, choose an operating point on these, and count on the rest, `draws` times.

    A draw that holds one class alone, or leaves one alone, is drawn again.

    Args:
        labels: int (N,), both present in two groups or more. log_odds: float (N,). groups: (N,) of patients or near-duplicates, which
            are drawn whole.
    """
    rng = np.random.default_rng(seed)
    unique, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    found = []
    for size in sizes:
        worth: list[tuple[float, ...]] = []
        while len(worth) < draws:
            order = rng.permutation(len(unique))
            taken = order[: int(np.searchsorted(np.cumsum(counts[order]), size)) + 1]
            drawn = np.isin(group, taken)
            if len(np.unique(labels[drawn])) < 2 or len(np.unique(labels[~drawn])) < 2:
                continue
            point = _drawn_point(labels[drawn], log_odds[drawn])
            sick, told = labels[~drawn] == 1, point.probability(log_odds[~drawn])
            called, low, high = told >= point.threshold, told < point.verdict.low, told >= point.verdict.high
            worth.append(
                (called[sick].mean(), 1 - called[~sick].mean(), low[sick].mean(), low[~sick].mean(), high[~sick].mean())
            )
        middle, least, most = np.percentile(np.array(worth), [50, 5, 95], axis=0)
        ranges = [(float(m), float(a), float(b)) for m, a, b in zip(middle, least, most, strict=True)]
        found.append(Simulated(size, *ranges))
    return found
