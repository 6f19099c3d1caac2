"""Figures of a map against a lesion, and of maps against each other; by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from rcdnet.explain.localisation import THRESHOLDS, box_mask, localise
from rcdnet.explain.similarity import rank_correlation, similarity_matrix, top_fraction_overlap


def square(side: int = 20, left: int = 4, size: int = 5) -> np.ndarray:
    return box_mask((side, side), left, left, left + size, left + size)


def test_a_map_that_is_the_lesion():
    lesion = square()
    found = localise(lesion * 3.0, lesion)
    assert (found.pointing, found.energy, found.iou, found.dice, found.best_iou, found.best_dice) == (
        True,
        1,
        1,
        1,
        1,
        1,
    )
    assert found.chance == 25 / 400
    assert found.ratio == 16


def test_an_even_map_has_the_energy_of_chance_and_an_empty_one_nothing():
    lesion = square()
    even = localise(np.ones((20, 20)), lesion)
    assert even.ratio == pytest.approx(1)
    assert even.iou == pytest.approx(even.chance)
    empty = localise(np.zeros((20, 20)), lesion)
    assert not empty.pointing
    assert (empty.energy, empty.iou, empty.best_dice) == (0, 0, 0)


def test_overlaps_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    lesion = square(40, 10, 18)
    heat = rng.random((40, 40)) + lesion * 0.7
    found = localise(heat, lesion)
    cut = heat >= heat.max() / 2
    assert found.iou == pytest.approx(jaccard_score(lesion.ravel(), cut.ravel()))
    assert found.dice == pytest.approx(f1_score(lesion.ravel(), cut.ravel()))
    best = max(jaccard_score(lesion.ravel(), (heat >= c * heat.max()).ravel()) for c in THRESHOLDS)
    assert found.best_iou == pytest.approx(best)
    assert found.best_iou >= found.iou


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="0 pixels"):
        localise(np.ones((4, 4)), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match=r"\(4, 4\) against a lesion of \(5, 4\)"):
        localise(np.ones((4, 4)), np.ones((5, 4), bool))


def test_a_box_may_be_drawn_from_any_corner_and_over_the_edge():
    np.testing.assert_array_equal(box_mask((10, 12), 8, 6, 2, 3), box_mask((10, 12), 2, 3, 8, 6))
    assert box_mask((10, 12), 2, 3, 8, 6).sum() == 18
    assert box_mask((10, 12), -5, -5, 3, 2).sum() == 6


def test_similarity_of_maps_on_different_grids():
    rows = np.linspace(0, 1, 7)[:, None] * np.ones(7)
    fine = np.linspace(0, 1, 14)[:, None] * np.ones(14)
    assert rank_correlation(rows, fine) > 0.98
    assert top_fraction_overlap(rows, fine) > 0.9
    assert rank_correlation(rows, -fine + 1) < -0.98
    assert top_fraction_overlap(rows, fine[::-1]) == 0
    assert np.isnan(rank_correlation(rows, np.ones((7, 7))))
    assert np.isnan(top_fraction_overlap(rows, np.zeros((7, 7))))
    noise = np.random.default_rng(0).random((2, 56, 56))
    assert top_fraction_overlap(*noise) == pytest.approx(0.2, abs=0.05)
    left, right, inner = np.zeros((3, 56, 56))
    left[20:36, 5:15], right[20:36, 40:50], inner[24:32, 7:12] = 1, 1, 1
    assert top_fraction_overlap(left, right) == 0  # what both leave out is nothing that they share
    assert top_fraction_overlap(left, inner) == 1
    matrix = similarity_matrix({"a": rows, "b": fine, "c": noise[0]})
    assert len(matrix) == 6
    assert matrix["a", "b"] == matrix["b", "a"]
