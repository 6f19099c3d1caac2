"""The pixels of a TIFF file, whatever their depth, planes, tiles, predictor and byte order.

Pillow reads by a list of known combinations, and gets some of them wrong without a word, 16-bit samples in separate planes
among them. Here each plane is handed to it as what every combination is at bottom, rows of bytes, in a small file of
its own; libtiff in it undoes the compression within bounds, and numpy the rest. What is not on the lists below is refused by name.
"""

import struct
from io import BytesIO

import numpy as np
from PIL import Image

from rcdnet.errors import ImageError
from rcdnet.scans.bit_depth import Samples
from rcdnet.scans.tiff_structure import Directory

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_PHOTOMETRICS = {4: "a transparency mask", 8: "CIE L*a*b* colours", 9: "ICC L*a*b* colours", 10: "ITU L*a*b* colours"}
_NONE, _LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _PACKBITS = 1, 5, 7, 8, 32946, 32773
_FAX = (2, 3, 4)
_OF_BYTES = (_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACKBITS)
_COMPRESSIONS = {
    6: "old-style JPEG", 32809: "ThunderScan", 33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000",
    34676: "SGI Log", 34677: "SGI Log", 34887: "LERC", 34892: "lossy JPEG", 34925: "LZMA", 34933: "PNG", 34934: "JPEG XR",
    22610: "JPEG XR", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip
_MAX_SAMPLES = 16  # of a pixel
_MAX_SEGMENTS = 70_000  # strips or tiles of a plane: 4096 pixels a side in tiles of 16
_MAX_PLANE_BYTES = 80 * 1024**2


def decode(page: Directory) -> Image.Image | Samples:
    """The picture of a directory, unturned: an image of 8-bit channels, or deeper samples.

    Raises:
        ImageError: a combination that is not read, by its name. ValueError, OSError: damaged.
    """
    photometric, bits, form, count = _layout(page)
    colours = _COLOURS[photometric]
    extras = page.values(338, most=_MAX_SAMPLES)[: count - colours]
    if colours == 1 and count > 2:
        raise _not_read(f"{count} channels that are not colours")
    if photometric == _RGB and count == 4 and not extras:
        extras = (2,)  # as many programs leave it out
    # Of 1, the colours lie over black already
    clear = [colours + k for k, kind in enumerate(extras) if kind in (2, 999)]
    channels = _channels(page, bits, count, [*range(colours), *clear[:1]])
    if form == 2:
        channels = channels.view(channels.dtype.str.replace("u", "i"))
    elif form == 3:
        channels = channels.view(channels.dtype.str.replace("u", "f"))
    alpha = channels[..., colours] if clear else None
    values = channels[..., 0] if colours == 1 else channels[..., :colours]
    if photometric == _PALETTE:
        rgb = _through_palette(page, bits, values)
        return Image.fromarray(rgb if alpha is None else np.dstack([rgb, _to_8_bits(alpha, bits)]))
    if photometric == _CMYK:
        if clear:
            raise _not_read("inks with transparency")
        return Image.frombytes("CMYK", page.size, _to_8_bits(values, bits).tobytes())
    white_is_zero = photometric == _WHITE_IS_ZERO
    if form != 1 or bits > 8:
        return Samples(values, alpha, bits, white_is_zero)
    grey = _to_8_bits(values, bits)
    grey = 255 - grey if white_is_zero else grey
    if alpha is None:
        return Image.fromarray(grey)
    return Image.frombytes(
        "LA" if colours == 1 else "RGBA", page.size, np.dstack([grey, _to_8_bits(alpha, bits)]).tobytes()
    )


def _not_read(what: str) -> ImageError:
    return ImageError(
        f"The TIFF holds {what}, which is not supported. Export the scan as an 8-bit PNG and upload that."
    )


def _layout(page: Directory) -> tuple[int, int, int, int]:
    """Photometric interpretation, bits, sample format and samples a pixel; `ImageError` names what is not read of them."""
    if 262 not in page.entries:
        raise _not_read("pixels without stating whether 0 is black or white")
    photometric, packing, count = page.value(262), page.value(259, 1), page.value(277, 1)
    depths = set(page.values(258, (1,), most=_MAX_SAMPLES))
    forms = set(page.values(339, (1,), most=_MAX_SAMPLES))
    if photometric not in _COLOURS:
        raise _not_read(_PHOTOMETRICS.get(photometric, f"pixels of photometric interpretation {photometric}"))
    if packing not in (*_OF_BYTES, *_FAX, _JPEG):
        raise _not_read("pixels compressed as " + _COMPRESSIONS.get(packing, f"number {packing}"))
    if not _COLOURS[photometric] <= count <= _MAX_SAMPLES:
        raise ValueError(f"{count} samples a pixel")
    if len(depths) > 1 or len(forms) > 1:
        raise _not_read("channels of different kinds")
    bits, form = depths.pop(), forms.pop()
    form = 1 if form == 4 else form  # 4 is undefined
    if (form == 3 and bits not in (16, 32, 64)) or form not in (1, 2, 3):
        raise _not_read(f"{bits}-bit samples of format {form}")
    if not (1 <= bits <= 16 or bits in (32, 64)) or (form == 2 and bits % 8):
        raise _not_read(f"{bits}-bit samples")
    if photometric in (_PALETTE, _CMYK) and (form != 1 or bits > 16 or (photometric == _PALETTE and bits > 8)):
        raise _not_read(f"{bits}-bit palette or CMYK samples")
    separate = page.value(284, 1) == 2
    if photometric == _YCBCR and (packing != _JPEG or separate):
        raise _not_read("YCbCr pixels that are not compressed as JPEG")
    if packing == _JPEG and (
        bits != 8 or form != 1 or not (separate or count == 1 or (count == 3 and photometric in (_RGB, _YCBCR)))
    ):
        raise _not_read("JPEG pixels other than 8-bit grey or colour")
    if packing in _FAX and (bits != 1 or count != 1):
        raise _not_read("fax pixels other than black and white")
    if page.value(266, 1) != 1 and not (packing in _FAX or packing == _NONE):
        raise _not_read("compressed bytes in reversed bit order")
    predictor = page.value(317, 1)
    if predictor != 1 and not (
        packing in (_LZW, _DEFLATE, _OLD_DEFLATE)  # with others some programs mind it and some do not
        and ((predictor == 2 and bits % 8 == 0) or (predictor == 3 and form == 3))
    ):
        raise _not_read(f"{bits}-bit samples with predictor {predictor}")
    return photometric, bits, form, count


def _channels(page: Directory, bits: int, count: int, wanted: list[int]) -> np.ndarray:
    """Unsigned (H, W, len(wanted)): the wanted channels, in the smallest type that holds them."""
    if page.value(284, 1) == 2 and count > 1:
        return np.dstack([_plane(page, bits, 1, k)[..., 0] for k in wanted])
    return _plane(page, bits, count, 0)[..., wanted]


def _plane(page: Directory, bits: int, count: int, plane: int) -> np.ndarray:
    """Unsigned (H, W, count): a plane, counted from 0."""
    width, height = page.size
    tiled = 322 in page.entries or 324 in page.entries
    across, down = (page.value(322), page.value(323)) if tiled else (width, min(page.value(278, height), height))
    if not (across > 0 and down > 0):
        raise ValueError("no tiles")
    columns, rows = -(-width // across), -(-height // down)
    bytes_a_row = -(-across * count * bits // 8)
    lines = rows * down if tiled else height
    # Samples, too: those of less than a byte take one each while they are unpacked.
    most = max(bytes_a_row, across * count) * columns * lines
    if columns * rows > _MAX_SEGMENTS or most > _MAX_PLANE_BYTES:
        raise _not_read(f"more than {_MAX_SEGMENTS:,} tiles or {_MAX_PLANE_BYTES // 1024**2} MB of pixels")
    lengths = [bytes_a_row * min(down, lines - k // columns * down) for k in range(columns * rows)]
    segments = _segments(page, tiled, plane * columns * rows, lengths)
    packing, predictor = page.value(259, 1), page.value(317, 1)
    if packing == _NONE:
        plain = b"".join(segments)
        cells = np.frombuffer(plain, np.uint8).reshape(rows if tiled else 1, columns, -1, bytes_a_row)
        table: np.ndarray = cells.transpose(0, 2, 1, 3).reshape(lines, columns, bytes_a_row)
        if page.value(266, 1) == 2:
            table = np.packbits(np.unpackbits(table, axis=-1, bitorder="little"), axis=-1)
    elif packing in _FAX or (packing == _JPEG and count == 3):
        shape = (columns * across, lines, across, down)
        pixels = _libtiff(page, segments, shape, tiled, bits, count).astype(np.uint8)
        return pixels.reshape(lines, -1, count)[:height, :width]
    else:
        shape = (columns * bytes_a_row, lines, bytes_a_row, down)
        table = _libtiff(page, segments, shape, tiled, 8, 1).reshape(lines, columns, bytes_a_row)
    order = page.order
    if predictor == 3:
        table = np.cumsum(table.reshape(lines, columns, -1, count), axis=2, dtype=np.uint8)
        table = table.reshape(lines, columns, bits // 8, -1).swapaxes(2, 3).reshape(lines, columns, -1)
        order = ">"
    values = _unpacked(table, bits, across * count, order).reshape(lines, columns, across, count)
    if predictor == 2:
        values = np.cumsum(values, axis=2, dtype=values.dtype)
    return values.reshape(lines, columns * across, count)[:height, :width]


def _segments(page: Directory, tiled: bool, first: int, lengths: list[int]) -> list[bytes]:
    """The bytes of each strip or tile of a plane, in reading order; lengths: of each, where it is not compressed."""
    most, plain = _MAX_SEGMENTS * _MAX_SAMPLES, page.value(259, 1) == _NONE
    starts = page.values(324 if tiled else 273, most=most)[first : first + len(lengths)]
    sizes = lengths if plain else page.values(325 if tiled else 279, most=most)[first : first + len(lengths)]
    if not len(starts) == len(sizes) == len(lengths):
        raise ValueError("a strip or tile is missing")
    if not plain and sum(min(size, len(page.data)) for size in sizes) > len(page.data):
        raise ValueError("strips or tiles lie over each other")  # a decoder would read the same bytes many times
    segments = [page.data[at : at + size] for at, size in zip(starts, sizes, strict=True)]
    if plain and [*map(len, segments)] != lengths:
        raise ValueError("a strip or tile is cut off")
    return segments


def _libtiff(
    page: Directory, segments: list[bytes], shape: tuple[int, int, int, int], tiled: bool, bits: int, count: int
) -> np.ndarray:
    """Decompress segments of `count` channels of `bits` bits; shape: width and length of the whole and of one segment."""
    width, length, across, down = shape
    packing, photometric = page.value(259), page.value(262)
    if packing == _JPEG:
        for segment in segments:
            if segment.count(b"\xff\xda") > 4:
                raise _not_read("progressive JPEG pixels")
    entries: dict[int, tuple[int, ...] | bytes] = {
        256: (width,), 257: (length,), 258: (bits,) * count, 259: (packing,), 262: (_BLACK_IS_ZERO,), 277: (count,),
    }  # fmt: skip
    if packing in _FAX:
        entries |= {266: (page.value(266, 1),), 292: (page.value(292, 0),), 293: (page.value(293, 0),)}
    if packing == _JPEG:
        if count == 3:
            entries[262] = (photometric,)
        if photometric == _YCBCR:
            entries[530] = page.values(530, (2, 2))
        if tables := page.text(347, 64 * 1024):
            entries[347] = tables
    at = 8 + np.cumsum([0, *map(len, segments)])
    starts, sizes = tuple(at[:-1].tolist()), tuple(map(len, segments))
    entries |= (
        {322: (across,), 323: (down,), 324: starts, 325: sizes} if tiled else {273: starts, 278: (down,), 279: sizes}
    )
    body = b"".join(segments)
    image = Image.open(BytesIO(_file(body, entries)), formats=("TIFF",))
    image.load()
    return np.asarray(image)


def _file(body: bytes, entries: dict[int, tuple[int, ...] | bytes]) -> bytes:
    """A little-endian TIFF file of one directory behind `body`, which begins at its byte 8."""
    values, rows = b"", b""
    behind = 8 + len(body) + 2 + 12 * len(entries) + 4
    for tag, value in sorted(entries.items()):
        packed = value if isinstance(value, bytes) else struct.pack(f"<{len(value)}I", *value)
        rows += struct.pack("<HHI", tag, 7 if isinstance(value, bytes) else 4, len(value))
        if len(packed) > 4:
            rows += struct.pack("<I", behind + len(values))
            values += packed
        else:
            rows += packed.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", 8 + len(body))
    return b"".join((head, body, struct.pack("<H", len(entries)), rows, bytes(4), values))


def _unpacked(table: np.ndarray, bits: int, count: int, order: str) -> np.ndarray:
    """(..., count) unsigned values of rows of bytes."""
    if bits % 8 == 0:
        values = np.ascontiguousarray(table).view(f"{order}u{bits // 8}")
        return values.astype(values.dtype.newbyteorder("="), copy=False)[..., :count]
    values = np.empty((*table.shape[:-1], count), np.uint8 if bits < 8 else np.uint16)
    for row, packed in enumerate(table):  # row by row, for every bit takes a byte here
        flags = np.unpackbits(packed, axis=-1)[..., : count * bits].reshape(*packed.shape[:-1], count, bits)
        values[row] = flags @ (1 << np.arange(bits, dtype=np.uint16)[::-1])
    return values


def _to_8_bits(values: np.ndarray, bits: int) -> np.ndarray:
    top = 2**bits - 1
    return values if bits == 8 else ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)


def _through_palette(page: Directory, bits: int, values: np.ndarray) -> np.ndarray:
    levels = page.values(320, most=3 * 2**bits)
    if len(levels) != 3 * 2**bits:
        raise ValueError("the palette is cut off")
    table = np.array(levels, np.uint16).reshape(3, -1)
    # Old writers give 8 bits where 16 are meant
    colours = (table >> 8 if table.max() > 255 else table).astype(np.uint8).T
    return colours[values]
