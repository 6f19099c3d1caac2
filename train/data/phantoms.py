"""Synthetic B-mode pictures of a breast lesion, with mask and label, for demos and tests. No patient is in them.

A speckle field over skin, fat, gland and muscle; a lesion with its margin, inner echo and shadow or enhancement; the word
SYNTHETIC burned in. They show how the software works and say nothing about how well it does.
"""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from rcdnet.models.registry import CLASSES

HEIGHT_PX, WIDTH_PX = 440, 520


@dataclass(frozen=True)
class LesionParameters:
    """A lesion to draw. Lengths as shares of the picture's height, echo levels relative to gland (1.0).

    label: 0 benign-looking, 1 malignant-looking. half_width, half_height: of the ellipse. lobes: waves on its margin.
    spikes: height of the margin's spikes, as a share of the radius. echo: inside level. behind: level of the tissue
    behind it, below 1 a shadow, above 1 an enhancement. blur: softness of the margin.
    """

    label: int
    half_width: float
    half_height: float
    lobes: float
    spikes: float
    echo: float
    behind: float
    blur: float


SAMPLE_PHANTOMS = {
    "phantom-cyst": LesionParameters(0, 0.17, 0.12, lobes=0.0, spikes=0.0, echo=0.012, behind=1.7, blur=0.004),
    "phantom-oval-mass": LesionParameters(0, 0.21, 0.12, lobes=0.04, spikes=0.0, echo=0.2, behind=1.25, blur=0.006),
    "phantom-irregular-mass": LesionParameters(
        1, 0.12, 0.16, lobes=0.16, spikes=0.22, echo=0.12, behind=0.3, blur=0.014
    ),
}


@dataclass(frozen=True)
class Phantom:
    """image: uint8 (440, 520) grey. mask: bool, true inside the lesion. label: 0 benign-looking, 1 malignant-looking."""

    image: np.ndarray = field(repr=False)
    mask: np.ndarray = field(repr=False)
    label: int


def render_phantom(recipe: LesionParameters, seed: int) -> Phantom:
    """The same phantom for the same recipe and seed, on every machine."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT_PX, :WIDTH_PX].astype(np.float32)
    tissue = _tissue(rng, rows / HEIGHT_PX, columns / HEIGHT_PX)
    centre_y, centre_x = HEIGHT_PX * rng.uniform(0.42, 0.48), WIDTH_PX * rng.uniform(0.44, 0.56)
    y, x = (rows - centre_y) / HEIGHT_PX, (columns - centre_x) / HEIGHT_PX
    mask = np.hypot(x / recipe.half_width, y / recipe.half_height) < _margin(rng, recipe, np.arctan2(y, x))

    inside = _blurred(mask.astype(np.float32), recipe.blur)
    beam = _blurred(np.where(rows > centre_y, mask.any(axis=0)[None, :], False).astype(np.float32), 0.02) * (1 - inside)
    level = tissue * (1 - inside) + recipe.echo * inside
    level *= 1 + (recipe.behind - 1) * beam
    # Three looks compounded, each with fully developed (Rayleigh) speckle, wider than deep as the beam is; log compressed.
    looks = [np.hypot(_noise(rng, level.shape), _noise(rng, level.shape)) for _ in range(3)]
    envelope = level * np.mean(looks, axis=0) * np.exp(-0.9 * rows / HEIGHT_PX)
    decibel = 20 * np.log10(np.maximum(envelope, 1e-4))
    image = np.clip((decibel + 30) / 44 * 255, 0, 255).astype(np.uint8)
    cv2.putText(image, "SYNTHETIC", (10, HEIGHT_PX - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.55, 230, 1, cv2.LINE_AA)
    return Phantom(image, mask, recipe.label)


def random_lesion(label: int, rng: np.random.Generator) -> LesionParameters:
    """A lesion of the label, drawn from what is typical: benign oval, wide and smooth, malignant tall, lobed and spiculated."""
    if label == 0:
        return LesionParameters(
            0, rng.uniform(0.12, 0.22), rng.uniform(0.07, 0.12), lobes=rng.uniform(0, 0.05), spikes=0.0,
            echo=rng.uniform(0.01, 0.3), behind=rng.uniform(1.0, 1.7), blur=rng.uniform(0.003, 0.008),
        )  # fmt: skip
    return LesionParameters(
        1, rng.uniform(0.08, 0.14), rng.uniform(0.1, 0.18), lobes=rng.uniform(0.08, 0.18), spikes=rng.uniform(0.1, 0.3),
        echo=rng.uniform(0.05, 0.2), behind=rng.uniform(0.25, 0.8), blur=rng.uniform(0.008, 0.018),
    )  # fmt: skip


def write_dataset(folder: Path, count: int, *, seed: int = 0) -> None:
    """`count` benign and as many malignant phantoms with masks: data for a dry run, to give as folder=DIR."""
    rows = ["path,label,mask"]
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            rng = np.random.default_rng([seed, label, number])
            phantom = render_phantom(random_lesion(label, rng), seed=int(rng.integers(2**31)))
            Image.fromarray(phantom.image).save(folder / name / f"{name} ({number}).png")
            Image.fromarray(phantom.mask.astype(np.uint8) * 255).save(folder / name / f"{name} ({number})_mask.png")
            rows.append(f"{name}/{name} ({number}).png,{name},{name}/{name} ({number})_mask.png")
    (folder / "phantoms.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_samples(folder: Path) -> None:
    """Draw the three sample scans of the app as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, recipe) in enumerate(SAMPLE_PHANTOMS.items()):
        Image.fromarray(render_phantom(recipe, seed).image).save(folder / f"{name}.png", optimize=True)


def _tissue(rng: np.random.Generator, depth: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Echo level of skin, fat, gland and muscle, float (H, W), by depth."""
    wave = 0.02 * np.sin(across * rng.uniform(4, 6) + rng.uniform(0, 6)) + 0.012 * np.sin(across * 13)
    layers = depth + wave
    level = np.full(depth.shape, 0.55, np.float32)  # fat
    level[depth < 0.05] = 1.7  # skin
    level[layers > 0.2] = 1.0  # gland
    level[layers > 0.8] = 0.45  # muscle
    streaks = cv2.GaussianBlur(rng.standard_normal(depth.shape), (0, 0), 26, sigmaY=3)
    level *= 1 + 0.35 * (streaks / streaks.std()).clip(-2, 2)
    level[np.abs(layers - 0.8) < 0.008] = 1.9  # fascia
    return _blurred(level, 0.004)


def _margin(rng: np.random.Generator, recipe: LesionParameters, angle: np.ndarray) -> np.ndarray:
    """Radius of the margin at each angle, in units of the ellipse."""
    radius = np.ones_like(angle)
    for waves in (2, 3, 5):
        radius += recipe.lobes / waves * 2 * np.sin(waves * angle + rng.uniform(0, 2 * np.pi))
    spikes = np.abs(np.sin(6.5 * angle + rng.uniform(0, np.pi))) ** 6
    return radius + recipe.spikes * spikes


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 2.2, sigmaY=1.1)
    return noise / noise.std()


def _blurred(values: np.ndarray, share: float) -> np.ndarray:
    return cv2.GaussianBlur(values.astype(np.float32), (0, 0), share * HEIGHT_PX)
