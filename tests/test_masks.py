"""A lesion mask and a scan are told apart."""

import numpy as np
import pytest
from conftest import encoded
from PIL import Image

from rcdnet.errors import ImageError
from rcdnet.images import read_mask, read_scan


def test_two_levels_are_a_mask_and_no_scan():
    """A mask dropped among the scans got a call."""
    lesion = np.zeros((90, 120), bool)
    lesion[30:60, 40:90] = True
    mask = Image.fromarray(lesion)  # of one bit
    for data in (encoded(mask), encoded(mask.convert("L")), encoded(mask.convert("L"), "JPEG")):
        np.testing.assert_array_equal(read_mask(data, lesion.shape), lesion)
        with pytest.raises(ImageError, match="two grey levels, as a lesion mask"):
            read_scan(data)


def test_a_scan_is_no_mask(phantom):
    with pytest.raises(ImageError, match="Much of this mask is neither black nor white"):
        read_mask(encoded(Image.fromarray(phantom)), phantom.shape)


def test_a_small_scan_on_a_large_black_screen_is_a_scan(phantom):
    screen = np.zeros((1080, 1920), np.uint8)
    screen[100:500, 100:580] = phantom[:400, :480]
    assert (screen == 0).mean() > 0.9
    np.testing.assert_array_equal(read_scan(encoded(Image.fromarray(screen))).pixels, screen)
