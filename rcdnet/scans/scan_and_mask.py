"""Bytes in, one grey scan or lesion mask out, or an `ImageError` a clinician understands.

What may be called a scan and what a lesion mask is decided here, on pixels that `rcdnet.scans.decoding` has read.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rcdnet.errors import ImageError
from rcdnet.safe_read import file_type_error
from rcdnet.scans.decoding import MAX_BYTES, DecodedImage, apply_orientation, decode_image, parse_structure

# Share of an image's pixels that its two most frequent grey levels have: at most 0.48 in the 2100 scans of BUSI and BUS-BRA at
# hand, 1 in their masks. A screen with panels may reach it too, but has a picture on it: places that are mostly of other levels.
_TWO_LEVELS = 0.9
_OF_THE_REST = 0.2  # that the second level has at least, of all pixels that are not of the first
# Of 696 screens with a panel and a scan of BUSI, BUS-BRA or BrEaST none is taken for a mask by these numbers, and of 237 masks blurred
# by 3 pixels none for a screen.
_PLACE = 32  # pixels a side, wider than the soft edge of a mask
_OF_A_PLACE = 0.4  # share of other levels
_PLACES = 4
# Share of a mask that may be neither dark nor bright, for soft edges; of a scan of BUSI or BUS-BRA at least .14 is, of half of them .78.
_MASK_SHADES = 0.1
_MASK_EDGE = 0.9  # share of a mask's outermost pixels that a lesion may cover; an inverted mask's are all white
_DARK = 32  # grey level; 76 is the lowest that a hundredth of a scan of BUSI or BUS-BRA at hand lies above


@dataclass(frozen=True, eq=False)  # arrays have no one answer to ==
class Scan:
    """One grey image as uploaded; equal to itself alone.

    pixels: uint8 (H, W), 0 black to 255 white, upright, the upload's own size.
    sha256: hex digest of the uploaded bytes, the only name a scan has inside the library.
    warnings: sentences to show beside every result of this scan.
    orientation: EXIF's, 1 to 8, by which the stored pixels were turned; a mask drawn on those must be turned, too.
    """

    pixels: np.ndarray = field(repr=False)
    sha256: str
    warnings: tuple[str, ...] = ()
    orientation: int = 1


def read_bytes(path: Path) -> bytes:
    """What `read_scan` and `read_mask` take of a file: all of it, or enough to see that it is too large.

    Raises:
        ImageError: a pipe or a device, which would be waited for, or a folder. OSError: it is not there, or may not be read.
    """
    if path.exists() and (what := file_type_error(path)):
        raise ImageError(f"{path.name} is {what}; an image file is expected. Put one in its place.")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def read_scan(data: bytes) -> Scan:
    """Decode an uploaded PNG, JPEG, BMP or TIFF of one picture to a grey `Scan`.

    Transparent parts become black, the background of an ultrasound screen. Samples of more than 8 bits are scaled by
    `rcdnet.scans.bit_depth.to_display_range`. An EXIF orientation is applied, then all metadata dropped.

    Raises:
        ImageError: not an image, damaged, of a kind that is not read, several frames, too large, too small, more than 8 bits of
            which too few are used, one flat colour, or two as a mask has.
    """
    stored = decode_image(data)
    pixels, notes = stored.pixels, stored.warnings
    # Of deep samples those that are not black are asked: a few white words in a black picture are no scan.
    seen = pixels[pixels > 0] if stored.deep else pixels
    bright = np.percentile(seen, 75 if stored.deep else 99) if seen.size else 0
    if bright < _DARK and (stored.deep or np.ptp(pixels) > 2):
        if stored.deep:
            raise ImageError(
                "Most of this image is nearly black, as when 12-bit samples are stored as 16-bit ones. A call on it would mean nothing. "
                "Export it as an 8-bit PNG."
            )
        notes = (
            *notes,
            "At least 99 % of this image is nearly black, as when 12-bit samples are exported too dark, so little detail is left. Export "
            "it as an 8-bit PNG for a result that can be trusted.",
        )
    if np.ptp(pixels) <= 2:
        raise ImageError("The image is one flat colour, so there is nothing to read in it. Check the export.")
    if _is_of_two_levels(pixels):
        raise ImageError("The image has only two grey levels, like a lesion mask or a drawing. Upload the scan itself.")
    upright = np.ascontiguousarray(apply_orientation(pixels, stored.orientation))
    return Scan(upright, hashlib.sha256(data).hexdigest(), notes, stored.orientation)


def read_mask(
    data: bytes, shape: tuple[int, int], *, may_be_empty: bool = False, scan_orientation: int = 1
) -> np.ndarray:
    """The lesion that a mask marks in a scan of (height, width) `shape`, bool (H, W): where it is white, or 1.

    scan_orientation: the scan's `Scan.orientation`. A mask of another orientation may be drawn on the stored pixels or on the
    upright ones; it is taken where its shape tells which.

    Raises:
        ImageError: as `read_scan`, which takes no mask; another size than the scan's; turned otherwise than the scan; shades of
            grey; dimmer than white; nothing is marked, unless `may_be_empty`; or all of its edge is, as an inverted mask's is.
    """
    stored = decode_image(data, scaled=False)
    pixels = _as_the_scan_lies(stored, shape, scan_orientation)
    if 1 < pixels.max() <= 127:
        raise ImageError(
            f"The brightest pixel of the mask is {pixels.max()}. Expected 255 inside the lesion and 0 outside, or 1 and 0."
        )
    # A mask may be white or any light grey on black.
    share = (pixels - pixels.min()) / max(1, np.ptp(pixels))
    if ((share > 1 / 8) & (share < 7 / 8)).mean() > _MASK_SHADES:
        raise ImageError(
            "Much of this mask is neither black nor white, like a scan. Expected the lesion in white on black."
        )
    lesion = pixels > (127 if pixels.max() > 127 else 0)
    if np.concatenate([lesion[0], lesion[-1], lesion[:, 0], lesion[:, -1]]).mean() > _MASK_EDGE:
        raise ImageError("The mask marks everything, or all but the lesion. Expected the lesion in white on black.")
    if not lesion.any() and not may_be_empty:
        raise ImageError("The mask marks nothing. Expected the lesion in white on black.")
    return lesion


def orientation_of(data: bytes) -> int:
    """The EXIF orientation of a file, 1 to 8, without decoding it; `ImageError` as `read_scan`."""
    return parse_structure(data)[1]


def _as_the_scan_lies(mask: DecodedImage, shape: tuple[int, int], scan_orientation: int) -> np.ndarray:
    """The mask's pixels upright, if it is known which way they were drawn."""
    ways = [apply_orientation(mask.pixels, way) for way in dict.fromkeys((mask.orientation, scan_orientation))]
    fitting = [pixels for pixels in ways if pixels.shape == shape]
    if not fitting:
        height, width = ways[0].shape
        raise ImageError(
            f"The mask has {width} × {height} pixels and the scan {shape[1]} × {shape[0]}. "
            "Give the mask that belongs to this scan, at the same size."
        )
    if len(fitting) > 1 and not np.array_equal(fitting[0], fitting[1]):
        scans, masks = (
            f"EXIF orientation {o}" if o > 1 else "no EXIF orientation" for o in (scan_orientation, mask.orientation)
        )
        raise ImageError(
            f"The scan is stored with {scans} and the mask with {masks}, so it is not known which way up the mask was drawn. "
            "Save both upright, without an EXIF orientation, and check that the mask lies on the lesion."
        )
    return fitting[0]


def _is_of_two_levels(pixels: np.ndarray) -> bool:
    counts = np.bincount(pixels.ravel(), minlength=256)
    second, first = np.argsort(counts)[-2:]
    rest = pixels.size - counts[first]  # a small scan on a large black screen is mostly one level, too
    if counts[first] + counts[second] < _TWO_LEVELS * pixels.size or counts[second] < _OF_THE_REST * rest:
        return False
    near = abs(int(first) - int(second)) // 8
    levels = np.arange(256)
    other = (abs(levels - first) > near) & (abs(levels - second) > near)
    rows, columns = (side // _PLACE * _PLACE for side in pixels.shape)
    places = other[pixels[:rows, :columns]].reshape(rows // _PLACE, _PLACE, columns // _PLACE, _PLACE)
    return bool((places.mean(axis=(1, 3)) > _OF_A_PLACE).sum() < _PLACES)
