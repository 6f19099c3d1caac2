"""Reading an upload: bytes in, one grey image out, or an `ImageError` a clinician understands.

Uploads are hostile. The file size is checked before anything is opened, the side lengths after the
header and before the pixels, the format by content and never by name. Pillow decodes under these
limits; OpenCV, which has none, only ever sees arrays. Nothing of the file but its pixels is kept.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from rcdnet.errors import ImageError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
MAX_BYTES = 20 * 1024 * 1024
MAX_SIDE_PX = 4096
MIN_SIDE_PX = 64

# A pixel is coloured when its channels differ by more than JPEG chroma noise does, and colour matters when more of the
# picture has it than a maker's logo covers.
_COLOUR_SPREAD = 32
_COLOUR_SHARE = 0.005
# Share of an image's pixels that its two most frequent grey levels have: at most 0.48 in the 2100 scans of BUSI and BUS-BRA at
# hand, 1 in their masks.
_TWO_LEVELS = 0.9
_OF_THE_REST = 0.2  # that the second level has at least, of all pixels that are not of the first
# Share of a mask that may be neither dark nor bright, for soft edges; of a scan of BUSI or BUS-BRA at least .14 is, of half of them .78.
_MASK_SHADES = 0.1
_MASK_EDGE = 0.9  # share of a mask's outermost pixels that a lesion may cover; an inverted mask's are all white
_DARK = 32  # grey level; 76 is the lowest that a hundredth of a scan of BUSI or BUS-BRA at hand lies above

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF 6.0, section 8
_DAMAGED = "The image is damaged or incomplete. Export the scan again and upload the new file."
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*")
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
)


@dataclass(frozen=True, eq=False)  # arrays have no one answer to ==
class Scan:
    """One grey image as uploaded; equal to itself alone.

    pixels: uint8 (H, W), 0 black to 255 white, upright, the upload's own size.
    sha256: hex digest of the uploaded bytes, the only name a scan has inside the library.
    warnings: sentences to show beside every result of this scan.
    """

    pixels: np.ndarray = field(repr=False)
    sha256: str
    warnings: tuple[str, ...] = ()


def bytes_of(path: Path) -> bytes:
    """What `read_scan` and `read_mask` take of a file: all of it, or enough to see that it is too large."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def read_scan(data: bytes) -> Scan:
    """Decode an uploaded PNG, JPEG, BMP or single-frame TIFF to a grey `Scan`.

    Transparent parts become black, the background of an ultrasound screen. 16-bit samples are scaled
    from the full 0..65535 range. An EXIF orientation is applied, then dropped with all other metadata.

    Raises:
        ImageError: not an image, damaged, several frames, too large, too small, one flat colour, or two as a mask has.
    """
    scan = _decoded(data)
    if int(scan.pixels.max()) - int(scan.pixels.min()) <= 2:
        raise ImageError("The image is one flat colour, so there is nothing to read in it. Check the export.")
    levels = np.sort(np.bincount(scan.pixels.ravel(), minlength=256))
    rest = scan.pixels.size - levels[-1]  # a small scan on a large black screen is mostly one level, too
    if levels[-2:].sum() >= _TWO_LEVELS * scan.pixels.size and levels[-2] >= _OF_THE_REST * rest:
        raise ImageError("The image is of two grey levels, as a lesion mask or a drawing is. Upload the scan itself.")
    return scan


def _decoded(data: bytes, *, scaled: bool = True) -> Scan:
    """`scaled`: 16-bit samples from their full range; else deep samples by their own largest, and values up to 255 stay what they are."""
    if not data:
        raise ImageError("The file is empty. Export the scan again and upload the new file.")
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"The file is larger than {MAX_BYTES // 1024**2} MB, the most that is read. "
            "Export a single still image instead of a clip."
        )
    image = _open(data)
    _check_size(image)
    _check_frames(image)
    try:
        if image.format == "PNG":  # verify() checks every chunk's CRC, which load() does not; it spoils its handle
            _open(data).verify()
        image.load()
        # Pillow minds this tag at 8 bits only.
        inverted = isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
        upright = ImageOps.exif_transpose(image)
        if not scaled and upright.mode.startswith(("I", "F")):
            samples = np.asarray(upright).astype(np.float64)
            upright, inverted = Image.fromarray((samples * 255 / max(255, samples.max())).astype(np.uint8)), False
        rgb = _to_rgb_or_grey(upright, inverted_16_bit=inverted)
    except ImageError:
        raise
    except _DECODER_ERRORS as error:
        raise ImageError(_DAMAGED) from error
    pixels, notes = (rgb, ()) if rgb.ndim == 2 else _grey_of_rgb(rgb)
    if np.percentile(pixels, 99) < _DARK:
        notes = (
            *notes,
            "All but a hundredth of this image is nearly black, as where 12-bit samples are stored as 16-bit ones, so little detail is "
            "left. Export it as an 8-bit PNG for a result that can be trusted.",
        )
    return Scan(np.ascontiguousarray(pixels), hashlib.sha256(data).hexdigest(), notes)


