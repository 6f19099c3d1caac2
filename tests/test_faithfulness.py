"""Insertion, deletion and ROAD on a network whose evidence is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rcdnet.explain.faithfulness import (
    PASSES,
    SHARES,
    Faithfulness,
    evaluate_faithfulness,
    faithfulness,
    pixel_ranks,
    random_cam_prediction,
    randomise_weights,
)
from rcdnet.reading.heatmaps import RANDOM_BASELINE
from rcdnet.reading.inference import classify


class RoughCorner(torch.nn.Module):
    """Calls malignant what is rough in the upper left quarter, and looks nowhere else."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        side = x.shape[-1] // 2
        evidence = x[:, 0, :side, :side].std(dim=(1, 2)) * 2 - 1
        return torch.stack([-evidence, evidence], dim=1)


@pytest.fixture(scope="module")
def scan() -> np.ndarray:
    """Bright dots in the upper left quarter, darker noise elsewhere; square, so that it fills the canvas."""
    pixels = np.random.default_rng(1).integers(0, 60, (224, 224), dtype=np.uint8)
    pixels[:112:6, :112:6] = 255
    return pixels


def test_a_map_of_the_evidence_is_faithful_and_its_opposite_is_not(classifiers, scan):
    classifier = replace(classifiers["mobilenetv2"], network=RoughCorner())
    blank = classify(scan, [classifiers["mobilenetv2"]])[0]
    right = np.zeros((2, 2), np.float32)
    right[0, 0] = 1
    ticks = []
    good, bad = (
        faithfulness(scan, classifier, replace(blank, maps=np.stack([m, m])), "malignant", tick=lambda: ticks.append(1))
        for m in (right, 1 - right)
    )
    assert len(ticks) == 2 * PASSES
    assert good.deletion_area < bad.deletion_area - 0.05
    assert good.insertion_area > bad.insertion_area + 0.05
    assert good.road > bad.road + 0.05
    assert good.deletion[0] == bad.deletion[0] == good.insertion[-1]
    assert good.deletion[-1] == bad.deletion[-1] == good.insertion[0]


def test_areas_by_hand():
    falling = tuple(1 - s for s in SHARES)
    found = Faithfulness(deletion=falling, insertion=(1.0,) * 11, road=0.0)
    assert found.deletion_area == pytest.approx(0.5)
    assert found.insertion_area == pytest.approx(1)


def test_ranks_take_away_as_much_as_they_say():
    """Half of this map is exactly zero; its own 20th percentile would be all of that half."""
    heat = np.zeros((8, 8), np.float32)
    heat[:4] = np.arange(32).reshape(4, 8)
    order = pixel_ranks(heat, 64)
    for share in (0.1, 0.2, 0.5, 0.9):
        assert (order < np.quantile(order, share)).mean() == pytest.approx(share, abs=0.001)
    assert order[:20].mean() > order[40:].mean()


def test_evaluate_faithfulness_measures_maps_floors_and_the_drawn_network(classifiers, phantom):
    classifier = classifiers["mobilenetv2"]
    methods = ["Grad-CAM", "EigenCAM"]
    made = classify(phantom, [classifier], methods)
    floor = random_cam_prediction(phantom, classifier, made[0], seed=3)
    examined = evaluate_faithfulness(phantom, classifier, [*made, floor], "malignant")
    assert examined[-1].faithfulness.deletion == faithfulness(phantom, classifier, floor, "malignant").deletion
    assert [e.method for e in examined] == [*methods, RANDOM_BASELINE]
    assert all(-1 <= e.alike <= 1 for e in examined[:2])
    assert np.isnan(examined[-1].alike)
    for e in examined:
        assert all(0 <= p <= 1 for p in (*e.faithfulness.deletion, *e.faithfulness.insertion))


def test_the_drawn_network_is_another_and_always_the_same(classifiers):
    classifier = classifiers["regnet"]
    other = randomise_weights(classifier)
    assert other.network is randomise_weights(classifier).network
    mine, theirs = (c.network.state_dict()["stem.conv.weight"] for c in (classifier, other))
    assert not torch.equal(mine, theirs)
    assert other.card is classifier.card
