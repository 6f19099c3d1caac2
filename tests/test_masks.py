"""A lesion mask and a scan are told apart."""

import numpy as np
import pytest
from conftest import encoded
from PIL import Image, ImageFilter

from rcdnet.errors import ImageError
from rcdnet.scans.scan_and_mask import orientation_of, read_mask, read_scan

# EXIF's table of orientations, from the stored pixels to the upright ones.
TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.T, 2),
    8: np.rot90,
}
LESION = np.pad(np.ones((20, 50), bool), ((10, 60), (5, 65)))  # in a corner of 90 × 120


def with_orientation(pixels: np.ndarray, orientation: int, format_name: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(pixels), format_name, **({"exif": exif} if orientation > 1 else {}))


def test_two_levels_are_a_mask_and_no_scan():
    """A mask dropped among the scans got a call."""
    lesion = np.zeros((90, 120), bool)
    lesion[30:60, 40:90] = True
    mask = Image.fromarray(lesion)  # of one bit
    for data in (encoded(mask), encoded(mask.convert("L")), encoded(mask.convert("L"), "JPEG")):
        np.testing.assert_array_equal(read_mask(data, lesion.shape), lesion)
        with pytest.raises(ImageError, match="two grey levels, like a lesion mask"):
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


def screen_with(phantom, background: int, panel: int, format_name: str) -> bytes:
    """A screen of 1920 × 1080 with a plain panel beside a scan."""
    screen = np.full((1080, 1920), background, np.uint8)
    screen[:, 1400:] = panel
    screen[60:460, 40:520] = phantom[:400, :480]
    return encoded(Image.fromarray(screen), format_name)


@pytest.mark.parametrize(("background", "panel"), [(0, 240), (32, 60), (255, 0)])
@pytest.mark.parametrize("format_name", ["PNG", "JPEG"])
def test_a_screen_with_a_plain_panel_is_a_scan(phantom, background, panel, format_name):
    """It was refused as a lesion mask."""
    assert read_scan(screen_with(phantom, background, panel, format_name)).pixels.shape == (1080, 1920)


@pytest.mark.parametrize("radius", [2, 4])
def test_a_mask_with_soft_edges_is_a_mask(radius):
    mask = Image.fromarray(LESION.repeat(4, axis=0).repeat(4, axis=1)).convert("L")
    soft = mask.filter(ImageFilter.GaussianBlur(radius))
    for data in (encoded(soft), encoded(soft, "JPEG", quality=40)):
        with pytest.raises(ImageError, match="two grey levels, like a lesion mask"):
            read_scan(data)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_a_turned_scan_and_its_mask_lie_on_each_other(phantom, orientation, format_name):
    scan = read_scan(with_orientation(phantom[:90, :120], orientation, format_name))
    assert scan.orientation == orientation == orientation_of(with_orientation(phantom, orientation, format_name))
    np.testing.assert_array_equal(scan.pixels, TURNS[orientation](phantom[:90, :120]))
    upright = TURNS[orientation](LESION)

    def read(mask: np.ndarray, turn: int) -> np.ndarray:
        data = with_orientation(mask, turn, format_name)
        return read_mask(data, scan.pixels.shape, scan_orientation=scan.orientation)

    np.testing.assert_array_equal(read(LESION, orientation), upright)  # turned with the scan
    if orientation >= 5 or orientation == 1:  # a quarter turn: the shape tells on which pixels the mask was drawn
        np.testing.assert_array_equal(read(LESION, 1), upright)
        np.testing.assert_array_equal(read(upright, 1), upright)
    else:
        for mask in (LESION, upright):
            with pytest.raises(
                ImageError, match=f"stored with EXIF orientation {orientation} and the mask with no EXIF"
            ):
                read(mask, 1)


def test_a_turned_mask_of_a_scan_that_is_not_is_refused_unless_its_shape_tells():
    with pytest.raises(ImageError, match="stored with no EXIF orientation and the mask with EXIF orientation 3"):
        read_mask(with_orientation(LESION, 3), LESION.shape)
    np.testing.assert_array_equal(read_mask(with_orientation(LESION, 6), LESION.shape), LESION)
    square = np.pad(np.ones((20, 20), bool), ((10, 60), (20, 50)))
    with pytest.raises(ImageError, match="not known which way up the mask was drawn"):
        read_mask(with_orientation(square, 1), square.shape, scan_orientation=6)
    nothing = np.zeros_like(square)
    assert not read_mask(with_orientation(nothing, 1), square.shape, may_be_empty=True, scan_orientation=6).any()
