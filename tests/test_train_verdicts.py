"""Three answers: their thresholds by hand, what they promise on new scans, and conformal sets that cover each class."""

import numpy as np
import pytest

from train.metrics.verdict_thresholds import conformal_thresholds, verdict_counts, verdict_thresholds


def test_the_thresholds_by_hand():
    sick, well = np.linspace(0.11, 0.99, 100), np.linspace(0.01, 0.5, 50)
    labels, scores = np.repeat([1, 0], [100, 50]), np.concatenate([sick, well])
    found = verdict_thresholds(labels, scores)
    assert (sick < found.low).sum() == 2  # of a hundred
    assert (well >= found.high).sum() == 5  # of fifty
    assert not (np.abs(scores - found.low) < 1e-6).any()  # midway, so that no rounding moves a scan across
    assert not (np.abs(scores - found.high) < 1e-6).any()
    assert [found.verdict(p) for p in (0.0, 0.3, 1.0)] == ["low", "uncertain", "high"]


def test_few_cancers_allow_none_to_be_missed():
    found = verdict_thresholds(np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.2, 0.9]))
    assert 0.1 < found.low < 0.2
    assert 0.3 < found.high < 0.9


def test_where_both_hold_nothing_is_uncertain():
    found = verdict_thresholds(
        np.repeat([0, 1], 50), np.concatenate([np.linspace(0, 0.3, 50), np.linspace(0.6, 1, 50)])
    )
    assert found.low == found.high
    assert found.verdict(0.29) == "low"
    assert found.verdict(0.62) == "high"


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_conformal_sets_hold_each_class_as_often_as_they_say(level):
    """Exchangeable scans: the mean over many draws of the coverage lies between the level and the level plus 1 / (n + 1)."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(400):
        labels = rng.permutation(np.repeat([0, 1], [70, 40]))
        scores = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
        labels_new = np.repeat([0, 1], 50)
        new = np.clip(rng.normal(0.35 + 0.3 * labels_new, 0.2), 0, 1)
        c = conformal_thresholds(labels, scores, level)
        counts = verdict_counts("x", "", labels_new, new, [verdict_thresholds(labels, scores)] * 100, [c] * 100)
        covered.append(np.array(counts.covered) / 50)
    means = np.mean(covered, axis=0)
    assert (means >= level - 0.015).all()
    assert (means <= level + 1 / 41 + 0.015).all()


def test_too_few_scans_of_a_class_promise_nothing():
    found = conformal_thresholds(np.array([0] * 30 + [1] * 5), np.linspace(0, 1, 35), 0.9)
    assert found.malignant == 0
    assert "malignant" in found.classes(0.0)


def test_every_scan_is_counted_once_by_its_own_thresholds():
    labels, scores = np.array([0, 0, 0, 1, 1]), np.array([0.01, 0.2, 0.9, 0.01, 0.9])
    t = verdict_thresholds(np.array([0] * 20 + [1] * 20), np.linspace(0, 1, 40))
    c = conformal_thresholds(np.array([0] * 20 + [1] * 20), np.linspace(0, 1, 40))
    counts = verdict_counts("mine", "", labels, scores, [t] * 5, [c] * 5)
    assert sum(counts.benign) == 3
    assert sum(counts.malignant) == 2
    assert counts.malignant[0] == 1
    assert counts.one_class <= 5
