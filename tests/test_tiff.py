"""Whatever tifffile can write is read to the pixels that were written, or refused by the name of its kind."""

import itertools
import logging
import struct
from io import BytesIO

import numpy as np
import pytest
import tifffile
from conftest import encoded, ramp
from PIL import Image

from rcdnet.errors import ImageError
from rcdnet.scans.scan_and_mask import read_mask, read_scan
from rcdnet.scans.tiff_structure import MAX_ENTRIES, MAX_PAGES, directories

GREY = ramp(80, 112)
LESION = np.zeros((80, 112), bool)
LESION[20:50, 30:80] = True
BYTE_ROWS = (None, "zlib", "lzw", "packbits")  # the compressions that know nothing of pixels
LAYOUTS = {"one strip": {}, "strips": {"rowsperstrip": 24}, "tiles": {"tile": (32, 48)}}
DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it remarks on kinds that few programs read


def as_type(shares: np.ndarray, dtype: str) -> np.ndarray:
    """Values from 0 to 1 over the whole range of a type, that of floats being 0 to 1."""
    kind = np.dtype(dtype)
    top = 1.0 if kind.kind == "f" else float(np.iinfo(kind).max)
    return np.round(shares * top).astype(kind) if kind.kind != "f" else (shares * top).astype(kind)


def written(grey: np.ndarray, dtype: str, channels: int, planar: str, layout: dict, **options) -> bytes:
    """A TIFF that shows `grey`, 0 to 1: grey, grey and alpha, colours, or colours and alpha."""
    white_is_zero = options.get("photometric") == "miniswhite"
    planes = [as_type(1 - grey if white_is_zero else grey, dtype)] * (3 if channels > 2 else 1)
    if channels in (2, 4):
        planes.append(as_type(np.ones_like(grey), dtype))
        options["extrasamples"] = ["unassalpha"]
    options.setdefault("photometric", "rgb" if channels > 2 else "minisblack")
    if channels > 1:
        options["planarconfig"] = planar
    pixels = planes[0] if channels == 1 else np.stack(planes, axis=-1 if planar == "contig" else 0)
    file = BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **layout, **options)
    return file.getvalue()


def combinations(dtype: str):
    for channels, planar, layout, compression, order, predictor in itertools.product(
        (1, 2, 3, 4), ("contig", "separate"), LAYOUTS, BYTE_ROWS, "<>", (None, "horizontal", "floatingpoint")
    ):
        if (channels == 1 and planar == "separate") or (predictor and compression in (None, "packbits")):
            continue
        if predictor == "floatingpoint" and not dtype.startswith("float"):
            continue
        if predictor == "horizontal" and dtype.startswith("float"):
            continue  # which tifffile does not write
        yield channels, planar, layout, {"compression": compression, "predictor": predictor, "byteorder": order}


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_depth_plane_tile_compression_and_byte_order(dtype):
    """16-bit samples in separate planes were decoded to noise, and the call was the noise's."""
    read = dtype in ("uint8", "uint16", "float16", "float32", "float64")
    count = 0
    for channels, planar, layout, options in combinations(dtype):
        name = f"{dtype} × {channels}, {planar}, {layout}, {options}"
        data = written(GREY / 255, dtype, channels, planar, LAYOUTS[layout], **options)
        if read:
            try:
                scan = read_scan(data)
            except ImageError as error:
                raise AssertionError(name) from error
            np.testing.assert_array_equal(scan.pixels, GREY, err_msg=name)
            assert scan.warnings == (), name
        else:
            with pytest.raises(ImageError, match="whose display range is not defined"):
                read_scan(data)
        if dtype == "int8":  # of 127, which is no white
            with pytest.raises(ImageError, match="brightest pixel of the mask is 127"):
                read_mask(written(LESION * 1.0, dtype, channels, planar, LAYOUTS[layout], **options), LESION.shape)
        mask = written(LESION / (127 if dtype == "int8" else 1), dtype, channels, planar, LAYOUTS[layout], **options)
        np.testing.assert_array_equal(read_mask(mask, LESION.shape), LESION, err_msg=name)
        count += 1
    assert count >= 100


