"""Whatever tifffile can write is read to the pixels that were written, or refused by the name of its kind."""

import itertools
import logging
from io import BytesIO

import numpy as np
import pytest
import tifffile
from conftest import ramp

from rcdnet.errors import ImageError
from rcdnet.images import read_mask, read_scan

GREY = ramp(80, 112)
LESION = np.zeros((80, 112), bool)
LESION[20:50, 30:80] = True
BYTE_ROWS = (None, "zlib", "lzw", "packbits")  # the compressions that know nothing of pixels
LAYOUTS = {"one strip": {}, "strips": {"rowsperstrip": 24}, "tiles": {"tile": (32, 48)}}
DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")
OF_DAMAGE = ("damaged", "flat colour", "several frames", "two grey levels")


@pytest.fixture(autouse=True)
def no_remarks_on_old_ways_of_writing():
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


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
