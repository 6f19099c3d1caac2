"""Whether a heatmap lies where the lesion is: figures of a map against a mask or a box on the same pixels."""

from dataclasses import dataclass

import numpy as np

FIXED_THRESHOLD = 0.5  # of the map's own maximum, where it is cut for the overlap at a fixed threshold
THRESHOLDS = np.linspace(0.05, 0.95, 19)  # shares of the maximum that the best threshold is looked for among


@dataclass(frozen=True)
class Localisation:
    """A map against a lesion.

    pointing: the highest point lies inside (Zhang et al. 2018, doi:10.1007/s11263-017-1059-x). chance: of a random point doing
    so, the lesion's share of the area. energy: share of the map's sum that lies inside (Wang et al. 2020,
    doi:10.1109/CVPRW50498.2020.00020); ratio: energy over chance, 1 for an even map. iou, dice: of the map cut at half its
    maximum; best_iou, best_dice: at the cut that suits it best, which nobody knows beforehand.
    """

    pointing: bool
    chance: float
    energy: float
    ratio: float
    iou: float
    dice: float
    best_iou: float
    best_dice: float


def localise(heat: np.ndarray, lesion: np.ndarray) -> Localisation:
    """Figures of a map, float (H, W), zero or more, against a lesion, bool (H, W), that is neither empty nor everything.

    An empty map points nowhere and overlaps nothing.

    Raises:
        ValueError: shapes differ, or the lesion is empty.
    """
    if heat.shape != lesion.shape or not lesion.any():
        raise ValueError(f"a map of {heat.shape} against a lesion of {lesion.shape} with {int(lesion.sum())} pixels")
    chance, peak, total = float(lesion.mean()), float(heat.max()), float(heat.sum())
    if peak <= 0:
        return Localisation(False, chance, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    energy = float(heat[lesion].sum() / total)
    overlaps = [_overlap(heat >= cut * peak, lesion) for cut in THRESHOLDS]
    iou, dice = _overlap(heat >= FIXED_THRESHOLD * peak, lesion)
    return Localisation(
        pointing=bool(lesion[np.unravel_index(heat.argmax(), heat.shape)]),
        chance=chance,
        energy=energy,
        ratio=energy / chance,
        iou=iou,
        dice=dice,
        best_iou=max(iou for iou, _ in overlaps),
        best_dice=max(dice for _, dice in overlaps),
    )


def box_mask(shape: tuple[int, int], left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """A box in pixels, ends in any order, as a mask, bool (H, W); what lies outside the image is cut off."""
    (x0, x1), (y0, y1) = sorted((left, right)), sorted((top, bottom))
    mask = np.zeros(shape, bool)
    mask[max(0, round(y0)) : max(0, round(y1)), max(0, round(x0)) : max(0, round(x1))] = True
    return mask


def _overlap(found: np.ndarray, lesion: np.ndarray) -> tuple[float, float]:
    """Intersection over union, and Dice."""
    both = float((found & lesion).sum())
    sizes = float(found.sum() + lesion.sum())
    return both / (sizes - both), 2 * both / sizes
