"""What happens to a scan on its way to a reader, done to its pixels: every change is small to a person and the same each time."""

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]  # x, y, width and height of the lesion in pixels
BORDER = 20  # grey level of a viewer's window
MARK = 230  # grey level of what is burned in


def mirrored(pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """The other breast's side, left for right."""
    return np.ascontiguousarray(pixels[:, ::-1])


def cropped(pixels: np.ndarray, box: Box | None, share: float = 0.02) -> np.ndarray:
    """Without a strip of this share at each side."""
    height, width = pixels.shape
    y, x = round(height * share), round(width * share)
    return pixels[y : height - y, x : width - x]


def stretched(pixels: np.ndarray, box: Box | None, factor: float = 1.1) -> np.ndarray:
    """Wider, as where a program does not keep the shape of a pixel."""
    height, width = pixels.shape
    return cv2.resize(pixels, (round(width * factor), height), interpolation=cv2.INTER_LINEAR)


def halved(pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """At half the size, as in a document or a chat."""
    height, width = pixels.shape
    return cv2.resize(pixels, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)


def recompressed(pixels: np.ndarray, box: Box | None, quality: int = 50) -> np.ndarray:
    """As a JPEG of this quality."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def relit(pixels: np.ndarray, box: Box | None, gamma: float) -> np.ndarray:
    """With another gamma: below 1 brighter, above 1 darker."""
    return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)[pixels]


def bordered(pixels: np.ndarray, box: Box | None, share: float = 0.25) -> np.ndarray:
    """With a black border of this share of the scan on each side."""
    y, x = (round(side * share) for side in pixels.shape)
    return np.pad(pixels, ((y, y), (x, x)))


def in_viewer(pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """As a screenshot of a viewer: a grey window with a title bar, a ruler and a line of settings. No name is in it."""
    height, width = pixels.shape
    top, side = max(24, height // 10), max(24, width // 10)
    canvas = np.full((height + 2 * top, width + 2 * side), BORDER, np.uint8)
    canvas[: top // 2] = 3 * BORDER
    canvas[top : top + height, side : side + width] = pixels
    scale = top / 60
    cv2.putText(canvas, "BREAST  L12-5", (side, top // 3), cv2.FONT_HERSHEY_SIMPLEX, scale, MARK, 1, cv2.LINE_AA)
    cv2.putText(
        canvas,
        "MI 0.9  TIs 0.2  46 Hz",
        (side, height + 2 * top - top // 3),
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        MARK,
        1,
        cv2.LINE_AA,
    )
    for k in range(0, height, max(4, height // 12)):
        cv2.line(canvas, (side + width + 4, top + k), (side + width + 4 + side // 4, top + k), MARK, 1)
    return canvas


def with_calipers(pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """With two dotted lines between crosses over the lesion's axes; over the middle third where its place is not known."""
    height, width = pixels.shape
    x, y, w, h = box or (width // 3, height // 3, width // 3, height // 3)
    drawn, arm = pixels.copy(), max(3, min(height, width) // 60)
    for ends in (((x, y + h // 2), (x + w, y + h // 2)), ((x + w // 2, y), (x + w // 2, y + h))):
        for end in ends:
            cv2.drawMarker(drawn, end, MARK, cv2.MARKER_CROSS, 2 * arm, 1)
        for t in np.linspace(0, 1, max(2, (w + h) // (2 * arm))):
            place = tuple(round(a + float(t) * (b - a)) for a, b in zip(*ends, strict=True))
            cv2.circle(drawn, place, 0, MARK, -1)
    return drawn


PERTURBATIONS: dict[str, Callable[[np.ndarray, Box | None], np.ndarray]] = {
    "mirror image": mirrored,
    "crop of 2 %": cropped,
    "crop of 5 %": lambda pixels, box: cropped(pixels, box, 0.05),
    "stretched by 10 %": stretched,
    "viewer's frame": in_viewer,
    "black border": bordered,
    "calipers": with_calipers,
    "brighter, gamma 0.8": lambda pixels, box: relit(pixels, box, 0.8),
    "darker, gamma 1.25": lambda pixels, box: relit(pixels, box, 1.25),
    "JPEG, quality 50": recompressed,
    "half size": halved,
}
