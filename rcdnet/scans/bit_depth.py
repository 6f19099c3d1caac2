"""Samples of more than 8 bits brought to 8, by rules that are stated.

A file says how many bits a sample takes and seldom how many of them the scanner used, so 12-bit samples in a 16-bit file
would be a black picture. The fewest bits that hold the largest sample are taken, but for white that was drawn on the picture.
"""

from dataclasses import dataclass, field

import numpy as np

from rcdnet.errors import ImageError

# Every scan of BUSI and BUS-BRA at hand has a hundredth above grey level 76 of 255, so one that uses all of 16 bits goes beyond 14.
DEPTHS = range(8, 17)
WHITE = 65535  # as text and rulers are drawn, whatever the samples beside them reach
ALL_TRANSPARENT = "Every pixel of the image is transparent. Export it without transparency."


@dataclass(frozen=True, eq=False)
class Samples:
    """A picture as stored.

    colours: (H, W) grey or (H, W, 3) red, green, blue; whole numbers or floats. alpha: (H, W) of the same type, 0 transparent, or
    None. bits: of one sample. white_is_zero: whether 0 is white.
    """

    colours: np.ndarray = field(repr=False)
    alpha: np.ndarray | None = field(repr=False)
    bits: int
    white_is_zero: bool = False


def to_display_range(samples: Samples) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 pixels of the same shape, transparency laid over black, and what to say beside them.

    Whole numbers of up to 16 bits span black to white by their depth; floats from 0 to 1.

    Raises:
        ImageError: 32-bit or signed samples, or floats beyond 0 to 1, none of which say what is white; or all is transparent.
    """
    colours, notes = samples.colours, tuple[str, ...]()
    if samples.alpha is not None and not samples.alpha.any():
        raise ImageError(ALL_TRANSPARENT)
    if colours.dtype.kind == "f":
        top = _top_of_floats(colours)
    elif colours.dtype.kind == "i" or samples.bits > 16:
        kind = "signed" if colours.dtype.kind == "i" else f"{samples.bits}-bit"
        raise ImageError(
            f"The image stores {kind} samples, whose display range is not defined. Export it as an 8-bit PNG."
        )
    else:
        top, notes = _top_of(samples, _largest(samples))
    grey = _rescaled(colours, top, samples.white_is_zero)
    if samples.alpha is not None:
        is_float = colours.dtype.kind == "f"
        opaque = _top_of_floats(samples.alpha) if is_float else _top_of(samples, int(samples.alpha.max()))[0]
        alpha = _rescaled(samples.alpha, opaque, False).astype(np.uint16)
        grey = ((grey * (alpha if grey.ndim == 2 else alpha[..., None]) + 127) // 255).astype(np.uint8)
    return grey, notes


def to_mask(samples: Samples) -> np.ndarray:
    """uint8 pixels of a mask: values up to 255 stay what they are, larger ones are scaled by the largest.

    Raises:
        ImageError: a value below 0, or none that is a number.
    """
    values = samples.colours
    low, high = values.min(), values.max()
    if not low >= 0 or not np.isfinite(high):
        raise ImageError(
            f"The mask has values from {low:g} to {high:g}. Expected 255 inside the lesion and 0 outside, or 1 and 0."
        )
    if samples.white_is_zero:
        values = _top_of(samples, int(high))[0] - values.astype(np.float64)
    if samples.alpha is not None:
        values = np.where((samples.alpha if values.ndim == 2 else samples.alpha[..., None]) > 0, values, 0)
    return (values * (255 / max(255.0, float(values.max())))).astype(np.uint8)


def _top_of_floats(values: np.ndarray) -> float:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # nor where one is no number
        raise ImageError(
            f"The image stores floating-point samples from {low:g} to {high:g}; those from 0 to 1 are read. "
            "Export it as an 8-bit PNG."
        )
    return 1.0


def _top_of(samples: Samples, largest: int) -> tuple[float, tuple[str, ...]]:
    """The sample that is white, and a warning where the file does not say it."""
    if samples.bits != 16:
        return 2.0**samples.bits - 1, ()
    depth = next(d for d in DEPTHS if largest < 2**d)
    if depth == 16:
        return 65535.0, ()
    return 2.0**depth - 1, (
        f"The 16-bit samples of this image reach only {largest}, so they were read as {depth}-bit ones, with {2**depth - 1} as "
        "white. If the picture is too bright or too dark, export it as an 8-bit PNG.",
    )


def _largest(samples: Samples) -> int:
    """The largest sample; of 16-bit ones that are not inverted, the largest that is not white, if there is any."""
    below = (
        samples.colours[samples.colours < WHITE]
        if samples.bits == 16 and not samples.white_is_zero
        else samples.colours
    )
    return int(below.max()) if below.any() else int(samples.colours.max())


def _rescaled(values: np.ndarray, top: float, inverted: bool) -> np.ndarray:
    if values.dtype.kind == "f":
        shares = values.astype(np.float64) * 255 / top
        return np.rint(255 - shares if inverted else shares).astype(np.uint8)
    table = (np.arange(int(top) + 1, dtype=np.uint32) * 255 + int(top) // 2) // int(top)
    return (255 - table if inverted else table).astype(np.uint8)[np.minimum(values, int(top))]
