"""Whether two models differ in AUC on the same cases (DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595)."""

from dataclasses import dataclass
from math import isnan

import numpy as np
from scipy.stats import norm, rankdata

from train.metrics.classification import group_means


@dataclass(frozen=True)
class Comparison:
    """AUC of the first and the second model, their difference with a 95 % interval, and the two-sided p-value.

    Interval and p are nan where they are undefined: too few cases for a variance. The same ranking has p 1, and no interval either, for
    other cases may part what these do not.
    """

    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    p: float

    @property
    def p_value(self) -> str:
        """p in words.

        >>> Comparison(0.9, 0.8, 0.1, (0.05, 0.15), 0.0004).p_value
        'p < 0.001'
        """
        if isnan(self.p):
            return "p undefined"
        return f"p {self.p:.3f}" if self.p >= 0.001 else "p < 0.001"


def compare_auc(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Comparison:
    """DeLong's test for two scores of the same independent cases; several views of a patient have to be averaged before.

    Args:
        labels: int (N,) of 0 and 1, at least two of each. first, second: float (N,).
    """
    aucs, covariance = auc_covariance(labels, np.stack([first, second]))
    difference = float(aucs[0] - aucs[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    error = float(np.sqrt(max(variance, 0.0)))
    if error > 0:
        p, half = 2 * norm.sf(abs(difference) / error), float(norm.ppf(0.975)) * error
    else:
        p, half = 1.0 if difference == 0 else float("nan"), float("nan")
    return Comparison(float(aucs[0]), float(aucs[1]), difference, (difference - half, difference + half), float(p))


def compare_auc_by_group(
    labels: np.ndarray, groups: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Comparison | None:
    """`compare_auc` on the mean of each patient or near-duplicate group; None where a class has under two groups."""
    of_groups, first = group_means(labels, first, groups)
    _, second = group_means(labels, second, groups)
    return compare_auc(of_groups, first, second) if min(np.bincount(of_groups, minlength=2)) > 1 else None


def auc_covariance(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC (K,) of scores float (K, N), and their covariance (K, K).

    By midranks, as in Sun and Xu 2014 (doi:10.1109/LSP.2014.2337313), which give DeLong's placements without comparing pairs.
    """
    sick, well = scores[:, labels == 1], scores[:, labels == 0]
    m, n = sick.shape[1], well.shape[1]
    together = rankdata(np.concatenate([sick, well], axis=1), axis=1)
    over_well = (together[:, :m] - rankdata(sick, axis=1)) / n  # share of the well that each sick case exceeds
    under_sick = 1 - (together[:, m:] - rankdata(well, axis=1)) / m
    covariance = np.atleast_2d(np.cov(over_well)) / m + np.atleast_2d(np.cov(under_sick)) / n
    return over_well.mean(axis=1), covariance
