"""What a file is and which of its parts are pixels, found by walking its structure before any decoder.

A decoder walks every part of a file, needed or not, and some parts cost it far more than their bytes. So it gets a file that
holds nothing but pixels; what else the upload holds is counted against a bound and dropped unread. The walks take time in
proportion to the file. What is damaged raises `ValueError` or `struct.error`; what is whole and not read, `ImageError`.
"""

import re
import struct
import zlib
from dataclasses import dataclass, field

from rcdnet.errors import ImageError
from rcdnet.scans.tiff_structure import SEVERAL_FRAMES, orientation_in_xmp, orientation_of

MAX_PARTS = 1000  # chunks or segments beside the pixels; an ICC profile or XMP in a JPEG takes one for each 64 KB
MAX_PIECES = 20_000  # that the pixels of a PNG come in; most writers make them of 8 KB or more
MAX_SCANS = 40  # of a JPEG, each a pass over the whole picture; programs that make them small write up to 20
MAX_SCANNED_PX = 20 * 4096**2  # in all passes together; the slowest kind takes some 0.1 s for 4096 pixels a side
MAX_RLE_BYTES = 8 * 1024**2  # of a run-length coded BMP, which is decoded byte by byte
_TEXT_BYTES = 4 * 1024**2  # looked through for an orientation

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_KINDS = {
    0xC3: "a lossless JPEG",
    0xC9: "an arithmetic-coded JPEG",
    0xCA: "an arithmetic-coded JPEG",
    0xF7: "a JPEG-LS",
}
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # ends the coded pixels, in which 0 follows each 255
_FILLER = re.compile(rb"\xff+")
_NOT_READ = (
    (0, rb"GIF8", "a GIF"),
    (0, rb"RIFF....WEBP", "a WebP"),
    (0, rb"RIFF....AVI ", "an AVI video"),
    (0, rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000"),
    (0, rb"\x00\x00\x00\x0cJXL |\xff\x0a", "a JPEG XL"),
    (0, rb"(?:II|MM)\xbc", "a JPEG XR"),
    (4, rb"ftyp(?:heic|heix|hevc|heim|heis|mif1|msf1)", "a HEIC"),
    (4, rb"ftypavi[fs]", "an AVIF"),
    (4, rb"ftyp", "a video"),
    (0, rb"%PDF", "a PDF"),
    (0, rb"PK\x03\x04", "a ZIP"),
    (0, rb"\x1f\x8b", "a gzip"),
    (0, rb"8BPS", "a Photoshop"),
    (128, rb"DICM", "a DICOM"),
)


@dataclass(frozen=True)
class ImageStream:
    """One picture, ready for its decoder.

    size: width and height as stored. orientation: EXIF's, 1 to 8. data: a file of `format` that holds the pixels and nothing else.
    upper_half: whether the decoder keeps only the upper 8 of 16 bits.
    """

    format: str
    size: tuple[int, int]
    orientation: int
    data: bytes = field(repr=False)
    upper_half: bool = False


def parse_image_file(data: bytes) -> ImageStream:
    """What a PNG, JPEG or BMP file holds.

    Raises:
        ImageError: another kind of file; a kind of these that is not read; several frames; more parts than are walked.
    """
    if data.startswith(_PNG):
        return _walk_png(data)
    if data.startswith(_JPEG):
        return _walk_jpeg(data)
    if data.startswith(b"BM"):
        return _walk_bmp(data)
    for at, signature, name in _NOT_READ:
        if re.compile(signature, re.S).match(data, at):
            raise _not_read(f"{name} file")
    if data.startswith(b"\x89PNG"):
        raise ValueError("the signature is broken")
    raise ImageError("This is not an image that can be read. Upload a PNG, JPEG, BMP or TIFF file.")


def _not_read(kind: str) -> ImageError:
    return ImageError(f"This is {kind}, which is not supported. Export the scan as an 8-bit PNG and upload that.")


def _too_many(what: str, most: int) -> ImageError:
    return ImageError(f"The file holds more than {most:,} {what}. Export the scan again as an 8-bit PNG.")


def _walk_png(data: bytes) -> ImageStream:
    needed: list[bytes] = []
    pixels: list[memoryview] = []
    exif, xmp = b"", b""
    kinds: set[bytes] = set()
    parts, at, view = 0, len(_PNG), memoryview(data)
    while b"IEND" not in kinds:
        length, kind = struct.unpack_from(">I4s", data, at)
        body = view[at + 8 : at + 8 + length]
        (crc,) = struct.unpack_from(">I", data, at + 8 + length)
        if crc != zlib.crc32(body, zlib.crc32(kind)) or (not kinds) != (kind in (b"IHDR", b"CgBI")):
            raise ValueError(f"chunk {kind!r} at {at}")
        if kind == b"CgBI":
            raise _not_read("a PNG in Apple's own format")
        kinds.add(kind)
        if kind == b"IDAT":
            pixels.append(body)
        else:
            parts += 1
        if parts > MAX_PARTS:
            raise _too_many("parts other than pixels", MAX_PARTS)
        if len(pixels) > MAX_PIECES:
            raise _too_many("pieces of pixels", MAX_PIECES)
        if kind in (b"IHDR", b"PLTE", b"tRNS"):
            needed.append(_chunk(kind, body))
        elif kind == b"eXIf":
            exif = exif or bytes(body)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = bytes(body[:80]).split(b"\0")[0]
            if keyword == b"XML:com.adobe.xmp" and not xmp:
                xmp = _text(kind, bytes(body))
            elif keyword == b"Raw profile type exif" and not exif:
                exif = _profile(_text(kind, bytes(body)))
        at += length + 12
    if {b"acTL", b"fdAT"} <= kinds:
        raise ImageError(SEVERAL_FRAMES)
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    whole = b"".join([_PNG, *needed, _chunk(b"IDAT", b"".join(pixels)), _chunk(b"IEND", b"")])
    turn = orientation_of(exif.removeprefix(b"Exif\0\0"))
    return ImageStream(
        "PNG", (width, height), turn if turn > 1 else orientation_in_xmp(xmp), whole, depth == 16 and colour != 0
    )


def _chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    return b"".join((struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))))


