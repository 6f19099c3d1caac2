"""Pictures that are no single breast B-mode scan, drawn or made from scans and photographs: what the input check is taught to refuse."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

# From two grey scans, uint8 (H, W), which some do not use.
Draw = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]

_WORDS = (
    "name date findings left breast right breast upper outer quadrant hypoechoic mass margins circumscribed no lymph nodes seen "
    "category assessment recommendation follow up in six months biopsy patient referred physician report page of technique "
    "comparison impression density composition normal heart liver kidney chest examination dose"
)
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)


def _canvas(rng: np.random.Generator) -> tuple[int, int]:
    """A height and a width in pixels, of screens, pages and detectors."""
    height = int(rng.integers(240, 720))
    return height, int(height * rng.uniform(0.6, 1.8))


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator, height: int, width: int, sigma: float) -> np.ndarray:
    """Noise of a scale, in pixels, float32 (height, width) in 0..1."""
    drawn = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), max(sigma, 0.1))
    return (drawn - drawn.min()) / max(float(np.ptp(drawn)), 1e-6)


def noise(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Random grey levels, of one pixel or of smooth patches."""
    height, width = _canvas(rng)
    if rng.random() < 0.5:
        uniform = rng.random() < 0.5
        drawn = (
            rng.uniform(0, 255, (height, width))
            if uniform
            else rng.normal(rng.uniform(60, 190), rng.uniform(15, 80), (height, width))
        )
        return _to_bytes(drawn)
    return _to_bytes(255 * _smooth_noise(rng, height, width, float(rng.uniform(0.5, 25))) ** rng.uniform(0.5, 2))


