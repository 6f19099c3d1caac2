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


def test_a_mask_marks_a_lesion_however_it_was_saved():
    """Transparent and 16-bit masks taught that everything, or nothing, is lesion."""
    lesion = np.zeros((90, 120), bool)
    lesion[30:60, 40:90] = True
    white = np.full((90, 120), 255, np.uint8)
    saved = {
        "ones": Image.fromarray(lesion.astype(np.uint8)),
        "ones of 16 bits": Image.fromarray(lesion.astype(np.uint16)),
        "255 of 16 bits": Image.fromarray(lesion.astype(np.uint16) * 255),
        "65535 of 16 bits": Image.fromarray(lesion.astype(np.uint16) * 65535),
        "4095 of 16 bits": Image.fromarray(lesion.astype(np.uint16) * 4095),
        "ones of 32 bits": Image.fromarray(lesion.astype(np.int32)),
        "floats": Image.fromarray(lesion.astype(np.float32)),
        "light grey": Image.fromarray(lesion.astype(np.uint8) * 200),
        "white with the lesion opaque": Image.merge("LA", [Image.fromarray(white), Image.fromarray(white * lesion)]),
    }
    for name, image in saved.items():
        np.testing.assert_array_equal(read_mask(encoded(image, "TIFF"), lesion.shape), lesion, err_msg=name)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.full((90, 120), 255, np.uint8), "marks everything, or all but the lesion"),
        (
            255 - np.pad(np.full((30, 40), 255, np.uint8), ((30, 30), (40, 40))),
            "marks everything, or all but the lesion",
        ),
        (np.zeros((90, 120), np.uint8), "marks nothing"),
        (np.pad(np.full((30, 40), 85, np.uint8), ((30, 30), (40, 40))), "brightest pixel of the mask is 85"),
    ],
)
def test_what_marks_no_lesion_is_refused(mask, sentence):
    with pytest.raises(ImageError, match=sentence):
        read_mask(encoded(Image.fromarray(mask)), mask.shape)


def test_a_scan_is_no_mask(phantom):
    with pytest.raises(ImageError, match="Much of this mask is neither black nor white"):
        read_mask(encoded(Image.fromarray(phantom)), phantom.shape)


def test_a_small_scan_on_a_large_black_screen_is_a_scan(phantom):
    screen = np.zeros((1080, 1920), np.uint8)
    screen[100:500, 100:580] = phantom[:400, :480]
    assert (screen == 0).mean() > 0.9
    np.testing.assert_array_equal(read_scan(encoded(Image.fromarray(screen))).pixels, screen)
