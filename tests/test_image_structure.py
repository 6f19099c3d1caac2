"""A file is walked before any decoder: what costs minutes is refused, what a decoder stumbles over is left out, the rest is named."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import encoded, ramp
from PIL import Image, PngImagePlugin
from test_scan_and_mask import chunk, png_chunks

from rcdnet.errors import ImageError
from rcdnet.scans import decoding
from rcdnet.scans.image_structure import (
    MAX_PARTS,
    MAX_PIECES,
    MAX_RLE_BYTES,
    MAX_SCANNED_PX,
    MAX_SCANS,
    parse_image_file,
)
from rcdnet.scans.scan_and_mask import MAX_BYTES, read_scan

GREY = ramp()
PNG = encoded(Image.fromarray(GREY))
JPEG = encoded(Image.fromarray(GREY), "JPEG")


def behind_header(*chunks: bytes) -> bytes:
    """A PNG with more chunks behind its header."""
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def behind_start(*segments: bytes) -> bytes:
    """A JPEG with more segments behind its start."""
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def parts_of(data: bytes) -> int:
    """Segments of a JPEG up to its pixels and with their scan; of the encoder's own making."""
    at, count = 2, 0
    while True:
        count += 1
        if data[at + 1] == 0xDA:
            return count
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def of_passes(count: int, side: int = 64) -> bytes:
    """A progressive JPEG that passes over its pixels `count` times; by its header, `side` pixels a side."""
    data = encoded(Image.fromarray(np.resize(GREY, (64, 64))), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    data = data[:-2] + last * (count - data.count(b"\xff\xda")) + data[-2:]
    return data.replace(struct.pack(">HH", 64, 64), struct.pack(">HH", side, side), 1)


def run_length_bmp(size: int) -> bytes:
    """A BMP of 100 × 64 pixels in runs, and zeros behind it up to `size` bytes."""
    palette = b"".join(bytes((i, i, i, 0)) for i in range(256))
    rows = b"".join(bytes(v for x in range(100) for v in (1, 2 * x)) + b"\0\0" for _ in range(64)) + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, 100, 64, 1, 8, 1, len(rows), 2835, 2835, 256, 0) + palette
    data = b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows
    return data.ljust(size, b"\0")


TEXT, NO_PIXELS, COMMENT = chunk(b"tEXt", b"a\0b"), chunk(b"IDAT", b""), segment(0xFE, b"a comment")
# What is accepted at its bound, and refused one above it.
BOUNDS = {
    "chunks": (lambda over: behind_header(*[TEXT] * (MAX_PARTS - 2 + over)), "more than 1,000 parts other than pixels"),
    "compressed text": (
        lambda over: behind_header(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000)))] * (MAX_PARTS - 2 + over)),
        "more than 1,000 parts other than pixels",
    ),
    "pieces of pixels": (
        lambda over: behind_header(*[NO_PIXELS] * (MAX_PIECES - PNG.count(b"IDAT") + over)),
        "more than 20,000 pieces of pixels",
    ),
    "segments": (
        lambda over: behind_start(*[COMMENT] * (MAX_PARTS - parts_of(JPEG) + over)),
        "more than 1,000 parts other than pixels",
    ),
    "tables": (
        lambda over: behind_start(*[segment(0xDD, b"\0\0")] * (MAX_PARTS - parts_of(JPEG) + over)),
        "more than 1,000 parts other than pixels",
    ),
    "passes": (lambda over: of_passes(MAX_SCANS + over), "more than 40 passes over its pixels"),
    "runs": (lambda over: run_length_bmp(MAX_RLE_BYTES + over), "run-length coded BMP is read up to 8 MB"),
}


@pytest.mark.parametrize("kind", BOUNDS)
def test_what_costs_time_has_a_bound(kind):
    """Within the limits of size, files of very many small parts kept a session busy for minutes."""
    build, sentence = BOUNDS[kind]
    assert read_scan(build(0)).pixels.max() > 150
    with pytest.raises(ImageError, match=sentence):
        read_scan(build(1))


def test_large_pictures_have_fewer_passes():
    most = MAX_SCANNED_PX // 4096**2
    assert parse_image_file(of_passes(most, 4096)).size == (4096, 4096)
    with pytest.raises(ImageError, match=f"more than {most} passes over its pixels"):
        parse_image_file(of_passes(most + 1, 4096))