def read_mask(data: bytes, shape: tuple[int, int], *, may_be_empty: bool = False) -> np.ndarray:
    """The lesion that a mask marks in a scan of (height, width) `shape`, bool (H, W): where it is white, or 1.

    Raises:
        ImageError: as `read_scan`, which takes no mask; another size than the scan's; shades of grey; dimmer than white; nothing is
            marked, unless `may_be_empty`; or all of its edge is, as an inverted mask's is.
    """
    pixels = _decoded(data, scaled=False).pixels
    if pixels.shape != shape:
        raise ImageError(
            f"The mask has {pixels.shape[1]} × {pixels.shape[0]} pixels and the scan {shape[1]} × {shape[0]}. "
            "Give the mask that belongs to this scan, at the same size."
        )
    if 1 < pixels.max() <= 127:
        raise ImageError(
            f"The brightest pixel of the mask is {pixels.max()}. Expected 255 inside the lesion and 0 outside, or 1 and 0."
        )
    # A mask may be white or any light grey on black.
    share = (pixels - pixels.min()) / max(1, np.ptp(pixels))
    if ((share > 1 / 8) & (share < 7 / 8)).mean() > _MASK_SHADES:
        raise ImageError(
            "Much of this mask is neither black nor white, as in a scan. Expected the lesion in white on black."
        )
    lesion = pixels > (127 if pixels.max() > 127 else 0)
    if np.concatenate([lesion[0], lesion[-1], lesion[:, 0], lesion[:, -1]]).mean() > _MASK_EDGE:
        raise ImageError("The mask marks everything, or all but the lesion. Expected the lesion in white on black.")
    if not lesion.any() and not may_be_empty:
        raise ImageError("The mask marks nothing. Expected the lesion in white on black.")
    return lesion


def _open(data: bytes) -> Image.Image:
    too_large = f"The image is too large; at most {MAX_SIDE_PX} pixels a side are read. Export it at a smaller size."
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(too_large) from error
    except (UnidentifiedImageError, *_DECODER_ERRORS) as error:
        if data[128:132] == b"DICM":
            raise ImageError("This is a DICOM file. Export the image as PNG and upload that.") from error
        if data.startswith(_SIGNATURES):
            raise ImageError(_DAMAGED) from error
        raise ImageError("This is not an image that can be read. Upload a PNG, JPEG, BMP or TIFF file.") from error


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if max(width, height) > MAX_SIDE_PX:
        raise ImageError(
            f"The image has {width} × {height} pixels; at most {MAX_SIDE_PX} a side are read. "
            "Export it at a smaller size."
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"The image has {width} × {height} pixels; at least {MIN_SIDE_PX} a side are needed. "
            "Export the scan at its full size, not as a thumbnail."
        )


def _check_frames(image: Image.Image) -> None:
    if image.format == "MPO":  # a phone's photo with a preview or a gain map behind it; the first is the photo
        return
    # Asking a TIFF for its number of frames walks all of them, which a hostile file makes minutes long.
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return
    except _DECODER_ERRORS as error:
        raise ImageError(_DAMAGED) from error
    raise ImageError("The file holds several frames. Export the one frame to be read as a still image.")


def _to_rgb_or_grey(image: Image.Image, *, inverted_16_bit: bool) -> np.ndarray:
    """uint8 (H, W) for grey files, uint8 (H, W, 3) for colour ones; transparency laid over black."""
    mode, transparent = image.mode, image.info.get("transparency")
    if mode.startswith("I;16"):
        samples = np.asarray(image).astype(np.uint32)
        return _grey_of_16_bit(65535 - samples if inverted_16_bit else samples, transparent)
    if mode in ("I", "F"):
        raise ImageError(
            "The image stores 32-bit samples, whose display range is not defined. Export it as an 8-bit PNG."
        )
    if mode in ("1", "L") and transparent is None:
        return np.asarray(image.convert("L"))
    if mode in ("LA", "RGBA", "PA", "La", "RGBa") or transparent is not None:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"))
    return np.asarray(image.convert("RGB"))


def _grey_of_16_bit(samples: np.ndarray, transparent: object) -> np.ndarray:
    # Pillow's own convert("L") clips at 255 and turns nearly every pixel white.
    if isinstance(transparent, int):
        samples = np.where(samples == transparent, 0, samples)
    return ((samples * 255 + 32767) // 65535).astype(np.uint8)


def _grey_of_rgb(rgb: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    spread = rgb.max(axis=2) - rgb.min(axis=2)
    if not spread.any():
        return rgb[..., 0], ()
    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    if float((spread > _COLOUR_SPREAD).mean()) <= _COLOUR_SHARE:
        return grey, ()
    return grey, (
        "This image carries colour, as a Doppler or elastography overlay does. The models saw it without colour, "
        "and none that comes with this app was trained on such images: do not trust this call.",
    )
