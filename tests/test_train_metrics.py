"""Figures against scikit-learn, against numbers worked by hand, and DeLong's test against its published example."""

import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from train.metrics.bootstrap import bootstrap, bounds
from train.metrics.calibration_and_threshold import fit_weights, threshold_at_sensitivity
from train.metrics.classification import (
    Confusion,
    area_under_roc,
    calibration_error,
    confusion,
    figures_of,
    figures_of_samples,
    group_means,
    rates,
)
from train.metrics.delong import auc_covariance, compare_auc
from train.metrics.intervals import auc_interval

LABELS = np.array([0, 0, 0, 1, 1, 1, 1, 0])
SCORES = np.array([0.1, 0.2, 0.6, 0.3, 0.7, 0.8, 0.9, 0.4])


def drawn(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores that know something of them, and groups of two."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.35).astype(int)
    return labels, expit(rng.normal(labels * 1.5 - 0.8, 1.0)), np.arange(count) // 2


def test_figures_at_a_threshold_worked_by_hand():
    assert confusion(LABELS, SCORES, 0.5) == Confusion(3, 1, 1, 3)
    assert confusion(LABELS, SCORES, 0.3) == Confusion(4, 0, 2, 2)  # a score at the threshold is called
    figures = rates(Confusion(8, 2, 5, 15))
    assert figures["accuracy"] == pytest.approx(23 / 30)
    assert figures["sensitivity"] == 0.8
    assert figures["specificity"] == 0.75
    assert figures["precision"] == pytest.approx(8 / 13)
    assert figures["precision_benign"] == pytest.approx(15 / 17)
    assert figures["f1"] == pytest.approx(16 / 23)
    assert figures["recall_macro"] == pytest.approx(0.775)
    assert math.isnan(rates(Confusion(0, 3, 0, 4))["precision"])


def test_figures_are_scikit_learns():
    labels, scores, _ = drawn()
    figures = figures_of(labels, scores, 0.4)
    called = (scores >= 0.4).astype(int)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, called)
    expected = {
        "accuracy": accuracy_score(labels, called), "sensitivity": recall[1], "specificity": recall[0],
        "precision": precision[1], "precision_benign": precision[0], "f1": f1[1], "f1_benign": f1[0],
        "precision_macro": precision.mean(), "recall_macro": recall.mean(), "f1_macro": f1.mean(),
        "auc": roc_auc_score(labels, scores), "average_precision": average_precision_score(labels, scores),
        "brier": brier_score_loss(labels, scores),
    }  # fmt: skip
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-12), name


def test_thresholds_and_specificities_worked_by_hand():
    assert threshold_at_sensitivity(LABELS, SCORES, 0.75) == pytest.approx(0.65)
    assert threshold_at_sensitivity(LABELS, SCORES, 0.95) == pytest.approx(0.25)
    assert figures_of(LABELS, SCORES, 0.5)["specificity_at_95"] == 0.5
    labels, scores, _ = drawn()
    for sensitivity in (0.9, 0.95, 0.98):
        threshold = threshold_at_sensitivity(labels, scores, sensitivity)
        found = rates(confusion(labels, scores, threshold))
        assert found["sensitivity"] >= sensitivity
        assert found["specificity"] == pytest.approx(
            figures_of(labels, scores, 0.5)[f"specificity_at_{100 * sensitivity:.0f}"]
        )


def test_calibration_worked_by_hand():
    # Two bins: 0.2 said of four images of which none is malignant, 0.8 of four of which three are.
    labels, scores = np.array([0, 0, 0, 0, 1, 1, 1, 0]), np.array([0.2] * 4 + [0.8] * 4)
    assert calibration_error(labels, scores) == pytest.approx(0.5 * 0.2 + 0.5 * 0.05, abs=1e-6)


def test_the_weights_that_made_the_labels_are_found_again():
    rng = np.random.default_rng(1)
    evidence = rng.normal(0, 2, (40_000, 3)) * (1, 5, 0.1)
    weights, bias = np.array([0.8, 0.1, 3.0]), -0.7
    labels = (rng.random(len(evidence)) < expit(evidence @ weights + bias)).astype(int)
    every = np.ones(len(labels))
    found = fit_weights(labels, evidence, every)
    assert found[0] == pytest.approx(weights, rel=0.08)
    assert found[1] == pytest.approx(bias, rel=0.08)
    # What speaks the wrong way round is left out, and what is the same everywhere too.
    turned = fit_weights(labels, evidence * (1, 1, -1), every)[0]
    assert turned[2] == 0
    assert fit_weights(labels, evidence * (1, 0, 1), every)[0][1] == 0
    # A row that counts for three is as three rows.
    some, thrice = slice(0, 500), np.where(np.arange(500) < 100, 3.0, 1.0)
    repeated = np.repeat(np.arange(500), thrice.astype(int))
    counted = fit_weights(labels[some], evidence[some], thrice)
    again = fit_weights(labels[repeated], evidence[repeated], np.ones(len(repeated)))
    assert expit(evidence[some] @ counted[0] + counted[1]) == pytest.approx(
        expit(evidence[some] @ again[0] + again[1]), abs=2e-3
    )