@pytest.mark.parametrize(
    "part", [TEXT, NO_PIXELS, chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(bytes(3_000_000)))]
)
def test_a_png_full_of_parts_never_reaches_a_decoder(part, monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match="more than"):
        read_scan(behind_header(part * ((MAX_BYTES - len(PNG)) // len(part))))


@pytest.mark.parametrize("part", [COMMENT, segment(0xE1, b"Exif\0\0"), segment(0xDB, b""), b"\xff\xd0", b"\xff\x00"])
def test_a_jpeg_full_of_parts_never_reaches_a_decoder(part, monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match="more than 1,000 parts"):
        read_scan(behind_start(part * ((MAX_BYTES - len(JPEG)) // len(part))))


def test_fillers_before_a_marker_are_no_parts():
    np.testing.assert_array_equal(read_scan(behind_start(b"\xff" * 1_000_000)).pixels, read_scan(JPEG).pixels)


@pytest.mark.parametrize("data", [PNG, JPEG, encoded(Image.fromarray(GREY), "BMP")], ids=["PNG", "JPEG", "BMP"])
def test_each_file_is_opened_once(data, monkeypatch):
    opened = []
    monkeypatch.setattr(decoding.Image, "open", lambda *a, _open=Image.open, **k: opened.append(1) or _open(*a, **k))
    read_scan(data)
    assert len(opened) == 1


def test_a_decoder_sees_pixels_alone():
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", "DOE^JANE")
    noted = encoded(Image.fromarray(GREY), pnginfo=info, dpi=(72, 72))
    commented = behind_start(segment(0xFE, b"DOE^JANE"), segment(0xE1, b"Exif\0\0DOE^JANE"), segment(0xED, b"DOE^JANE"))
    for data, plain in ((noted, PNG), (commented + b"DOE^JANE", JPEG)):
        assert b"DOE^JANE" in data
        assert b"DOE^JANE" not in parse_image_file(data).data
        np.testing.assert_array_equal(read_scan(data).pixels, read_scan(plain).pixels)


def test_without_its_other_parts_a_file_decodes_to_the_same():
    rgb = Image.fromarray(np.dstack([GREY, 255 - GREY, GREY // 2]))
    files = [
        encoded(rgb.convert(mode), "JPEG", progressive=progressive, **options)
        for mode in ("L", "RGB", "CMYK", "YCbCr")
        for progressive in (False, True)
        for options in (
            {"subsampling": 2},
            {"restart_marker_blocks": 3},
            {"icc_profile": bytes(100_000)},
            {"dpi": (9, 9)},
        )
    ]
    files += [encoded(rgb, "JPEG", keep_rgb=True, subsampling=0), encoded(rgb.quantize(16), transparency=3)]
    files += [
        encoded(rgb.convert(mode), icc_profile=bytes(999), dpi=(9, 9)) for mode in ("1", "L", "LA", "RGB", "RGBA")
    ]
    for data in files:
        whole, needed = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(parse_image_file(data).data))
        assert (needed.mode, needed.size) == (whole.mode, whole.size) == (whole.mode, parse_image_file(data).size)
        assert needed.tobytes() == whole.tobytes()
        assert needed.info.get("transparency") == whole.info.get("transparency")


def noise(size: int) -> bytes:
    return np.random.default_rng(0).integers(0, 256, size).astype(np.uint8).tobytes()


def exif_block(orientation: int) -> bytes:
    return b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 274, 3, 1, orientation, 0, 0)


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
LARGE = {
    "ICC profile of 1.3 MB": chunk(b"iCCP", b"p\0\0" + zlib.compress(noise(1_300_000))),
    "text of 2 MB": chunk(b"tEXt", b"Comment\0" + b"a" * 2_000_000),
    "compressed text of 5 MB": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5_000_000))),
    "international text of 3 MB": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(noise(3_000_000))),
    "a chunk of its own": chunk(b"vpAg", noise(100_000)),
    "an ICC profile that is none": chunk(b"iCCP", b"p\0\0not compressed"),
}


@pytest.mark.parametrize("kind", LARGE)
def test_what_is_beside_the_pixels_of_a_png_does_not_matter(kind):
    """It was called damaged or incomplete."""
    np.testing.assert_array_equal(read_scan(behind_header(LARGE[kind])).pixels, GREY)


def test_damage_beside_the_pixels_is_damage_still():
    broken = bytearray(behind_header(LARGE["text of 2 MB"]))
    broken[60] ^= 1
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_scan(bytes(broken))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_an_orientation_is_found_wherever_it_is_noted(orientation):
    """EXIF first, as Pillow does; then XMP, where programs that write no EXIF note it."""
    exif, xmp = exif_block(orientation), XMP % orientation
    hexed = b"\nexif\n%8d\n" % (len(exif) + 6) + (b"Exif\0\0" + exif).hex().encode() + b"\n"
    noted = {
        "eXIf": behind_header(chunk(b"eXIf", exif)),
        "ImageMagick's": behind_header(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(hexed))),
        "XMP": behind_header(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
        "packed XMP": behind_header(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp))),
        "JPEG": behind_start(segment(0xE1, b"Exif\0\0" + exif)),
        "JPEG's XMP": behind_start(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)),
        "TIFF's XMP": encoded(Image.fromarray(GREY), "TIFF", tiffinfo={700: xmp}),
        "after the pixels": PNG[:-12] + chunk(b"eXIf", exif) + PNG[-12:],
    }
    for name, data in noted.items():
        image = Image.open(io.BytesIO(data))
        image.load()
        scan = read_scan(data)
        assert scan.orientation == orientation, name
        assert scan.pixels.shape == (GREY.T.shape if orientation >= 5 else GREY.shape), name
        if name != "TIFF's XMP":  # Pillow keeps that to itself until it is asked for EXIF
            assert image.getexif().get(274, 1) == orientation, name


