"""Letterbox there and back, on every shape that is accepted."""

import numpy as np
import pytest
import torch
from conftest import ramp
from hypothesis import given, settings
from hypothesis import strategies as st

from rcdnet.scans.preprocessing import MEAN, STD, letterbox, letterbox_of, normalise, prepare


@pytest.mark.parametrize("shape", [(400, 500), (500, 400), (224, 224), (64, 4096), (4096, 64), (64, 64)])
def test_prepared_canvas_keeps_the_aspect_and_pads_with_black(shape):
    canvas, frame = prepare(ramp(*shape), 224)
    assert canvas.shape == (224, 224)
    assert canvas.dtype == np.uint8
    assert max(frame.height, frame.width) == 224
    assert abs(frame.height / frame.width - shape[0] / shape[1]) <= 0.5 * (1 + shape[0] / shape[1]) / frame.width
    outside = np.ones_like(canvas, dtype=bool)
    outside[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width] = False
    assert not canvas[outside].any()


@settings(max_examples=60, deadline=None)
@given(height=st.integers(64, 900), width=st.integers(64, 900), size=st.sampled_from([128, 224]))
def test_a_map_returns_to_the_pixels_it_came_from(height, width, size):
    """A smooth field, letterboxed and undone, is the field again: no shift, no stretch."""
    frame = letterbox_of(height, width, size)
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :].repeat(height, 0)
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None].repeat(width, 1)
    for field in (x, y):
        boxed = letterbox(np.rint(field * 255).astype(np.uint8), frame).astype(np.float32) / 255
        back = frame.to_image(boxed)
        assert back.shape == (height, width)
        # Half a canvas pixel, as the picture's own share, plus the rounding to 8 bits.
        assert np.abs(back - field).max() <= 0.75 / min(frame.height, frame.width) + 1.5 / 255


def test_a_spot_returns_to_its_place():
    image = np.zeros((300, 700), np.uint8)
    image[200:220, 500:520] = 255
    frame = letterbox_of(300, 700, 224)
    back = frame.to_image(letterbox(image, frame))
    rows, columns = np.mgrid[:300, :700]
    assert abs((back * rows).sum() / back.sum() - 209.5) <= 1
    assert abs((back * columns).sum() / back.sum() - 509.5) <= 1


def test_nothing_of_the_padding_enters_the_map():
    frame = letterbox_of(100, 200, 224)
    canvas_map = np.ones((224, 224), np.float32)
    canvas_map[frame.top : frame.top + frame.height] = 0
    assert frame.to_image(canvas_map).max() == 0


def test_grey_levels_stay_as_they_are_and_the_input_untouched(phantom):
    copy = phantom.copy()
    canvas, frame = prepare(phantom, max(phantom.shape))
    np.testing.assert_array_equal(phantom, copy)
    content = canvas[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]
    np.testing.assert_array_equal(content, phantom)


def test_normalised_as_the_paper_says():
    grey = torch.tensor([0.0, 0.485, 1.0])
    torch.testing.assert_close(normalise(grey), torch.tensor([-0.485 / 0.229, 0.0, 0.515 / 0.229]))
    assert (MEAN, STD) == (0.485, 0.229)
