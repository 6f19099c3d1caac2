"""The outline: a decoder kept with the weights, read with them, and drawn on the scan's own pixels."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save
from test_checkpoint import pair  # noqa: F401  a fixture: random weights of MobileNetV2 and a card that fits

from rcdnet.errors import CheckpointError
from rcdnet.models.calibration import Calibration
from rcdnet.models.checkpoint import load_checkpoint, write_checkpoint
from rcdnet.models.lesion_decoder import PREFIX, contours, decoder_for, read_outline, shape_score
from rcdnet.models.registry import MODELS
from rcdnet.present.overlay import draw_contours
from rcdnet.reading.inference import classify
from rcdnet.scans.preprocessing import letterbox_of, normalise, prepare


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_have_a_decoder_and_its_call_and_map_stay_the_same(name, classifiers, phantom):
    torch.manual_seed(4)
    plain = classifiers[name]
    decoder = decoder_for(plain.network, 224).eval().requires_grad_(False)
    without, with_outline = (classify(phantom, [c])[0] for c in (plain, replace(plain, decoder=decoder)))
    assert without.lesion is None
    assert without.outlines() == []
    np.testing.assert_allclose(with_outline.probabilities, without.probabilities, atol=1e-6)
    np.testing.assert_allclose(with_outline.maps, without.maps, rtol=1e-4, atol=1e-6)
    canvas, _ = prepare(phantom, 224)
    with torch.no_grad():
        _, maps = plain.network.forward_intermediates(normalise(torch.from_numpy(canvas)[None, None].float() / 255))
        expected = read_outline(decoder, maps)[0][0].numpy()
    assert 0 <= expected.min() <= expected.max() <= 1
    np.testing.assert_allclose(with_outline.lesion, expected, atol=1e-5)


def test_the_vote_is_the_mean_log_odds_of_the_places_inside():
    class Fixed(torch.nn.Module):
        def forward(self, maps):
            return maps[0]

    classes = torch.full((3, 3, 8, 8), -20.0)  # background, benign, malignant
    classes[:, 0] = 20
    classes[0, :, 2:6, 2:6] = torch.tensor([-20.0, 0, 3])[:, None, None]  # malignant by 3
    classes[1, :, 2:6, 2:4] = torch.tensor([-20.0, 1, 0])[:, None, None]  # benign by 1
    lesion, votes = read_outline(Fixed(), [classes])
    assert votes.tolist() == pytest.approx([3, -1, 0], abs=1e-4)
    assert lesion[0].sum().item() == pytest.approx(16, abs=1e-4)


def test_the_shape_is_read_where_the_scan_lies_on_its_canvas():
    """A lesion twice as tall as wide; only the logarithm of height over width counts here, and its height in the scan."""
    frame = letterbox_of(100, 200, 224)  # the scan fills the middle half of the canvas
    lesion = np.zeros((56, 56), np.float32)
    lesion[20:36, 10:18] = 1
    aspect, top = [0.0] * 9, [0.0] * 9
    aspect[2] = top[6] = 1.0
    assert shape_score(lesion, frame, aspect) == pytest.approx(np.log(2), abs=0.05)
    assert shape_score(lesion, frame, top) == pytest.approx((20 / 56 - 0.25) / 0.5, abs=0.03)
    assert 0 < shape_score(lesion * 0.8, frame, aspect) < shape_score(lesion, frame, aspect)  # an outline less sure
    assert shape_score(lesion * 0.4, frame, aspect) == 0  # none
    assert shape_score(lesion, frame, ()) == 0


def test_a_call_adds_up_to_what_its_parts_say(classifiers, phantom):
    torch.manual_seed(6)
    plain = classifiers["mobilenetv2"]
    decoder = decoder_for(plain.network, 224).eval().requires_grad_(False)
    calibration = Calibration(network=0.5, outline=0.3, shape=0.2, bias=0.1, box=(0.1,) * 9)
    p = classify(phantom, [replace(plain, decoder=decoder, card=replace(plain.card, calibration=calibration))])[0]
    assert np.log(p.p_malignant / (1 - p.p_malignant)) == pytest.approx(sum(p.parts.values()) + 0.1)
    assert all(p.parts[part] != 0 for part in ("network", "outline"))


def test_a_weight_file_with_a_decoder_is_read_whole_and_a_damaged_one_refused(pair, tmp_path):  # noqa: F811
    torch.manual_seed(5)
    _, card = pair
    network = load_checkpoint("rcdnet").network
    decoder = decoder_for(network, 224)
    tensors = network.state_dict() | {PREFIX + key: value for key, value in decoder.state_dict().items()}

    def stored(tensors) -> None:
        weights = save({k: v.half() if v.is_floating_point() else v for k, v in tensors.items()})
        write_checkpoint(weights, replace(card, model="rcdnet", sha256=hashlib.sha256(weights).hexdigest()), tmp_path)

    stored(tensors)
    read = load_checkpoint("rcdnet", tmp_path)
    assert not read.decoder.training
    for key, value in decoder.state_dict().items():
        torch.testing.assert_close(read.decoder.state_dict()[key], value, atol=1e-3, rtol=1e-3)
    assert all(not p.requires_grad for p in read.decoder.parameters())
    tensors.pop(f"{PREFIX}classify.bias")
    stored(tensors)
    with pytest.raises(CheckpointError, match="does not fit the network of RcdNet"):
        load_checkpoint("rcdnet", tmp_path)


def test_contours_are_closed_and_the_largest_comes_first():
    lesion = np.zeros((60, 80), np.float32)
    lesion[5:10, 5:10] = 0.6
    lesion[20:50, 30:70] = 0.9
    lesion[55:58, 2:5] = 0.5  # not more likely than not
    large, small = contours(lesion)
    assert (large.min(axis=0).tolist(), large.max(axis=0).tolist()) == ([30, 20], [69, 49])
    assert (small.min(axis=0).tolist(), small.max(axis=0).tolist()) == ([5, 5], [9, 9])
    assert contours(np.zeros((8, 8), np.float32)) == []


def test_the_outline_lands_on_the_scans_own_pixels(classifiers):
    """A decoder that says lesion where the content's upper left quarter lies, on a scan wider than high."""
    scan = np.full((200, 400), 90, np.uint8)
    prediction = classify(scan, [classifiers["mobilenetv2"]])[0]
    canvas = np.zeros((56, 56), np.float32)  # the content fills the middle half of the height
    canvas[14:28, :28] = 1
    (contour,) = replace(prediction, lesion=canvas).outlines()
    assert np.abs(contour.max(axis=0) - (200, 100)).max() <= 4
    (half_size,) = replace(prediction, lesion=canvas).outlines((100, 200))
    assert np.abs(half_size.max(axis=0) - (100, 50)).max() <= 4


def test_an_outline_is_drawn_beside_nothing_else():
    picture = np.full((100, 120), 40, np.uint8)
    drawn = draw_contours(picture, [np.array([[20, 20], [80, 20], [80, 60], [20, 60]], np.int32)])
    assert drawn.shape == (100, 120, 3)
    assert (drawn[20, 50] > 200).all()
    assert (drawn[18, 50] < 40).all()
    assert (drawn[40, 50] == 40).all()
    assert (picture == 40).all()
    assert (draw_contours(drawn, []) == drawn).all()
