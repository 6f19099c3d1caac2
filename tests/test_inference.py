"""One call from a scan to what a page shows."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from conftest import ramp

from rcdnet.models.checkpoint import WEIGHTS_FOLDER, card_digest, load_checkpoint
from rcdnet.models.registry import MODELS
from rcdnet.reading.inference import classify, load_classifier, load_trained


def test_predictions_come_in_the_order_asked_for(classifiers, phantom):
    predictions = classify(phantom, [classifiers["vit"], classifiers["rcdnet"]])
    assert [p.model for p in predictions] == ["vit", "rcdnet"]
    for p in predictions:
        assert p.probabilities.sum() == pytest.approx(1)
        assert p.heat("malignant").shape == phantom.shape
        assert p.heat("malignant").dtype == np.float32


@pytest.mark.parametrize("shape", [(64, 4096), (4096, 64), (64, 64), (1200, 900)])
def test_any_accepted_shape(shape, classifiers):
    (prediction,) = classify(ramp(*shape), [classifiers["mobilenetv2"]])
    assert prediction.heat("benign").shape == shape


def test_the_call_is_malignant_at_the_threshold_and_benign_below(classifiers, phantom):
    (p,) = classify(phantom, [classifiers["rcdnet"]])
    assert replace(p, threshold=p.p_malignant).call == "malignant"
    assert replace(p, threshold=p.p_malignant + 1e-6).call == "benign"


def test_the_same_scan_twice_gives_the_same_answer_and_stays_untouched(classifiers, phantom):
    copy = phantom.copy()
    first, second = (classify(phantom, [classifiers["regnet"]])[0] for _ in range(2))
    np.testing.assert_array_equal(first.maps, second.maps)
    np.testing.assert_array_equal(phantom, copy)


def test_every_model_either_answers_or_says_why_not():
    classifiers, reasons = load_trained()
    assert [c.spec.name for c in classifiers] + list(reasons) == sorted(
        MODELS, key=lambda name: (name in reasons, list(MODELS).index(name))
    )
    assert all("python -m train fit" in str(reason) for reason in reasons.values())


def test_a_model_is_read_once_and_shared_until_other_weights_are_shipped(tmp_path, monkeypatch):
    """A running app went on with the old weights, while its Results page described the new ones."""
    assert load_classifier("rcdnet") is load_classifier("rcdnet")
    for name in ("rcdnet.json", "rcdnet.safetensors"):
        shutil.copy(WEIGHTS_FOLDER / name, tmp_path)
    monkeypatch.setattr("rcdnet.reading.inference.card_digest", partial(card_digest, folder=tmp_path))
    monkeypatch.setattr("rcdnet.reading.inference.load_checkpoint", partial(load_checkpoint, folder=tmp_path))
    before = load_classifier("rcdnet")
    (tmp_path / "rcdnet.json").write_text(replace(before.card, threshold=0.5).to_json())
    after = load_classifier("rcdnet")
    assert (after.card.threshold, after.card.sha256) == (0.5, before.card.sha256)
    assert after.key != before.key != replace(before, own="mine").key


def test_a_maps_strength_is_that_of_the_scan_and_not_of_the_margin(classifiers, phantom):
    """The default scale of the Compare page ended at a maximum that stood nowhere on the scan."""
    (p,) = classify(np.ascontiguousarray(phantom[:220]), [classifiers["rcdnet"]])
    maps = np.zeros((2, 14, 14), np.float32)
    maps[:, 0] = 5  # above the scan, which begins in the fifth row of the canvas
    maps[1, 7, 7] = 2
    high = replace(p, maps=maps)
    assert p.frame.top > 48
    assert high.strength("benign") == 0
    assert high.strength("malignant") == pytest.approx(high.heat("malignant").max(), rel=0.01)