def tiff(pixels: np.ndarray, **options) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, **({"metadata": None} | options))
    return file.getvalue()


RGB = np.dstack([GREY] * 3)
DEEP = GREY.astype(np.uint16) * 257
MAP = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
PALETTE = np.ascontiguousarray(MAP[:, ::-1])
# What else tifffile writes, and Pillow, and what is shown. JPEG loses a little.
SHOWN = {
    "JPEG grey": (tiff(GREY, compression="jpeg"), GREY, 2),
    "JPEG white is zero": (tiff(255 - GREY, photometric="miniswhite", compression="jpeg"), GREY, 2),
    "JPEG colours": (tiff(RGB, photometric="rgb", compression="jpeg"), GREY, 2),
    "JPEG colours in tiles": (tiff(RGB, photometric="rgb", compression="jpeg", tile=(32, 48)), GREY, 2),
    "JPEG coarse colours": (tiff(RGB, photometric="rgb", compression="jpeg", rowsperstrip=16, subsampling=(2, 2)), GREY, 2),
    "JPEG planes": (
        tiff(np.stack([GREY] * 3), photometric="rgb", planarconfig="separate", compression="jpeg", rowsperstrip=16),
        GREY,
        2,
    ),
    "white is zero": (tiff(255 - GREY, photometric="miniswhite"), GREY, 0),
    "big-endian white is zero": (tiff(65535 - DEEP, photometric="miniswhite", byteorder=">"), GREY, 0),
    "floats white is zero": (tiff((1 - GREY / 255).astype(np.float32), photometric="miniswhite"), GREY, 0),
    "palette": (tiff(GREY, photometric="palette", colormap=PALETTE), 255 - GREY, 0),
    "palette in tiles": (tiff(GREY, photometric="palette", colormap=PALETTE, tile=(32, 48), compression="zlib"), 255 - GREY, 0),
    "inks": (
        tiff(np.dstack([GREY * 0] * 3 + [255 - GREY]), photometric="separated"),
        GREY,
        0,
    ),
    "inks in planes": (
        tiff(np.stack([GREY * 0] * 3 + [255 - GREY]), photometric="separated", planarconfig="separate", tile=(32, 48)),
        GREY,
        0,
    ),
    "BigTIFF": (tiff(DEEP, bigtiff=True, tile=(32, 48), compression="lzw", predictor="horizontal"), GREY, 0),
    "big-endian BigTIFF in planes": (
        tiff(np.stack([DEEP] * 3), bigtiff=True, byteorder=">", photometric="rgb", planarconfig="separate"),
        GREY,
        0,
    ),
    "half transparent": (tiff(np.dstack([RGB, GREY * 0 + 128]), photometric="rgb"), (GREY.astype(int) * 128 + 127) // 255, 1),
    "half transparent, 16 bits": (
        tiff(np.dstack([DEEP, DEEP * 0 + 32896]), planarconfig="contig", photometric="minisblack", extrasamples=["unassalpha"]),
        (GREY.astype(int) * 128 + 127) // 255,
        1,
    ),
    "multiplied by its transparency": (
        tiff(np.dstack([RGB // 2, GREY * 0 + 128]), photometric="rgb", extrasamples=["assocalpha"]),
        GREY // 2,
        0,
    ),
    "another channel": (
        tiff(np.dstack([RGB, 255 - GREY]), photometric="rgb", extrasamples=["unspecified"]),
        GREY,
        0,
    ),
    "bits backwards": (encoded(Image.fromarray(GREY), "TIFF", tiffinfo={266: 2}), None, 0),
    "by ImageJ": (tiff(GREY, imagej=True, metadata={}), GREY, 0),
    "marked as reduced": (tiff(GREY, subfiletype=1), GREY, 0),
}  # fmt: skip
MIRRORED = np.array([int(f"{v:08b}"[::-1], 2) for v in range(256)], np.uint8)


@pytest.mark.parametrize("kind", SHOWN)
def test_other_kinds_are_read(kind):
    data, expected, tolerance = SHOWN[kind]
    expected = MIRRORED[GREY] if expected is None else expected  # Pillow writes the tag and leaves the bits
    assert np.abs(read_scan(data).pixels.astype(int) - expected).max() <= tolerance


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 7, 9, 10, 12, 14, 15])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_that_share_bytes_are_read(bits, layout, channels):
    """Of tifffile's, for big-endian ones above 8 bits are written with their bytes exchanged, and read so by it as well."""
    top = 2**bits - 1
    few = np.round(GREY / 255 * top).astype(np.uint8 if bits <= 8 else np.uint16)
    pixels = np.dstack([few] * channels).squeeze()
    data = tiff(pixels, photometric="rgb" if channels == 3 else "minisblack", bitspersample=bits, **LAYOUTS[layout])
    scan = read_scan(data)
    np.testing.assert_array_equal(scan.pixels, (few.astype(np.uint32) * 255 + top // 2) // top)
    assert scan.warnings == ()


FAX = ("tiff_ccitt", "group3", "group4")


@pytest.mark.parametrize("compression", [None, "packbits", "tiff_lzw", "tiff_adobe_deflate", *FAX])
@pytest.mark.parametrize("tags", [{}, {262: 0}], ids=["black is zero", "white is zero"])
def test_masks_of_one_bit(compression, tags):
    data = encoded(Image.fromarray(LESION), "TIFF", compression=compression, tiffinfo=tags)
    np.testing.assert_array_equal(read_mask(data, LESION.shape), LESION)


@pytest.mark.parametrize("compression", FAX)
def test_fax_whose_bits_run_backwards(compression):
    data = encoded(Image.fromarray(LESION), "TIFF", compression=compression, tiffinfo={266: 2})
    with Image.open(BytesIO(data)) as image:
        assert image.tag_v2[266] == 2
    np.testing.assert_array_equal(read_mask(data, LESION.shape), LESION)


def compressed_as(name: str | int, words: str) -> dict:
    """Grey, deep and coloured pixels under a compression that is not read."""
    kinds = {"grey": (GREY, {}), "deep": (DEEP, {}), "colours": (RGB, {"photometric": "rgb"})}
    return {
        f"{name} {kind}": (tiff(pixels, compression=name, **options), f"compressed as {words}")
        for kind, (pixels, options) in kinds.items()
    }


NAMED = {
    **compressed_as("lzma", "LZMA"), **compressed_as("zstd", "Zstandard"), **compressed_as("jpeg2000", "JPEG 2000"),
    **compressed_as("lerc", "LERC"), **compressed_as("png", "PNG"), **compressed_as("jpegxl", "JPEG XL"),
    **compressed_as("jpegxr", "JPEG XR"), **compressed_as(50013, "number 50013"),
    "webp": (tiff(RGB, photometric="rgb", compression="webp"), "compressed as WebP"),
    "12-bit JPEG": (tiff(DEEP >> 4, compression="jpeg", compressionargs={"bitspersample": 12}), "JPEG pixels other than 8-bit"),
    **{
        name: (tiff(RGB, photometric=name), words)
        for name, words in {
            "cielab": r"CIE L\*a\*b\* colours", "icclab": r"ICC L\*a\*b\* colours", "ycbcr": "YCbCr pixels that are not compressed as JPEG",
            "logluv": "photometric interpretation 32845", "linear_raw": "photometric interpretation 34892",
        }.items()
    },
    "a transparency mask": (tiff(GREY, photometric="mask"), "a transparency mask"),
    "a sensor's pattern": (tiff(GREY, photometric="cfa"), "photometric interpretation 32803"),
    "channels": (tiff(RGB, photometric="minisblack", planarconfig="contig"), "3 channels that are not colours"),
    "complex numbers": (tiff(GREY.astype(np.complex64)), "64-bit samples of format 6"),
    "a predictor that few mind": (tiff(GREY, compression="packbits", predictor="horizontal"), "8-bit samples with predictor 2"),
    "signed": (tiff(GREY.astype(np.int64)), "signed samples"),
    "32 bits": (tiff(GREY.astype(np.uint32)), "32-bit samples"),
    "64 bits": (tiff(GREY.astype(np.uint64)), "64-bit samples"),
    "floats to 255": (tiff(GREY.astype(np.float16)), "floating-point samples from 0 to 255"),
    "floats more than opaque": (tiff(np.dstack([RGB / 255, GREY]).astype(np.float32), photometric="rgb"), "samples from 0 to 255"),
    "no number": (tiff(np.where(GREY > 200, np.nan, GREY / 255).astype(np.float32)), "floating-point samples from nan"),
    "pages": (tiff(np.stack([GREY, 255 - GREY])), "several frames"),
    "a stack of ImageJ's": (tiff(np.stack([GREY, 255 - GREY]), imagej=True, metadata={"axes": "ZYX"}), "several frames"),
    "a stack with one directory": (tiff(np.stack([GREY, 255 - GREY]), truncate=True, metadata={}), "several frames"),
    "a volume": (tiff(np.stack([GREY] * 16), volumetric=True, tile=(16, 32, 48)), "several frames"),
    "OME's pages": (tiff(np.stack([GREY, 255 - GREY]), ome=True, metadata={"axes": "ZYX"}), "several frames"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMED)
def test_what_is_not_read_is_named(kind):
    data, words = NAMED[kind]
    with pytest.raises(ImageError, match=words):
        read_scan(data)


def pages(*written_as: tuple[np.ndarray, dict]) -> bytes:
    file = BytesIO()
    with tifffile.TiffWriter(file) as out:
        for pixels, options in written_as:
            out.write(pixels, metadata=None, **options)
    return file.getvalue()


SMALL, HALF = GREY[::4, ::4], GREY[::2, ::2]


def test_a_thumbnail_or_a_transparency_mask_beside_the_picture_is_passed_over():
    """The picture was refused as a clip."""
    for data in (
        pages((GREY, {}), (SMALL, {"subfiletype": 1})),
        pages((GREY, {}), (SMALL, {})),
        pages((SMALL, {"subfiletype": 1}), (GREY, {})),
        pages((GREY, {"tile": (32, 48)}), (HALF, {"subfiletype": 1}), (SMALL, {"subfiletype": 1})),
        pages((GREY, {}), (LESION, {"subfiletype": 4})),
        pages((GREY, {"subifds": 1}), (HALF, {"subfiletype": 1})),
    ):
        np.testing.assert_array_equal(read_scan(data).pixels, GREY)


def test_several_full_pages_and_thumbnails_alone_are_refused():
    for data in (
        pages((GREY, {}), (GREY, {})),
        pages((GREY, {}), (GREY[:, :70], {})),
        pages((GREY, {"subfiletype": 2}), (GREY, {"subfiletype": 2}), (SMALL, {"subfiletype": 1})),
    ):
        with pytest.raises(ImageError, match="several frames"):
            read_scan(data)
    raw = pages((GREY, {"subfiletype": 1, "subifds": 1}), (GREY, {"photometric": "cfa"}))
    with pytest.raises(ImageError, match="only thumbnails, like a camera's raw file"):
        read_scan(raw)


def built(entries: int = 9, thumbnails: int = 0, segments: int = 1, size: int | None = None) -> bytes:
    """A TIFF of 64 × 64 grey pixels by hand, with as many tags that mean nothing, and thumbnails that lie nowhere."""
    pixels = ramp(64, 64).tobytes()
    tags = [(256, 64), (257, 64), (258, 8), (259, 1), (262, 1), (277, 1), (278, 64 // segments)]
    rows = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    rows += [struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 279, 4, 1, len(pixels) if size is None else size)]
    rows += [struct.pack("<HHII", 60_000, 4, 1, 0)] * (entries - len(rows))
    at, out = 8 + len(pixels), b""
    small = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in ((254, 1), (256, 8), (257, 8))]
    for k, page in enumerate([rows] + [small] * thumbnails):
        following = at + len(out) + 2 + 12 * len(page) + 4 if k < thumbnails else 0
        out += struct.pack("<H", len(page)) + b"".join(page) + struct.pack("<I", following)
    return b"II*\0" + struct.pack("<I", at) + pixels + out


def test_tags_and_pages_have_a_bound():
    for data in (built(), built(entries=MAX_ENTRIES), built(thumbnails=MAX_PAGES - 1)):
        np.testing.assert_array_equal(read_scan(data).pixels, ramp(64, 64))
    with pytest.raises(ImageError, match="1001 tags; at most 1000"):
        read_scan(built(entries=MAX_ENTRIES + 1))
    with pytest.raises(ImageError, match="several frames"):
        read_scan(built(thumbnails=MAX_PAGES))


def test_strips_that_lie_over_each_other_are_refused(monkeypatch):
    """A decoder would unpack the same megabytes for every row."""
    data = bytearray(tiff(GREY, compression="zlib", rowsperstrip=1))
    page = next(directories(bytes(data)))
    _, count, at = page.entries[279]
    assert count == len(GREY)
    width = {3: "<H", 4: "<I"}[page.entries[279][0]]
    for k in range(count):
        struct.pack_into(width, data, at + k * struct.calcsize(width), len(data) - 1)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_scan(bytes(data))


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (32, 48)}, {"bigtiff": True}])
def test_what_is_cut_off_is_damaged(kept, options):
    """The pixels lie behind the tags, so they are what is missing."""
    data = tiff(GREY, **options)
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_scan(data[: int(len(data) * kept)])


def test_jpeg_pixels_of_many_passes_are_refused():
    """The bound on passes holds for a JPEG inside a TIFF, too."""
    for progressive in (False, True):
        stream = encoded(Image.fromarray(ramp(64, 64)), "JPEG", progressive=progressive, quality=95)
        tags = ((256, 64), (257, 64), (258, 8), (259, 7), (262, 1), (273, 8), (277, 1), (278, 64), (279, len(stream)))
        rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
        data = b"II*\0" + struct.pack("<I", 8 + len(stream)) + stream + struct.pack("<H", len(tags)) + rows + bytes(4)
        if progressive:
            with pytest.raises(ImageError, match="progressive JPEG pixels"):
                read_scan(data)
        else:
            assert np.abs(read_scan(data).pixels.astype(int) - ramp(64, 64)).max() <= 4


def test_pixels_of_less_than_a_byte_are_bounded_as_what_they_become():
    """Eight of them take one byte in the file and eight once they are unpacked."""
    huge = written_by_hand(128, 128, bits=1, packing=4, tile=16384)
    with pytest.raises(ImageError, match="MB of pixels"):
        read_scan(huge)


def written_by_hand(width: int, height: int, *, bits: int, packing: int, tile: int) -> bytes:
    """A TIFF of one tile that holds nothing."""
    tags = {256: width, 257: height, 258: bits, 259: packing, 262: 1, 277: 1, 322: tile, 323: tile, 324: 8, 325: 4}
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 12) + bytes(4) + struct.pack("<H", len(tags)) + rows + bytes(4)


def test_a_palette_of_8_bit_levels_is_read_as_such():
    levels = np.stack([np.arange(256, dtype=np.uint16)] * 3)
    file = BytesIO()
    tifffile.imwrite(
        file, np.round(GREY * 255).astype(np.uint8) if GREY.max() <= 1 else GREY, photometric="palette", colormap=levels
    )
    assert np.array_equal(
        read_scan(file.getvalue()).pixels, np.round(GREY * 255).astype(np.uint8) if GREY.max() <= 1 else GREY
    )
