"""Arrays in, figures out: labels int (N,) of 0 and 1, scores float (N,) in 0..1, groups (N,) of patients or near-duplicates."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_curve

from rcdnet.safe_read import Count

SENSITIVITIES = (0.90, 0.95, 0.98)
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Confusion:
    """Counts at a threshold, malignant being positive."""

    true_positive: Count
    false_negative: Count
    false_positive: Count
    true_negative: Count


def confusion(labels: np.ndarray, scores: np.ndarray, threshold: float) -> Confusion:
    """Counts when a score at or above the threshold is called malignant."""
    called, sick = scores >= threshold, labels == 1
    return Confusion(
        int((called & sick).sum()),
        int((~called & sick).sum()),
        int((called & ~sick).sum()),
        int((~called & ~sick).sum()),
    )


def rates(c: Confusion) -> dict[str, float]:
    """Figures at a threshold; nan where nothing is divided by.

    Plain names are of the malignant class, `_benign` of the other, `_macro` the mean of both, as tables of papers often give.
    """
    counts = (c.true_positive, c.false_negative, c.false_positive, c.true_negative)
    return {name: float(value) for name, value in _rates(*(np.array(n, float) for n in counts)).items()}


def figures_of(labels: np.ndarray, scores: np.ndarray, threshold: float) -> dict[str, float]:
    """Figures of a set that has both classes: `rates`, and those that need no threshold.

    `specificity_at_S` is that of the highest threshold that finds at least S % of these positives.
    """
    once = np.ones((1, len(labels)))
    return {name: float(value[0]) for name, value in figures_of_samples(labels, scores, threshold, once).items()}


def figures_of_samples(
    labels: np.ndarray, scores: np.ndarray, threshold: float, samples: np.ndarray
) -> dict[str, np.ndarray]:
    """`figures_of` for each of many bootstrap samples at once, float (B,) by name.

    Args:
        samples: (B, N), how often each image is in each sample, as `train.metrics.bootstrap.bootstrap` draws them; both classes in each.
    """
    sick, called = labels == 1, scores >= threshold
    counts = [
        samples @ (c & s).astype(float) for c, s in ((called, sick), (~called, sick), (called, ~sick), (~called, ~sick))
    ]
    positives, negatives = _at_or_above(labels, scores, samples)  # one curve for all figures
    found, false_alarms = positives / positives[:, -1:], negatives / negatives[:, -1:]
    steps = np.diff(found, axis=1, prepend=0.0)
    alarms = positives + negatives
    precision = np.divide(positives, alarms, out=np.zeros_like(alarms, float), where=alarms > 0)
    return _rates(*counts) | {
        "auc": _areas(positives, negatives),
        "average_precision": (steps * precision).sum(axis=1),
        "brier": samples @ (scores - labels) ** 2 / samples.sum(axis=1),
        **{
            f"specificity_at_{s * 100:.0f}": 1 - false_alarms[np.arange(len(samples)), np.argmax(found >= s, axis=1)]
            for s in SENSITIVITIES
        },
    }


def area_under_roc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The AUC, for both classes present; what scikit-learn's `roc_auc_score` gives, at a third of its time."""
    false_alarms, found, _ = roc_curve(labels, scores)
    return float(np.trapezoid(found, false_alarms))


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """Expected calibration error of the malignant probability over 15 bins of equal width (Guo et al. 2017, equation 3)."""
    # Here, for it takes most of a second, which every command and every training process would wait for.
    from torchmetrics.functional.classification import binary_calibration_error

    error = binary_calibration_error(
        torch.from_numpy(scores).float(), torch.from_numpy(labels).long(), n_bins=CALIBRATION_BINS
    )
    return float(error)


def group_means(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One label and the mean score for each group, in the order of `np.unique(groups)`; a group is positive if any member is."""
    unique = np.unique(groups)
    return (
        np.array([labels[groups == group].max() for group in unique]),
        np.array([scores[groups == group].mean() for group in unique]),
    )


def auc_of_samples(labels: np.ndarray, scores: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """The AUC alone of each sample, float (B,), nan without both classes; `samples` as in `figures_of_samples`."""
    return _areas(*_at_or_above(labels, scores, samples))


def _at_or_above(labels: np.ndarray, scores: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many positives and negatives of each sample have each score that occurs or a higher one, the highest first."""
    order = np.argsort(-scores, kind="stable")
    first = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    sick = labels[order] == 1
    positives, negatives = (
        np.add.reduceat(samples[:, order] * side, first, axis=1).cumsum(axis=1) for side in (sick, ~sick)
    )
    return positives, negatives


def _areas(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """AUC of each sample from `_at_or_above`: the share of pairs of a positive and a negative that the scores order right, ties
    counting by half; nan where a class is missing."""
    pairs = positives[:, -1] * negatives[:, -1]
    above = negatives - np.diff(negatives, axis=1, prepend=0) / 2
    wrong = (np.diff(positives, axis=1, prepend=0) * above).sum(axis=1)
    return 1 - _ratio(wrong, pairs)


def _rates(hit: np.ndarray, missed: np.ndarray, alarm: np.ndarray, cleared: np.ndarray) -> dict[str, np.ndarray]:
    """`rates` of true positives, false negatives, false positives and true negatives, of any one shape."""
    figures = {
        "accuracy": _ratio(hit + cleared, hit + cleared + alarm + missed),
        "sensitivity": _ratio(hit, hit + missed),
        "specificity": _ratio(cleared, cleared + alarm),
        "precision": _ratio(hit, hit + alarm),
        "precision_benign": _ratio(cleared, cleared + missed),
        "f1": _ratio(2 * hit, 2 * hit + alarm + missed),
        "f1_benign": _ratio(2 * cleared, 2 * cleared + alarm + missed),
    }
    return figures | {
        "precision_macro": (figures["precision"] + figures["precision_benign"]) / 2,
        "recall_macro": (figures["sensitivity"] + figures["specificity"]) / 2,
        "f1_macro": (figures["f1"] + figures["f1_benign"]) / 2,
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full_like(whole, np.nan, dtype=float), where=whole != 0)