def empty(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One grey level, a ramp, or a scan whose gain was so low or so high that nothing is left of it."""
    height, width = _canvas(rng)
    kind = rng.integers(4)
    if kind == 0:
        return np.full((height, width), rng.integers(256), np.uint8)
    if kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
        ramp = np.cos(angle) * x + np.sin(angle) * y
        return _to_bytes(255 * (ramp - ramp.min()) / np.ptp(ramp))
    if kind == 2:
        return _to_bytes(scan * rng.uniform(0.01, 0.06) + rng.normal(0, 1.5, scan.shape))
    return _to_bytes(scan * rng.uniform(3, 8) + rng.uniform(120, 230))


def _write(rng: np.random.Generator, page: np.ndarray, ink: int, top: int, bottom: int, left: int, right: int) -> None:
    font, scale = int(rng.choice(_FONTS)), float(rng.uniform(0.35, 0.9))
    step = int(scale * rng.uniform(28, 48))
    for y in range(top + step, bottom, step):
        if rng.random() < 0.12:
            continue
        line = " ".join(rng.choice(_WORDS.split(), int(rng.integers(1, 14))))
        cv2.putText(page[:, :right], line, (left, y), font, scale, ink, 1, cv2.LINE_AA)


def report(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A page or a screen of text, at times with a small scan or a table in it."""
    height, width = _canvas(rng)
    height = max(height, 400)
    paper, ink = (
        (int(rng.integers(225, 256)), int(rng.integers(0, 70)))
        if rng.random() < 0.7
        else (int(rng.integers(0, 50)), 230)
    )
    page = np.full((height, width), paper, np.uint8)
    _write(rng, page, ink, int(rng.integers(0, 50)), height - 5, int(rng.integers(5, 50)), width - 5)
    if rng.random() < 0.3:
        for y in range(height // 3, height * 2 // 3, max(12, height // 20)):
            cv2.line(page, (20, y), (width - 20, y), ink, 1)
    if rng.random() < 0.4:
        side = int(width * rng.uniform(0.2, 0.45))
        small = cv2.resize(
            scan,
            (side, max(8, min(int(side * scan.shape[0] / scan.shape[1]), height // 2))),
            interpolation=cv2.INTER_AREA,
        )
        y, x = int(rng.integers(0, height - small.shape[0])), int(rng.integers(0, width - side))
        page[y : y + small.shape[0], x : x + side] = small
    return page


def photographed_screen(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A scan on a screen, photographed: tilted, with the room around it, moiré, glare and a camera's noise."""
    height, width = scan.shape
    pad_y, pad_x = (int(side * rng.uniform(0.02, 0.35)) for side in (height, width))
    screen = np.full((height + 2 * pad_y, width + 2 * pad_x), rng.uniform(5, 60), np.float32)
    screen[pad_y : pad_y + height, pad_x : pad_x + width] = scan
    h, w = screen.shape
    out_h, out_w = int(h * rng.uniform(1.0, 1.4)), int(w * rng.uniform(1.0, 1.4))
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    centre = np.array([(out_w - w) / 2, (out_h - h) / 2], np.float32)
    target = corners + centre + rng.uniform(-0.1, 0.1, (4, 2)).astype(np.float32) * np.array([w, h], np.float32)
    room = float(rng.uniform(20, 220))
    photo = cv2.warpPerspective(
        screen, cv2.getPerspectiveTransform(corners, target.astype(np.float32)), (out_w, out_h), borderValue=room
    )
    y, x = np.mgrid[0:out_h, 0:out_w].astype(np.float32)
    for _ in range(int(rng.integers(1, 3))):  # two lattices, of the screen and of the sensor, beat
        angle, period = rng.uniform(0, np.pi), rng.uniform(2.2, 14)
        photo *= 1 + rng.uniform(0.08, 0.35) * np.sin(
            2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / period + rng.uniform(0, 6)
        )
    cy, cx, reach = rng.uniform(0, out_h), rng.uniform(0, out_w), rng.uniform(0.15, 0.6) * max(out_h, out_w)
    photo += rng.uniform(0, 90) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * reach**2))
    photo = 255 * (np.clip(photo + rng.uniform(0, 40), 0, 255) / 255) ** rng.uniform(0.6, 1.2)
    photo = cv2.GaussianBlur(photo, (0, 0), float(rng.uniform(0.3, 1.6))) + rng.normal(
        0, rng.uniform(1, 9), photo.shape
    )
    return _to_bytes(photo)


def several_panels(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two to four views on one screen, side by side or one above the other, of one breast or of two."""
    second = scan[:, ::-1] if rng.random() < 0.3 else second
    height, width = scan.shape
    other = _to_bytes(cv2.resize(second, (width, height), interpolation=cv2.INTER_AREA) * rng.uniform(0.7, 1.3))
    gap, level = int(rng.integers(0, max(2, width // 15))), int(rng.integers(0, 60))
    kind = rng.integers(4)
    if kind <= 1:
        return np.hstack([scan, np.full((height, gap), level, np.uint8), other])
    if kind == 2:
        return np.vstack([scan, np.full((gap, width), level, np.uint8), other])
    row = np.hstack([scan, np.full((height, gap), level, np.uint8), other])
    return np.vstack([row, np.full((gap, row.shape[1]), level, np.uint8), row[:, ::-1]])


def m_mode(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One line of a scan over time, moving; at times below a B-mode picture."""
    height, width = scan.shape
    line = scan[:, int(rng.integers(width // 4, 3 * width // 4))].astype(np.float32)
    time = np.linspace(0, float(rng.uniform(2, 9)) * 2 * np.pi, int(width * rng.uniform(0.9, 1.6)))
    moved = rng.uniform(0.005, 0.06) * height * (np.sin(time) + 0.4 * np.sin(2 * time + rng.uniform(0, 6)))
    depth = (
        np.arange(height, dtype=np.float32)[:, None]
        + moved[None] * np.linspace(0, 1, height, dtype=np.float32)[:, None] * 2
    )
    trace = cv2.remap(
        line[:, None],
        np.zeros_like(depth, np.float32),
        depth.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    trace = _to_bytes(trace * rng.normal(1, rng.uniform(0.05, 0.25), trace.shape))
    if rng.random() < 0.4:
        small = cv2.resize(scan, (trace.shape[1], height // 2), interpolation=cv2.INTER_AREA)
        return np.vstack([small, trace])
    return trace


def spectral_doppler(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A spectrum of velocities over time about a baseline; at times below a B-mode picture."""
    height, width = int(rng.integers(150, 400)), int(rng.integers(350, 900))
    time = np.linspace(0, float(rng.uniform(2, 8)), width)
    phase = time % 1
    beat = np.exp(-phase * rng.uniform(2, 6)) * np.minimum(1, phase / 0.08) * rng.uniform(0.5, 0.9) + rng.uniform(
        0.02, 0.25
    )
    base = height * rng.uniform(0.55, 0.95)
    y = np.arange(height)[:, None]
    velocity = (base - y) / height
    filled = np.clip(1 - np.abs(velocity / beat[None] - rng.uniform(0.5, 0.8)) / rng.uniform(0.4, 0.6), 0, 1) * (
        velocity > 0
    )
    trace = filled * rng.uniform(120, 255) * rng.uniform(0.4, 1, filled.shape) + rng.uniform(0, 18) * rng.random(
        filled.shape
    )
    trace[int(base) : int(base) + 2] = 200
    trace = _to_bytes(trace)
    if rng.random() < 0.6:
        return np.vstack([cv2.resize(scan, (width, int(width * 0.5)), interpolation=cv2.INTER_AREA), trace])
    return trace


def elastography(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A stiffness map, as grey as this reader sees it, over a scan or beside one."""
    height, width = scan.shape
    stiffness = (255 * _smooth_noise(rng, height, width, float(rng.uniform(0.02, 0.12)) * width)).astype(np.uint8)
    mapped = cv2.cvtColor(cv2.applyColorMap(stiffness, cv2.COLORMAP_JET), cv2.COLOR_BGR2GRAY)
    y, x = int(height * rng.uniform(0.02, 0.2)), int(width * rng.uniform(0.02, 0.2))
    over = scan.copy()
    share = rng.uniform(0.5, 0.95)
    inside = np.s_[y : height - y, x : width - x]
    over[inside] = _to_bytes(share * mapped[inside] + (1 - share) * scan[inside].astype(np.float32))
    return over if rng.random() < 0.4 else np.hstack([scan, over][:: int(rng.choice([-1, 1]))])


def convex_probe(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Another organ's scan, by its shape: a fan, as a curved or a phased probe draws it."""
    size = int(rng.integers(300, 640))
    half, apex = rng.uniform(np.pi / 6, np.pi / 4), rng.uniform(0.0, 0.5)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    x = (x - size / 2) / size
    y = y / size + apex
    angle, radius = np.arctan2(x, y), np.hypot(x, y)
    nearest, furthest = apex + 0.03, apex + rng.uniform(0.85, 1.0)
    u = (angle / half + 1) / 2 * (scan.shape[1] - 1)
    v = (radius - nearest) / (furthest - nearest) * (scan.shape[0] - 1)
    fan = cv2.remap(
        scan,
        u.astype(np.float32),
        v.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    fan = _to_bytes(fan * rng.uniform(0.6, 1.2))
    margin = int(size * rng.uniform(0, 0.25))
    return np.pad(fan, ((0, 0), (margin, margin)))


def cross_section(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Ellipses in air, as CT, MRI and X-ray show a body."""
    height, width = _canvas(rng)
    body = np.full((height, width), rng.uniform(0, 25), np.float32)
    middle, half = (
        (width // 2, height // 2),
        (int(width * rng.uniform(0.3, 0.48)), int(height * rng.uniform(0.3, 0.48))),
    )
    shell = rng.uniform(140, 255)
    cv2.ellipse(body, middle, half, float(rng.uniform(-10, 10)), 0, 360, shell, -1)
    cv2.ellipse(
        body, middle, tuple(int(a * rng.uniform(0.8, 0.95)) for a in half), 0, 0, 360, float(rng.uniform(60, 150)), -1
    )
    for _ in range(int(rng.integers(2, 14))):
        place = tuple(int(m + rng.uniform(-0.6, 0.6) * a) for m, a in zip(middle, half, strict=True))
        axes = tuple(max(2, int(a * rng.uniform(0.04, 0.4))) for a in half)
        cv2.ellipse(body, place, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0, 255)), -1)
    blurred = cv2.GaussianBlur(body, (0, 0), float(rng.uniform(0.5, 4)))
    taken = blurred + rng.normal(0, rng.uniform(0.5, 10), blurred.shape)
    return _to_bytes(255 - taken if rng.random() < 0.2 else taken)


def photograph(rng: np.random.Generator, scan: np.ndarray, second: np.ndarray) -> np.ndarray:
    """A part of one of scikit-learn's two photographs, in grey."""
    images = _photographs()
    image = images[int(rng.integers(len(images)))]
    height, width = (int(side * rng.uniform(0.3, 1)) for side in image.shape)
    y, x = int(rng.integers(0, image.shape[0] - height + 1)), int(rng.integers(0, image.shape[1] - width + 1))
    part = image[y : y + height, x : x + width][:, :: int(rng.choice([-1, 1]))]
    return _to_bytes(255 * (part / 255) ** rng.uniform(0.5, 2))


@cache
def _photographs() -> tuple[np.ndarray, ...]:
    return tuple(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in load_sample_images().images)


# As in a sentence: "This picture looks like …".
OTHER_PICTURES: dict[str, Draw] = {
    "noise": noise,
    "an empty or saturated frame": empty,
    "a page of text": report,
    "a photograph of a screen": photographed_screen,
    "several views on one screen": several_panels,
    "M-mode": m_mode,
    "spectral Doppler": spectral_doppler,
    "elastography": elastography,
    "a scan of a curved probe": convex_probe,
    "CT, MRI or X-ray": cross_section,
    "a photograph": photograph,
}
