"""Arrays in, figures out."""

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

BOOTSTRAP_SAMPLES = 2000


def threshold_at_sensitivity(labels: np.ndarray, scores: np.ndarray, sensitivity: float) -> float:
    """A threshold at which `score >= threshold` finds at least that share of the positives, and as few negatives as can be.

    It lies midway between the score it has to reach and the next lower one, so that no rounding moves a score across.

    Args:
        labels: int (N,) of 0 and 1. scores: float (N,). sensitivity: 0..1.

    >>> round(threshold_at_sensitivity(np.array([0, 1, 1, 1]), np.array([0.2, 0.3, 0.6, 0.9]), 0.6), 6)
    0.45
    """
    _, found, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    reached = float(thresholds[np.argmax(found >= sensitivity)])
    lower = scores[scores < reached]
    return (reached + float(lower.max())) / 2 if len(lower) else reached / 2


def sensitivity_specificity(labels: np.ndarray, scores: np.ndarray, threshold: float) -> tuple[float, float]:
    """Share of positives at or above the threshold, and of negatives below it."""
    called = scores >= threshold
    return float(called[labels == 1].mean()), float((~called[labels == 0]).mean())


def auc_interval(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the AUC by bootstrap over groups (patients, or near-duplicates), which are not independent inside.

    Resamples without both classes are drawn again.
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values: list[float] = []
    while len(values) < BOOTSTRAP_SAMPLES:
        rows = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        if 0 < labels[rows].sum() < len(rows):
            values.append(roc_auc_score(labels[rows], scores[rows]))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def group_means(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One label and the mean score for each group, in the order of `np.unique(groups)`; a group is positive if any member is."""
    unique = np.unique(groups)
    return (
        np.array([labels[groups == group].max() for group in unique]),
        np.array([scores[groups == group].mean() for group in unique]),
    )
