"""Every kind of file a clinic may hand over, and every hostile one."""

import random
import re
import struct
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import encoded, ramp
from PIL import Image, PngImagePlugin

from rcdnet.errors import ImageError
from rcdnet.scans.scan_and_mask import MAX_BYTES, read_mask, read_scan

GREY = ramp()


def png_chunks(
    width: int, height: int, depth: int, colour_type: int, rows: bytes, extra: bytes = b"", interlace: int = 0
):
    """A PNG written by hand, for the kinds that Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.fixture
def grown_mb():
    """How much this process's memory peaked above where the test began, in MB, C libraries included; Linux only."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return lambda: 0.0

    def peak_mb() -> float:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text()).group(1)) / 1024

    reset.write_text("5")  # sets the peak back to what is held now
    before = peak_mb()
    return lambda: peak_mb() - before


def test_grey_8_bit_png_is_read_exactly():
    scan = read_scan(encoded(Image.fromarray(GREY)))
    assert scan.pixels.dtype == np.uint8
    np.testing.assert_array_equal(scan.pixels, GREY)
    assert scan.warnings == ()


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_below_8_bit_spans_black_to_white(bits):
    per_byte = 8 // bits
    levels = 2**bits
    samples = (np.arange(80 * 80).reshape(80, 80) // 7) % levels
    packed = np.zeros((80, 80 // per_byte), np.uint8)
    for position in range(per_byte):
        packed |= (samples[:, position::per_byte] << (8 - bits * (position + 1))).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    scan = read_scan(png_chunks(80, 80, bits, 0, rows))
    np.testing.assert_array_equal(scan.pixels, samples * 255 // (levels - 1))


def test_16_bit_png_is_scaled_not_clipped():
    """Pillow's convert("L") turned 99.6 % of a 16-bit scan white."""
    wide = GREY.astype(np.uint16) * 257
    scan = read_scan(encoded(Image.fromarray(wide)))
    np.testing.assert_array_equal(scan.pixels, GREY)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_a_16_bit_file_that_uses_fewer_bits_is_rescaled_and_says_so(bits, format_name):
    """A black picture, and a call on it; of 0 to 255 it was said that they are one flat colour."""
    top = 2**bits - 1
    few = (GREY.astype(np.uint32) * top // 255).astype(np.uint16)
    scan = read_scan(encoded(Image.fromarray(few), format_name))
    np.testing.assert_array_equal(scan.pixels, (few.astype(np.uint32) * 255 + top // 2) // top)
    (warning,) = scan.warnings
    assert f"read as {bits}-bit ones, with {top} as white" in warning


def test_12_bit_samples_that_cannot_be_rescaled_are_refused():
    """In a colour PNG, of which Pillow keeps the upper half of each sample."""
    dark = GREY.astype(np.uint16) * 16
    colour = {0: b"".join(b"\0" + row.tobytes() for row in np.repeat(dark.astype(">u2")[..., None], 3, axis=2))}
    colour[8] = b"".join(b"\0" + row.tobytes() for row in np.repeat((dark // 16).astype(">u2")[..., None], 3, axis=2))
    for data in (
        png_chunks(120, 100, 16, 2, colour[0]),
        png_chunks(120, 100, 16, 2, colour[8]),
    ):
        with pytest.raises(ImageError, match="nearly black, as when 12-bit samples"):
            read_scan(data)


def test_a_dark_8_bit_scan_is_read_with_a_warning():
    (warning,) = read_scan(encoded(Image.fromarray(GREY // 12))).warnings
    assert "nearly black" in warning


def test_16_bit_grey_with_a_transparent_level():
    wide = GREY.astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    data = png_chunks(120, 100, 16, 0, rows, extra=chunk(b"tRNS", struct.pack(">H", int(wide.max()))))
    expected = np.where(GREY.max() == GREY, 0, GREY)
    np.testing.assert_array_equal(read_scan(data).pixels, expected)


def test_16_bit_rgb_png():
    wide = np.repeat((GREY.astype(">u2") * 257)[..., None], 3, axis=2)
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    np.testing.assert_array_equal(read_scan(png_chunks(120, 100, 16, 2, rows)).pixels, GREY)


def test_palette_png_and_palette_with_transparency():
    palette = Image.fromarray(GREY).convert("P")
    np.testing.assert_array_equal(read_scan(encoded(palette)).pixels, GREY)
    darkened = read_scan(encoded(palette, transparency=int(GREY.max()))).pixels
    np.testing.assert_array_equal(darkened, np.where(GREY.max() == GREY, 0, GREY))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colour_modes_holding_grey(mode):
    scan = read_scan(encoded(Image.fromarray(GREY).convert(mode)))
    np.testing.assert_array_equal(scan.pixels, GREY)
    assert scan.warnings == ()


def test_transparent_parts_become_black():
    rgba = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)])
    rgba[:40, :, 3] = 0
    scan = read_scan(encoded(Image.fromarray(rgba)))
    assert scan.pixels[:40].max() == 0
    np.testing.assert_array_equal(scan.pixels[40:], GREY[40:])


def test_interlaced_png():
    rows = b""
    for y0, x0, dy, dx in (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ):
        rows += b"".join(b"\0" + row.tobytes() for row in GREY[y0::dy, x0::dx])
    np.testing.assert_array_equal(read_scan(png_chunks(120, 100, 8, 0, rows, interlace=1)).pixels, GREY)


@pytest.mark.parametrize(("format_name", "tolerance"), [("BMP", 0), ("TIFF", 0), ("JPEG", 6)])
def test_other_formats(format_name, tolerance):
    scan = read_scan(encoded(Image.fromarray(GREY), format_name))
    assert np.abs(scan.pixels.astype(int) - GREY).max() <= tolerance


def test_16_bit_tiff():
    np.testing.assert_array_equal(
        read_scan(encoded(Image.fromarray(GREY.astype(np.uint16) * 257), "TIFF")).pixels, GREY
    )


def test_16_bit_tiff_in_which_white_is_zero():
    wide = 65535 - GREY.astype(np.uint16) * 257
    data = encoded(Image.fromarray(wide), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_scan(data).pixels, GREY)


def test_colour_overlay_is_accepted_with_a_warning():
    rgb = np.repeat(GREY[..., None], 3, axis=2)
    rgb[40:60, 40:70] = (220, 30, 20)
    (warning,) = read_scan(encoded(Image.fromarray(rgb))).warnings
    assert "Doppler" in warning


def test_metadata_is_dropped_and_orientation_applied():
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", "DOE^JANE")
    scan = read_scan(encoded(Image.fromarray(GREY), pnginfo=info))
    assert set(vars(scan)) == {"pixels", "sha256", "warnings", "orientation"}
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored top is the right side
    turned = read_scan(encoded(Image.fromarray(GREY), "JPEG", exif=exif, quality=100)).pixels
    assert turned.shape == (120, 100)
    assert np.abs(turned.astype(int) - np.rot90(GREY, -1)).max() <= 6


def apng() -> bytes:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    return encoded(frames[0], save_all=True, append_images=frames[1:])


def multi_page_tiff() -> bytes:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    return encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])


def bomb() -> bytes:
    """A few kilobytes that claim to be 30,000 pixels square."""
    return png_chunks(30_000, 30_000, 1, 0, b"\0" * 4000)


REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"not an image at all", "not an image"),
    "script": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "not an image"),
    "dicom": (b"\0" * 128 + b"DICM" + b"\0" * 100, "DICOM"),
    "gif": (encoded(Image.fromarray(GREY), "GIF"), "This is a GIF file"),
    "truncated png": (encoded(Image.fromarray(GREY))[:-200], "damaged or incomplete"),
    "truncated jpeg": (encoded(Image.fromarray(GREY), "JPEG")[:-400], "damaged or incomplete"),
    "truncated tiff": (encoded(Image.fromarray(GREY), "TIFF")[:-400], "damaged or incomplete"),
    "truncated bmp": (encoded(Image.fromarray(GREY), "BMP")[:-400], "damaged or incomplete"),
    "png header only": (encoded(Image.fromarray(GREY))[:20], "damaged or incomplete"),
    "animated png": (apng(), "several frames"),
    "multi-page tiff": (multi_page_tiff(), "several frames"),
    "too wide": (encoded(Image.fromarray(np.tile(GREY, (1, 35))[:, :4097])), "4097 × 100"),
    "too small": (encoded(Image.fromarray(GREY[:63])), "120 × 63"),
    "flat": (encoded(Image.fromarray(np.full((100, 100), 77, np.uint8))), "one flat colour"),
    "flat colour": (encoded(Image.new("RGB", (100, 100), (200, 30, 30))), "one flat colour"),
    "float tiff": (encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "floating-point samples from 0 to 255"),
    "bomb": (bomb(), "30000 × 30000 pixels; at most 4096"),
    "too many bytes": (encoded(Image.fromarray(GREY)) + b"\0" * MAX_BYTES, "larger than the limit of 20 MB"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_its_own_sentence(kind, grown_mb):
    data, words = REFUSED[kind]
    with pytest.raises(ImageError, match=words):
        read_scan(data)
    assert grown_mb() < 50


def test_a_photo_with_a_preview_behind_it_is_read():
    """Phones write them as .jpg; they were refused as clips."""
    buffer = BytesIO()
    first, preview = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(buffer, "MPO", save_all=True, append_images=[preview], quality=95)
    assert abs(read_scan(buffer.getvalue()).pixels.astype(int) - GREY).max() < 8


def test_largest_accepted_sides(grown_mb):
    tall = np.resize(GREY, (4096, 64))
    assert read_scan(encoded(Image.fromarray(tall))).pixels.shape == (4096, 64)
    data = encoded(Image.fromarray(np.kron(GREY[:64, :64], np.ones((64, 64), np.uint8))).convert("RGBA"))
    assert read_scan(data).pixels.shape == (4096, 4096)
    assert grown_mb() < 600


def test_a_tiff_of_very_many_frames_is_refused_at_once():
    """Counting the frames of a 20 MB TIFF took minutes."""
    frames = 60_000
    entries = b"".join(
        struct.pack("<HHII", tag, 3, 1, value)
        for tag, value in ((256, 64), (257, 64), (258, 8), (259, 1), (262, 1), (273, 8), (278, 64), (279, 4096))
    )
    size = 2 + len(entries) + 4
    first = 8 + 4096
    body = b"".join(
        struct.pack("<H", 8) + entries + struct.pack("<I", first + size * (k + 1) if k + 1 < frames else 0)
        for k in range(frames)
    )
    with pytest.raises(ImageError, match="several frames"):
        read_scan(b"II*\0" + struct.pack("<I", first) + bytes(4096) + body)


def outcomes(valid: list[bytes], count: int, seed: int) -> dict[str, int]:
    """How many of `count` files with random byte flips, cuts and insertions are read and refused; nothing else may happen."""
    rng = random.Random(seed)
    counts = {"read": 0, "refused": 0}
    for _ in range(count):
        data = bytearray(rng.choice(valid))
        for _ in range(rng.randint(1, 8)):
            position = rng.randrange(len(data))
            match rng.randrange(4):
                case 0 | 1:
                    data[position] ^= 1 << rng.randrange(8)
                case 2:
                    data[position : position + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(40))
                case 3 if rng.random() < 0.2:
                    del data[position:]
                    data += b"\0"
        try:
            assert read_scan(bytes(data)).pixels.dtype == np.uint8
            counts["read"] += 1
        except ImageError:
            counts["refused"] += 1
        with suppress(ImageError):
            assert read_mask(bytes(data), (100, 120)).dtype == bool
    return counts


VALID_PNG = [
    encoded(Image.fromarray(GREY)),
    encoded(Image.fromarray(GREY.astype(np.uint16) * 257)),
    encoded(Image.fromarray(GREY).convert("P"), transparency=3),
    encoded(Image.fromarray(GREY).convert("RGBA")),
    apng(),
]


def test_2000_damaged_pngs_give_a_scan_or_an_image_error(grown_mb):
    counts = outcomes(VALID_PNG, 2000, seed=0)
    assert grown_mb() < 100
    assert counts["refused"] > 1000


def tiffs() -> list[bytes]:
    """Strips, tiles, planes, predictors, shared bytes, palette and JPEG."""
    grey, deep = GREY, GREY.astype(np.uint16) * 257
    colours = {"photometric": "rgb", "planarconfig": "separate"}
    written = (
        (grey, {}),
        (deep, {"tile": (32, 48), "compression": "lzw", "predictor": "horizontal"}),
        (np.stack([deep] * 3), {"byteorder": ">", "compression": "zlib", "rowsperstrip": 9, **colours}),
        ((grey / 255).astype(np.float32), {"compression": "zlib", "predictor": "floatingpoint"}),
        (deep >> 4, {"bitspersample": 12}),
        (grey, {"compression": "packbits", "bigtiff": True}),
        (np.dstack([grey] * 3), {"photometric": "rgb", "compression": "jpeg", "tile": (32, 48)}),
        (grey, {"photometric": "palette", "colormap": np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))}),
    )
    files = []
    for pixels, options in written:
        file = BytesIO()
        tifffile.imwrite(file, pixels, metadata=None, **options)
        files.append(file.getvalue())
    return [*files, encoded(Image.fromarray(GREY > 99), "TIFF", compression="group4"), multi_page_tiff()]


def test_2000_damaged_files_of_other_formats_give_a_scan_or_an_image_error(grown_mb):
    image = Image.fromarray(GREY)
    jpegs = [encoded(image, "JPEG"), encoded(image.convert("RGB"), "JPEG", progressive=True)]
    bmps = [encoded(image, "BMP"), encoded(image.convert("RGBA"), "BMP")]
    counts = outcomes([*tiffs(), *jpegs, *bmps], 2000, seed=1)
    assert grown_mb() < 200
    assert min(counts.values()) > 300


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("bits", [12, 15])
def test_white_words_on_samples_of_fewer_bits_do_not_hide_that_they_are_few(phantom, bits, share):
    """The largest sample is that of the words, so the picture behind them was black, and got a call."""
    deep = (phantom.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
    deep[: max(1, round(share * len(deep)))] = 65535
    scan = read_scan(encoded(Image.fromarray(deep)))
    below = slice(round(share * len(deep)) + 1, None)
    assert np.abs(scan.pixels[below].astype(int) - phantom[below]).max() <= 1
    assert f"{bits}-bit" in scan.warnings[0]


def test_grey_words_on_samples_of_fewer_bits_are_refused(phantom):
    deep = phantom.astype(np.uint16) << 4
    deep[:10, ::2], deep[:10, 1::2] = 65535, 40000
    with pytest.raises(ImageError, match="nearly black"):
        read_scan(encoded(Image.fromarray(deep)))


def test_a_bmp_of_rare_colours_is_named(phantom):
    height, width = phantom.shape
    words = phantom.astype("<u4") << 22 | phantom.astype("<u4") << 12 | phantom.astype("<u4") << 2
    body = words[::-1].tobytes()
    masks = struct.pack("<4I", 0x3FF00000, 0xFFC00, 0x3FF, 0)
    head = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(body), 2835, 2835, 0, 0) + masks
    head = head.ljust(108, b"\0")
    with pytest.raises(ImageError, match="rare bit depth or colour order"):
        read_scan(b"BM" + struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body)
