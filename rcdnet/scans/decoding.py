"""Bytes of an upload to its pixels as stored, under limits of size and number.

Uploads are hostile. The file size is checked before anything is opened; then the structure is walked, the format known by content
and never by name, the side lengths checked, and of the file only the pixels go on to a decoder. Pillow decodes under these limits;
OpenCV, which has none, only ever sees arrays. Nothing of the file but its pixels and their orientation is kept.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from rcdnet.errors import ImageError
from rcdnet.scans import image_structure, tiff_pixels, tiff_structure
from rcdnet.scans.bit_depth import ALL_TRANSPARENT, Samples, to_display_range, to_mask

MAX_BYTES = 20 * 1024 * 1024
MAX_SIDE_PX = 4096
MIN_SIDE_PX = 64

# A pixel is coloured when its channels differ by more than JPEG chroma noise does, and colour matters when more of the
# picture has it than a maker's logo covers.
_COLOUR_SPREAD = 32
_COLOUR_SHARE = 0.005
_DAMAGED = "The image is damaged or incomplete. Export the scan again and upload the new file."
# What Pillow's decoders raise on damaged files, found by fuzzing; anything else is our own mistake and must surface.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """pixels: uint8 (H, W) as stored, unturned. deep: whether the file holds more than 8 bits a sample."""

    pixels: np.ndarray
    orientation: int
    warnings: tuple[str, ...]
    deep: bool


def decode_image(data: bytes, *, scaled: bool = True) -> DecodedImage:
    """The pixels of a file's one picture, and what to say of them.

    scaled: deep samples become what is shown (`rcdnet.scans.bit_depth.to_display_range`), for a scan; else they are marks
        (`rcdnet.scans.bit_depth.to_mask`).

    Raises:
        ImageError: not an image, damaged, not of a kind that is read, several frames, too large or too small.
    """
    still, orientation = parse_structure(data)
    notes: tuple[str, ...] = ()
    try:
        picture = tiff_pixels.decode(still) if isinstance(still, tiff_structure.Directory) else _opened(still)
        if isinstance(picture, Samples):
            deep = picture.bits > 8
            channels, notes = to_display_range(picture) if scaled else (to_mask(picture), ())
        else:
            deep = isinstance(still, image_structure.ImageStream) and still.upper_half
            opaque = isinstance(still, image_structure.ImageStream) and still.format == "BMP"
            channels = _over_black(picture, opaque_where_all_is_clear=opaque, may_be_clear=not scaled)
    except ImageError:
        raise
    except _DECODER_ERRORS as error:
        raise ImageError(_DAMAGED) from error
    if not scaled and deep and not isinstance(picture, Samples) and not channels.any():
        raise ImageError(
            "This mask has 16-bit colours whose upper 8 bits are all 0, so it reads as black. Save it as an 8-bit PNG."
        )
    pixels, colour = (channels, ()) if channels.ndim == 2 else _grey_of_rgb(channels)
    return DecodedImage(pixels, orientation, (*notes, *colour), deep)


def parse_structure(data: bytes) -> tuple[image_structure.ImageStream | tiff_structure.Directory, int]:
    """The one picture of a file whose size is within the limits, and its orientation; nothing is decoded."""
    if not data:
        raise ImageError("The file is empty. Export the scan again and upload the new file.")
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"The file is larger than the limit of {MAX_BYTES // 1024**2} MB. "
            "Export a single still image instead of a clip."
        )
    try:
        if tiff_structure.is_tiff(data):
            page = tiff_structure.picture_of(data)
            still: image_structure.ImageStream | tiff_structure.Directory = page
            orientation = tiff_structure.orientation(page)
        else:
            still = container = image_structure.parse_image_file(data)
            orientation = container.orientation
        width, height = still.size
    except (ValueError, IndexError, OverflowError, struct.error, zlib.error) as error:
        raise ImageError(_DAMAGED) from error
    _check_size(width, height)
    return still, orientation


def _opened(still: image_structure.ImageStream) -> Image.Image | Samples:
    """The picture of a PNG, JPEG or BMP, loaded; 16-bit grey as samples, which Pillow's own conversions clip."""
    try:
        image = Image.open(BytesIO(still.data), formats=(still.format,))
    except OSError as error:
        if "Unsupported BMP" not in str(error):
            raise
        raise ImageError(
            "This BMP has a rare bit depth or colour order, which is not supported. Export the scan as an 8-bit PNG."
        ) from error
    image.load()
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image).astype(np.uint16)
    clear = image.info.get("transparency")
    return Samples(grey, None if clear is None else np.where(grey == clear, 0, 65535).astype(np.uint16), 16)


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE_PX:
        raise ImageError(
            f"The image has {width} × {height} pixels; at most {MAX_SIDE_PX} a side are allowed. "
            "Export it at a smaller size."
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"The image has {width} × {height} pixels; at least {MIN_SIDE_PX} a side are needed. "
            "Export the scan at its full size, not as a thumbnail."
        )


def apply_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright, by EXIF's table of orientations."""
    if orientation in (5, 6, 7, 8):  # stored rows are columns
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _over_black(image: Image.Image, *, opaque_where_all_is_clear: bool, may_be_clear: bool) -> np.ndarray:
    """uint8 (H, W) for grey files, uint8 (H, W, 3) for colour ones; transparency laid over black."""
    mode, transparent = image.mode, image.info.get("transparency")
    if mode in ("1", "L") and transparent is None:
        return np.asarray(image.convert("L"))
    if mode not in ("LA", "RGBA", "PA") and transparent is None:
        return np.asarray(image.convert("RGB"))
    rgba = image.convert("RGBA")
    if rgba.getchannel("A").getextrema()[1] == 0:
        if opaque_where_all_is_clear:  # many programs leave the fourth byte of a BMP at 0, and none shows it as clear
            return np.asarray(rgba.convert("RGB"))
        if not may_be_clear:
            raise ImageError(ALL_TRANSPARENT)
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return np.asarray(Image.alpha_composite(black, rgba).convert("RGB"))


def _grey_of_rgb(rgb: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    red, green, blue = (rgb[..., k] for k in range(3))  # numpy reduces along so short an axis ten times slower
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    if not spread.any():
        return rgb[..., 0], ()
    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    if float((spread > _COLOUR_SPREAD).mean()) <= _COLOUR_SHARE:
        return grey, ()
    return grey, (
        "This image contains colour, like a Doppler or elastography overlay. The models read it without colour, and no model that "
        "comes with this app was trained on such images. Do not trust this call.",
    )
