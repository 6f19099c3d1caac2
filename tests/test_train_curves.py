"""Curves and operating points, against scikit-learn and by hand; and the arithmetic of the paper's external row."""

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score
from test_train_evaluation import rows_of
from test_train_metrics import drawn

from train.evaluate.curves import arrays, calibration, point, precision_recall, roc
from train.metrics.classification import calibration_error, confusion
from train.results.paper_results import EXTERNAL, INTERNAL


def test_curves_enclose_their_areas():
    rows = rows_of(*drawn())
    labels, scores = arrays(rows)
    curve = roc(rows)
    assert auc(curve.x, curve.y) == pytest.approx(roc_auc_score(labels, scores))
    assert np.isnan(curve.thresholds[0])
    k = len(curve.x) // 2
    at = point(rows, curve.thresholds[k], 0.3)
    assert (1 - at.specificity, at.sensitivity) == (pytest.approx(curve.x[k]), pytest.approx(curve.y[k]))
    curve = precision_recall(rows)
    k = len(curve.x) // 3
    at = point(rows, curve.thresholds[k], labels.mean())
    assert (at.sensitivity, at.ppv) == (pytest.approx(curve.x[k]), pytest.approx(curve.y[k]))


def test_the_bins_are_those_of_the_calibration_error():
    rows = rows_of(*drawn())
    labels, scores = arrays(rows)
    bins = calibration(rows)
    assert bins.images.sum() == len(rows)
    error = (bins.images * np.abs(bins.probability - bins.malignant)).sum() / len(rows)
    assert error == pytest.approx(calibration_error(labels, scores), abs=1e-6)


def test_a_calls_meaning_follows_the_prevalence():
    rows = rows_of(*drawn())
    labels, scores = arrays(rows)
    own = point(rows, 0.4, float(labels.mean()))
    counts = confusion(labels, scores, 0.4)
    assert own.confusion == counts
    assert own.ppv == pytest.approx(counts.true_positive / (counts.true_positive + counts.false_positive))
    assert own.npv == pytest.approx(counts.true_negative / (counts.true_negative + counts.false_negative))
    # By hand: of 1000 women 10 are sick.
    rare = point(rows, 0.4, 0.01)
    found, alarmed = 10 * own.sensitivity, 990 * (1 - own.specificity)
    assert rare.ppv == pytest.approx(found / (found + alarmed))
    nobody = point(rows, 1.1, 0.3)
    assert np.isnan(nobody.ppv)
    assert nobody.npv == pytest.approx(0.7)


def test_what_is_said_of_the_papers_external_row_can_be_counted():
    rcdnet = next(row for row in EXTERNAL if row.model == "rcdnet")
    assert not any(round(k / 163, 4) == rcdnet.accuracy for k in range(164))
    found, missed, alarmed, cleared = 208, 2, 40, 397
    precision = (found / (found + alarmed) + cleared / (cleared + missed)) / 2
    recall = (found / (found + missed) + cleared / (cleared + alarmed)) / 2
    f1 = (2 * found / (2 * found + alarmed + missed) + 2 * cleared / (2 * cleared + alarmed + missed)) / 2
    accuracy = (found + cleared) / 647
    assert [round(v, 4) for v in (precision, recall, f1, accuracy)] == [
        rcdnet.precision, rcdnet.recall, rcdnet.f1, rcdnet.accuracy,
    ]  # fmt: skip
    assert {row.model for row in INTERNAL} == {row.model for row in EXTERNAL}