def bmp(alpha: np.ndarray | None, header_size: int = 124) -> bytes:
    """A BMP of 32 bits a pixel with masks for its channels, the fourth for transparency."""
    body = np.dstack([GREY, GREY, GREY, np.zeros_like(GREY) if alpha is None else alpha])[::-1].tobytes()
    height, width = GREY.shape
    header = struct.pack("<IiiHHIIiiII", header_size, width, height, 1, 32, 3, len(body), 2835, 2835, 0, 0)
    header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs"
    header = header.ljust(header_size, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + header_size + len(body), 0, 0, 14 + header_size) + header + body


@pytest.mark.parametrize("header_size", [108, 124])
def test_a_bmp_whose_fourth_byte_is_unused_is_not_transparent(header_size):
    """It was called one flat colour."""
    np.testing.assert_array_equal(read_scan(bmp(None, header_size)).pixels, GREY)
    half = np.full_like(GREY, 255)
    half[:40] = 0
    np.testing.assert_array_equal(read_scan(bmp(half, header_size)).pixels, np.where(half, GREY, 0))


def test_a_picture_that_is_all_transparent_is_said_to_be_that():
    rgba = np.dstack([GREY, GREY, GREY, np.zeros_like(GREY)])
    deep = io.BytesIO()
    tifffile.imwrite(deep, rgba.astype(np.uint16) * 257, photometric="rgb", metadata=None)
    for data in (encoded(Image.fromarray(rgba)), encoded(Image.fromarray(rgba[..., 2:])), deep.getvalue()):
        with pytest.raises(ImageError, match="Every pixel of the image is transparent"):
            read_scan(data)


DEEP = GREY.astype(np.uint16) * 16
NAMED = {
    "12-bit JPEG": (imagecodecs.jpeg_encode(DEEP, bitspersample=12), "a JPEG of 12-bit samples"),
    "JPEG-LS": (imagecodecs.jpegls_encode(GREY), "a JPEG-LS file"),
    "lossless JPEG": (imagecodecs.ljpeg_encode(DEEP, bitspersample=12), "a lossless JPEG file"),
    "JPEG 2000": (imagecodecs.jpeg2k_encode(GREY), "a JPEG 2000 file"),
    "JPEG 2000 stream": (imagecodecs.jpeg2k_encode(GREY, codecformat="j2k"), "a JPEG 2000 file"),
    "JPEG XL": (imagecodecs.jpegxl_encode(GREY), "a JPEG XL file"),
    "WebP": (encoded(Image.fromarray(GREY), "WEBP"), "a WebP file"),
    "AVIF": (imagecodecs.avif_encode(np.dstack([GREY] * 3)), "an AVIF file"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500), "a HEIC file"),
    "video": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(500), "a video file"),
    "PDF": (b"%PDF-1.7\n" + bytes(500), "a PDF file"),
    "Apple's PNG": (PNG[:8] + chunk(b"CgBI", b"\x50\0\x20\x02") + PNG[8:], "a PNG in Apple's own format"),
    "JPEG in a BMP": (
        b"BM" + bytes(12) + struct.pack("<IiiHHII", 40, 100, 100, 1, 0, 4, 9) + bytes(99),
        "a BMP that holds a JPEG",
    ),
    "JPEG of 2 channels": (JPEG.replace(b"\x08\0\x64\0\x78\x01", b"\x08\0\x64\0\x78\x02", 1), "a JPEG of 2 channels"),
    "DICOM": (bytes(128) + b"DICM" + bytes(100), "a DICOM file"),
    "ZIP": (b"PK\x03\x04" + bytes(100), "a ZIP file"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_kind_that_is_not_read_is_named(kind):
    """They were called damaged, so that exporting again could not help."""
    data, words = NAMED[kind]
    with pytest.raises(ImageError, match=f"This is {words}.*, which is not supported. Export the scan as an 8-bit PNG"):
        read_scan(data)


def test_an_animation_of_one_frame_is_a_picture():
    one = behind_header(chunk(b"acTL", struct.pack(">II", 1, 0)))
    np.testing.assert_array_equal(read_scan(one).pixels, GREY)


def test_pixels_in_many_pieces_are_read():
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)
    packed = zlib.compress(rows)
    whole = png_chunks(120, 100, 8, 0, rows)
    pieces = b"".join(chunk(b"IDAT", packed[k : k + 7]) for k in range(0, len(packed), 7))
    np.testing.assert_array_equal(read_scan(whole[:33] + pieces + whole[-12:]).pixels, GREY)