def _text(kind: bytes, body: bytes) -> bytes:
    """The text of a chunk behind its keyword; of a compressed one no more than is looked through."""
    text = body.partition(b"\0")[2]
    packed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"iTXt":
        text = text[2:].split(b"\0", 2)[-1]  # language, translated keyword
    elif kind == b"zTXt":
        text = text[1:]
    if not packed:
        return text[:_TEXT_BYTES]
    try:
        return zlib.decompressobj().decompress(text, _TEXT_BYTES)
    except zlib.error:
        return b""


def _profile(text: bytes) -> bytes:
    """The bytes that ImageMagick writes in hexadecimal below a name and a length."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _walk_jpeg(data: bytes) -> ImageStream:
    kept: list[bytes | memoryview] = [b"\xff\xd8"]
    exif, xmp, size = b"", b"", (0, 0)
    parts = scans = 0
    at, view = 2, memoryview(data)
    while True:
        if data[at] != 0xFF:
            raise ValueError(f"no marker at {at}")
        marker = data[at + 1]
        if marker == 0xD9:
            break
        if marker == 0xFF:
            at = _FILLER.match(data, at).end() - 1  # type: ignore[union-attr]
            continue
        parts += 1
        if parts > MAX_PARTS:
            raise _too_many("parts other than pixels", MAX_PARTS)
        if marker in (0x00, 0x01, *range(0xD0, 0xD9)):  # nothing follows these
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if length < 2 or end > len(data):
            raise ValueError(f"segment {marker:x} at {at}")
        if marker in _SOF or marker == 0xF7:
            if size != (0, 0):
                raise ValueError("two headers")
            size = _jpeg_size(marker, data[at + 4 : end])
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", at + 4):
            exif = exif or data[at + 10 : end]
        elif marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0", at + 4):
            xmp = xmp or data[at + 33 : end]
        if marker == 0xDA:
            scans += 1
            if scans > MAX_SCANS or scans * size[0] * size[1] > MAX_SCANNED_PX:
                raise _too_many("passes over its pixels", scans - 1)
            following = _MARKER.search(data, end)
            if following is None:
                raise ValueError("no end")
            end = following.start()
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or data.startswith(b"Adobe", at + 4):
            kept.append(view[at:end])  # JFIF and Adobe say what the channels are
        at = end
    if not scans or not all(size):
        raise ValueError("no pixels")
    kept.append(b"\xff\xd9")  # behind it a phone's photo has its preview
    turn = orientation_of(exif)
    return ImageStream("JPEG", size, turn if turn > 1 else orientation_in_xmp(xmp), b"".join(kept))


def _jpeg_size(marker: int, header: bytes) -> tuple[int, int]:
    precision, height, width, channels = struct.unpack_from(">BHHB", header)
    if marker not in (0xC0, 0xC1, 0xC2):
        raise _not_read(_JPEG_KINDS.get(marker, "a rare kind of JPEG") + " file")
    if precision != 8:
        raise _not_read(f"a JPEG of {precision}-bit samples")
    if channels not in (1, 3, 4):
        raise _not_read(f"a JPEG of {channels} channels")
    return width, height


def _walk_bmp(data: bytes) -> ImageStream:
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    (packing,) = struct.unpack_from("<I", data, 30) if header >= 40 else (0,)
    if width <= 0 or not height:
        raise ValueError("no pixels")
    if packing in (4, 5):
        raise _not_read("a BMP that holds a " + {4: "JPEG", 5: "PNG"}[packing])
    if packing in (1, 2) and len(data) > MAX_RLE_BYTES:
        raise ImageError(
            f"A run-length coded BMP is read up to {MAX_RLE_BYTES // 1024**2} MB. Export the scan as an 8-bit PNG."
        )
    return ImageStream("BMP", (width, abs(height)), 1, data)
