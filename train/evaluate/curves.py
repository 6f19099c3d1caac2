"""Curves of predictions, and what a threshold is worth at a prevalence; drawn on the Results page and in the report."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from train.evaluate.predictions import PredictionRow
from train.metrics.classification import CALIBRATION_BINS, Confusion, confusion, rates


@dataclass(frozen=True)
class Curve:
    """Points in the order they are joined, float (K,) each. thresholds: of the probability, nan where a point has none."""

    x: np.ndarray
    y: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True)
class Bins:
    """Calibration: of each bin of the probability that holds any image, the mean probability, the share malignant, the images."""

    probability: np.ndarray
    malignant: np.ndarray
    images: np.ndarray


@dataclass(frozen=True)
class Point:
    """What a threshold is worth. ppv, npv: at `prevalence`, the share of malignant lesions among those seen; nan where undefined."""

    threshold: float
    prevalence: float
    confusion: Confusion
    sensitivity: float
    specificity: float
    ppv: float
    npv: float


def arrays(rows: Sequence[PredictionRow]) -> tuple[np.ndarray, np.ndarray]:
    """Labels int (N,) and probabilities float (N,)."""
    return np.array([row.label for row in rows], int), np.array([row.probability for row in rows], float)


def roc(rows: Sequence[PredictionRow]) -> Curve:
    """Share of benign lesions called malignant, and of malignant ones found, from the strictest threshold on."""
    false_alarms, found, thresholds = roc_curve(*arrays(rows))
    return Curve(false_alarms, found, np.where(np.isfinite(thresholds), thresholds, np.nan))


def precision_recall(rows: Sequence[PredictionRow]) -> Curve:
    """Recall, and precision, from the most lenient threshold on."""
    precision, recall, thresholds = precision_recall_curve(*arrays(rows))
    return Curve(recall, precision, np.append(thresholds, np.nan))


def calibration(rows: Sequence[PredictionRow]) -> Bins:
    """The bins of the expected calibration error: 15 of equal width."""
    labels, scores = arrays(rows)
    # As `train.metrics.classification.calibration_error` has them: a lower edge belongs to its bin.
    number = np.clip((scores * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    used = np.unique(number)
    return Bins(
        np.array([scores[number == k].mean() for k in used]),
        np.array([labels[number == k].mean() for k in used]),
        np.array([(number == k).sum() for k in used]),
    )


def point(rows: Sequence[PredictionRow], threshold: float, prevalence: float) -> Point:
    """Confusion and rates of these rows at a threshold, and what a call would mean at a prevalence in 0..1 (Bayes)."""
    counts = confusion(*arrays(rows), threshold)
    at = rates(counts)
    sensitivity, specificity = at["sensitivity"], at["specificity"]
    called = sensitivity * prevalence + (1 - specificity) * (1 - prevalence)
    cleared = (1 - sensitivity) * prevalence + specificity * (1 - prevalence)
    return Point(
        threshold=threshold,
        prevalence=prevalence,
        confusion=counts,
        sensitivity=sensitivity,
        specificity=specificity,
        ppv=sensitivity * prevalence / called if called else float("nan"),
        npv=specificity * (1 - prevalence) / cleared if cleared else float("nan"),
    )
