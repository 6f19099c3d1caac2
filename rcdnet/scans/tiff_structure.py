"""The structure of a TIFF file, walked before any decoder: its directories, and the one that is the picture.

TIFF 6.0 and BigTIFF. Every number of parts has a bound, and a value is read only when it is asked for, so a file costs no
more than its parts are many. What is damaged raises `ValueError`; what is whole and not one picture, `ImageError`.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from rcdnet.errors import ImageError

MAX_ENTRIES = 1000  # of a directory; cameras' and scanners' have some dozens
MAX_PAGES = 64  # looked at; a pyramid of 4096 pixels has some ten
SEVERAL_FRAMES = "The file holds several frames. Export the one frame to be read as a still image."
_SIGNATURES = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
_TYPES = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType; TIFF 6.0, section 8


@dataclass(frozen=True)
class Directory:
    """One image file directory: where the values of its tags lie in the file, in which byte order.

    entries: tag to (type, number of values, offset of the first). following: offset of the next directory, 0 after the last.
    """

    data: bytes = field(repr=False)
    order: str
    entries: dict[int, tuple[int, int, int]] = field(repr=False)
    following: int

    def values(self, tag: int, default: tuple[int, ...] = (), *, most: int = 64) -> tuple[int, ...]:
        """The whole numbers of a tag, or `default` where it is absent; `ValueError` if they are more than `most`."""
        if tag not in self.entries:
            return default
        kind, count, at = self.entries[tag]
        if kind not in _TYPES or not 1 <= count <= most:
            raise ValueError(f"tag {tag}: {count} values of type {kind}")
        return tuple(np.frombuffer(self.data, self.order + _TYPES[kind], count, at).tolist())

    def value(self, tag: int, default: int | None = None) -> int:
        """The first number of a tag; `ValueError` where it is absent and has no default."""
        found = self.values(tag, () if default is None else (default,))
        if not found:
            raise ValueError(f"tag {tag} is missing")
        return found[0]

    def text(self, tag: int, most: int) -> bytes:
        """The first `most` bytes of a tag that is text, empty where it is absent."""
        kind, count, at = self.entries.get(tag, (2, 0, 0))
        return self.data[at : at + min(count, most)] if kind in (1, 2, 7) else b""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as stored."""
        return self.value(256), self.value(257)


def is_tiff(data: bytes) -> bool:
    """Whether the file begins as TIFF or BigTIFF."""
    return data[:4] in _SIGNATURES


def directories(data: bytes) -> Iterator[Directory]:
    """The directories of a file in their order; a chain that comes back to itself ends there."""
    order, big = _SIGNATURES[data[:4]]
    (at,) = struct.unpack_from(order + "Q", data, 8) if big else struct.unpack_from(order + "I", data, 4)
    seen = set()
    while at and at not in seen:
        seen.add(at)
        directory = _directory(data, at, order, big)
        yield directory
        at = directory.following


def picture_of(data: bytes) -> Directory:
    """The directory of the one picture that a file holds; thumbnails and masks of transparency beside it are passed over.

    Raises:
        ImageError: several pictures, or thumbnails alone.
    """
    pages = []
    for page in directories(data):
        pages.append(page)
        if len(pages) > MAX_PAGES:
            raise ImageError(SEVERAL_FRAMES)
    full = [p for p in pages if not p.value(254, 0) & (_REDUCED | _MASK) and p.value(255, 1) != 2]
    if len(pages) == 1 and 330 not in pages[0].entries:  # marked as reduced, with nothing that it were the reduction of
        full = pages
    if not full:
        raise ImageError("The TIFF holds only thumbnails, like a camera's raw file. Export the picture itself as PNG.")
    width, height = max((p.size for p in full), key=prod)
    full = [p for p in full if 2 * p.size[0] > width or 2 * p.size[1] > height]
    if len(full) > 1 or _is_stack(full[0]):
        raise ImageError(SEVERAL_FRAMES)
    return full[0]


def orientation_of(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8, in a block that is built as a TIFF file; 1 where there is none or it cannot be read."""
    try:
        return next(_orientation(page) for page in directories(exif))
    except (KeyError, ValueError, StopIteration, struct.error, ImageError):
        return 1


def orientation_in_xmp(packet: bytes) -> int:
    """The same from XMP, where programs without EXIF note it."""
    found = re.search(rb'tiff:Orientation(?:="|>)([1-8])', packet)
    return int(found[1]) if found else 1


def orientation(page: Directory) -> int:
    """The orientation of a picture, 1 to 8."""
    if 274 in page.entries:
        return _orientation(page)
    return orientation_in_xmp(page.text(700, 4 * 1024**2))


def _orientation(page: Directory) -> int:
    turn = page.value(274, 1)
    return turn if 1 <= turn <= 8 else 1


def _directory(data: bytes, at: int, order: str, big: bool) -> Directory:
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, at)
    if count > MAX_ENTRIES:
        raise ImageError(f"The TIFF holds {count} tags; at most {MAX_ENTRIES} are read. Export the scan as PNG.")
    at += 8 if big else 2
    step, layout, inline = (20, "HHQ", 8) if big else (12, "HHI", 4)
    entries: dict[int, tuple[int, int, int]] = {}
    for start in range(at, at + step * count, step):
        tag, kind, number = struct.unpack_from(order + layout, data, start)
        where = start + step - inline
        if number * np.dtype(_TYPES.get(kind, "u8")).itemsize > inline:
            (where,) = struct.unpack_from(order + ("Q" if big else "I"), data, where)
        entries.setdefault(tag, (kind, number, where))
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, at + step * count)
    return Directory(data, order, entries, following)


def _is_stack(page: Directory) -> bool:
    """Whether further frames lie behind the one that has a directory, as ImageJ and tifffile write large stacks."""
    about = page.text(270, 4096)
    images = re.search(rb"^ImageJ=.*?^images=(\d+)", about, re.S | re.M)
    return (
        bool(images and int(images[1]) > 1) or b'"truncated": true' in about or page.value(32997, 1) > 1  # ImageDepth
    )
