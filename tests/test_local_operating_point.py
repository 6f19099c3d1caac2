"""A hospital's calibration and thresholds from few scans: what conformal ranks promise, and what so few prove."""

import numpy as np
import pytest
from scipy.special import expit

from rcdnet.errors import DatasetError
from train.evaluate.adapt import adaptation, adaptation_sentences
from train.evaluate.predictions import PredictionRow
from train.metrics.local_operating_point import conformal_verdict_thresholds, local_point, simulate


def scans(count: int, apart: float, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, a third of them malignant, and log-odds that are `shift` too high."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 3 == 0).astype(int)
    return labels, rng.normal(size=count) + apart * (labels - 0.5) + shift


def row(number: int, label: int, probability: float) -> PredictionRow:
    return PredictionRow(
        f"scan {number}", "clinic", None, number, label, 0.0, 0.0, 0.0, probability, None, None, None,
        float("nan"), float("nan"), None, float("nan"),
    )  # fmt: skip


def test_a_shift_is_taken_back():
    labels, log_odds = scans(300, 3.0, shift=2.0)
    point = local_point(labels, log_odds)
    assert point.slope > 0
    assert point.probability(log_odds).mean() == pytest.approx(labels.mean(), abs=0.01)
    assert expit(log_odds).mean() > labels.mean() + 0.15


def test_few_scans_move_the_bias_alone():
    labels, log_odds = scans(60, 3.0, shift=2.0)
    point = local_point(labels, log_odds)
    assert point.slope == 1
    assert -3 < point.bias < -1


def test_thresholds_keep_what_conformal_ranks_promise():
    missed, reached = [], []
    new_labels, new = scans(3000, 2.0, seed=1000)
    for seed in range(60):
        labels, log_odds = scans(180, 2.0, seed=seed)
        thresholds = conformal_verdict_thresholds(labels, expit(log_odds))
        missed.append((expit(new[new_labels == 1]) < thresholds.low).mean())
        reached.append((expit(new[new_labels == 0]) >= thresholds.high).mean())
    assert np.mean(missed) <= 0.02 + 0.005
    assert np.mean(reached) <= 0.10 + 0.01


@pytest.mark.parametrize(("cancers", "low"), [(48, False), (49, True)])
def test_below_49_cancers_nothing_is_told_low_suspicion(cancers, low):
    labels = np.array([1] * cancers + [0] * 20)
    probabilities = np.linspace(0.9, 0.1, len(labels))
    assert (conformal_verdict_thresholds(labels, probabilities).low > 0) is low


def test_a_model_that_ranks_nothing_has_no_operating_point():
    labels, log_odds = scans(300, 3.0)
    with pytest.raises(DatasetError, match="cannot tell benign from malignant"):
        local_point(labels, -log_odds)
    with pytest.raises(DatasetError, match="scans of both classes"):
        local_point(np.zeros(30, int), np.arange(30.0))


def test_more_scans_prove_more():
    labels, log_odds = scans(600, 2.0)
    few, many = simulate(labels, log_odds, np.arange(600), [30, 300], draws=40)
    assert many.sensitivity[2] - many.sensitivity[1] < few.sensitivity[2] - few.sensitivity[1]
    assert few.cleared[2] == 0  # too few cancers for a low threshold
    assert many.cleared[0] > 0.1
    assert simulate(labels, log_odds, np.arange(600), [30], draws=5) == simulate(
        labels, log_odds, np.arange(600), [30], draws=5
    )


def test_patients_are_drawn_whole(monkeypatch):
    labels, log_odds = scans(120, 2.0)
    groups, seen = np.repeat(np.arange(40), 3), []

    def watched(chosen_labels, chosen_log_odds):
        seen.append(np.isin(log_odds, chosen_log_odds))
        return local_point(chosen_labels, chosen_log_odds)

    monkeypatch.setattr("train.metrics.local_operating_point.local_point", watched)
    simulate(labels, log_odds, groups, [30], draws=5)
    for drawn in seen:
        assert all(len(set(drawn[groups == group])) == 1 for group in range(40))
        assert 30 <= drawn.sum() < 34


def test_what_is_said_of_a_hospital():
    labels, log_odds = scans(60, 3.0, shift=1.0)
    rows = [row(k, int(y), float(p)) for k, (y, p) in enumerate(zip(labels, expit(log_odds), strict=True))]
    said = adaptation_sentences(adaptation("clinic", "rcdnet", tuple(rows)))
    assert said[1].endswith("of clinic to be malignant; 33 are.")
    assert "Among 20 cancers no threshold can promise" in said[3]
    assert "Chosen on one half of them" in said[4]
    assert "nothing can be said" in adaptation_sentences(adaptation("clinic", "rcdnet", tuple(rows[:30])))[-1]
    with pytest.raises(DatasetError, match="clinic has 19 scans with a label; 20 or more"):
        adaptation("clinic", "rcdnet", tuple(rows[:19]))


def test_a_draw_without_a_rank_is_counted_too():
    labels, log_odds = scans(200, 0.1)
    (found,) = simulate(labels, log_odds, np.arange(200), [160], draws=20)
    assert 0 <= found.sensitivity[1] <= found.sensitivity[2] <= 1
