"""One call from a scan to what a page shows."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import ramp

from rcdnet.inference import classify, load_classifier, load_trained
from rcdnet.registry import MODELS


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


def test_a_model_is_read_once_and_shared():
    assert load_classifier("rcdnet") is load_classifier("rcdnet")