def test_group_means():
    groups = np.array([0, 0, 1, 2, 2, 3, 4, 5])
    grouped_labels, grouped_scores = group_means(LABELS, SCORES, groups)
    assert grouped_labels.tolist() == [0, 0, 1, 1, 1, 0]
    assert grouped_scores == pytest.approx([0.15, 0.6, 0.5, 0.8, 0.9, 0.4])


def test_intervals_resample_whole_groups():
    labels, scores, _ = drawn(300)

    def width(groups):
        copies = len(groups) // 300  # of every image
        again = np.tile(labels, copies), np.tile(scores, copies)
        low, high = bounds(figures_of_samples(*again, 0.5, bootstrap(groups, again[0]))["auc"])
        assert low < roc_auc_score(labels, scores) < high
        return high - low

    # Every image four times over tells nothing new: with the copies in groups the interval stays, without it would halve.
    once = width(np.arange(300))
    assert width(np.tile(np.arange(300), 4)) == pytest.approx(once, rel=0.1)
    assert width(np.arange(1200)) < 0.7 * once


def test_figures_of_many_samples_are_those_of_each():
    labels, scores, groups = drawn(200)
    scores = scores.round(1)  # with ties
    samples = bootstrap(groups, labels)
    assert samples.shape == (1000, 200)
    assert all(len(set(samples[0][groups == group])) == 1 for group in groups)  # a group is drawn whole
    at_once = figures_of_samples(labels, scores, 0.4, samples)
    for k in range(0, 1000, 50):
        rows = np.repeat(np.arange(200), samples[k])
        alone = figures_of(labels[rows], scores[rows], 0.4)
        assert {name: value[k] for name, value in at_once.items()} == pytest.approx(alone, abs=1e-12)
        assert alone["auc"] == pytest.approx(roc_auc_score(labels[rows], scores[rows]), abs=1e-12)
        assert alone["average_precision"] == pytest.approx(
            average_precision_score(labels[rows], scores[rows]), abs=1e-12
        )


# Three tests before surgery for ovarian cancer, of the 43 patients who had all three: albumin, total protein, K-G score and
# the outcome. DeLong et al. 1988; areas, errors and p-values as the SAS/STAT guide prints them (PROC LOGISTIC, ROC example).
OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1 3.7 6.7 6 1
3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1
3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1
3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


def test_delong_on_its_published_example():
    albumin, protein, score, outcome = np.array(OVARIAN.split(), float).reshape(-1, 4).T
    aucs, covariance = auc_covariance(outcome, np.stack([10 - score, albumin, protein]))
    assert aucs.round(4).tolist() == [0.7258, 0.7366, 0.6478]
    assert np.sqrt(np.diag(covariance)).round(4).tolist() == [0.1028, 0.0927, 0.1000]
    first = compare_auc(outcome, albumin, 10 - score)
    assert (round(first.difference, 4), round(first.p, 4)) == (0.0108, 0.9102)
    assert np.round(first.interval, 4).tolist() == [-0.1761, 0.1976]
    second = compare_auc(outcome, protein, 10 - score)
    assert (round(second.difference, 4), round(second.p, 4)) == (-0.0780, 0.4561)


def test_delong_agrees_with_the_definition():
    """The placements compared pair by pair, as the paper writes them."""
    labels, scores, _ = drawn(60)
    scores = scores.round(1)  # ties
    sick, well = scores[labels == 1], scores[labels == 0]
    wins = (sick[:, None] > well[None]) + 0.5 * (sick[:, None] == well[None])
    variance = wins.mean(axis=1).var(ddof=1) / len(sick) + wins.mean(axis=0).var(ddof=1) / len(well)
    aucs, covariance = auc_covariance(labels, scores[None])
    assert aucs[0] == pytest.approx(wins.mean()) == pytest.approx(roc_auc_score(labels, scores))
    assert covariance[0, 0] == pytest.approx(variance)
    same = compare_auc(labels, scores, scores)
    assert (same.difference, same.p) == (0.0, 1.0)
    perfect = compare_auc(np.array([0, 0, 1, 1]), np.arange(4.0), -np.arange(4.0))
    assert perfect.difference == 1.0
    assert math.isnan(perfect.p)  # no variance, so nothing can be said


def test_the_interval_of_an_auc_is_the_bootstraps():
    labels, scores, groups = drawn(300)
    scores = scores.round(1)  # with ties

    assert area_under_roc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    slow = bounds(figures_of_samples(labels, scores, 0.5, bootstrap(groups, labels))["auc"])
    fast = auc_interval(groups, labels, scores)
    assert fast == pytest.approx(slow, abs=0.006)  # a thousand other draws
    weights = np.random.default_rng(0).multinomial(150, np.full(150, 1 / 150), 1000)[:, groups]
    by_hand = [roc_auc_score(labels, scores, sample_weight=w) for w in weights]
    assert fast == pytest.approx(tuple(np.percentile(by_hand, [2.5, 97.5])))
