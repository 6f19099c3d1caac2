"""A class activation map drawn over its scan."""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

# Perceptually ordered maps only. Jet, the package's default, has bright bands that look like findings.
COLOUR_MAPS = {
    "Turbo": cv2.COLORMAP_TURBO,
    "Inferno": cv2.COLORMAP_INFERNO,
    "Viridis": cv2.COLORMAP_VIRIDIS,
    "Cividis": cv2.COLORMAP_CIVIDIS,
}
SAFE_COLOUR_MAPS = ("Inferno", "Viridis", "Cividis")  # even for readers who do not tell red from green


def overlay(
    pixels: np.ndarray,
    heat: np.ndarray,
    *,
    opacity: float = 0.5,
    colour_map: str = "Turbo",
    peak: float | None = None,
) -> np.ndarray:
    """The scan with its map on top, uint8 RGB (H, W, 3).

    Args:
        pixels: grey scan, uint8 (H, W).
        heat: raw map on the same pixels, float (H, W), zero or more.
        opacity: 0..1, reached at the end of the colour scale; where the map is zero the scan shows unchanged.
        colour_map: a name of `COLOUR_MAPS`.
        peak: the raw value that the scale ends at; by default the map's own maximum.
    """
    grey = np.repeat(pixels[..., None], 3, axis=2)
    peak = float(heat.max()) if peak is None else peak
    if peak <= 0:
        return grey
    scaled = np.minimum(heat / peak, 1)
    colours = colour_table(colour_map)[np.rint(scaled * 255).astype(np.uint8)]
    alpha = (opacity * scaled)[..., None].astype(np.float32)
    return np.rint(grey + alpha * (colours.astype(np.float32) - grey)).astype(np.uint8)


def draw_contours(picture: np.ndarray, outlines: Sequence[np.ndarray]) -> np.ndarray:
    """A copy of the picture with closed outlines, uint8 RGB (H, W, 3); white on a black rim, so that it shows on any colour.

    Args:
        picture: uint8 grey (H, W) or RGB (H, W, 3). outlines: each int32 (K, 2) of x and y.
    """
    drawn = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture.copy()
    width = max(1, round(max(drawn.shape[:2]) / 400))
    for colour, thickness in ((0, 3 * width), (255, width)):
        cv2.polylines(
            drawn, list(outlines), isClosed=True, color=(colour,) * 3, thickness=thickness, lineType=cv2.LINE_AA
        )
    return drawn


def colour_table(name: str) -> np.ndarray:
    """The 256 colours of a map, from its zero to its maximum, uint8 RGB (256, 3)."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    return np.ascontiguousarray(cv2.applyColorMap(ramp, COLOUR_MAPS[name])[:, 0, ::-1])


def fit_within(image: np.ndarray, side: int) -> np.ndarray:
    """The image, grey or RGB, with its longer side at most `side` pixels; for a screen, never for a model."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )


def letterboxed(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The image, grey or RGB, as large as it fits and centred on a black stage of that size in pixels; for a screen."""
    scale = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    fitted = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    stage = np.zeros((height, width, *image.shape[2:]), np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    stage[top : top + size[1], left : left + size[0]] = fitted
    return stage


def png(image: np.ndarray) -> bytes:
    """uint8 grey or RGB as PNG bytes, pixels only."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def png_url(image: np.ndarray) -> str:
    """uint8 grey or RGB as a data URL: it travels inside the page, so no address of the server holds a patient's picture.

    Streamlit's own media files can be gone when a browser comes for them, if the user clicks on while a page is drawn.
    """
    return f"data:image/png;base64,{b64encode(png(image)).decode()}"
