"""A map over a scan: strongest where the map is, nothing where it is not."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from conftest import ramp
from PIL import Image

from rcdnet.present.overlay import COLOUR_MAPS, colour_table, fit_within, letterboxed, overlay, png, png_url

SCAN = ramp(90, 140)


def spot() -> np.ndarray:
    heat = np.zeros(SCAN.shape, np.float32)
    heat[40:50, 60:80] = 3.0
    return heat


@pytest.mark.parametrize("colour_map", COLOUR_MAPS)
def test_full_opacity_shows_the_last_colour_at_the_maximum_and_the_scan_at_zero(colour_map):
    picture = overlay(SCAN, spot(), opacity=1, colour_map=colour_map)
    np.testing.assert_array_equal(picture[45, 70], colour_table(colour_map)[-1])
    np.testing.assert_array_equal(picture[0:30], np.repeat(SCAN[0:30, :, None], 3, axis=2))


def test_an_empty_map_or_no_opacity_leaves_the_scan_as_it_is():
    grey = np.repeat(SCAN[..., None], 3, axis=2)
    np.testing.assert_array_equal(overlay(SCAN, np.zeros(SCAN.shape, np.float32)), grey)
    np.testing.assert_array_equal(overlay(SCAN, spot(), opacity=0), grey)


def test_half_opacity_lies_half_way():
    picture = overlay(SCAN, spot(), opacity=0.5)[45, 70].astype(float)
    expected = (colour_table("Turbo")[-1].astype(float) + SCAN[45, 70]) / 2
    assert np.abs(picture - expected).max() <= 1


def test_stages_keep_the_aspect():
    stage = letterboxed(np.full((50, 200), 255, np.uint8), 400, 300)
    assert stage.shape == (300, 400)
    lit = np.argwhere(stage > 200)
    assert np.ptp(lit[:, 0]) + 1 == 100
    assert np.ptp(lit[:, 1]) + 1 == 400
    assert letterboxed(np.zeros((64, 4096, 3), np.uint8), 400, 300).shape == (300, 400, 3)
    assert fit_within(np.zeros((1000, 500), np.uint8), 200).shape == (200, 100)
    assert fit_within(SCAN, 2000) is SCAN


def test_png_holds_the_pixels_and_nothing_else():
    picture = Image.open(BytesIO(png(SCAN)))
    np.testing.assert_array_equal(np.asarray(picture), SCAN)
    assert picture.info == {}


def test_a_data_url_holds_the_same_png():
    header, content = png_url(SCAN).split(",")
    assert header == "data:image/png;base64"
    assert b64decode(content) == png(SCAN)
