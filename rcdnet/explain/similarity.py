"""How alike two heatmaps of one scan are."""

from collections.abc import Mapping

import cv2
import numpy as np
from scipy.stats import spearmanr

TOP_FRACTION = 0.2  # share of the area
SIDE = 56  # pixels of the square that maps of different grids are brought to


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two maps, float (h, w) of any sizes, over the same square; nan where one is even everywhere."""
    a, b = _brought(first), _brought(second)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def top_fraction_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Share of one map's hottest fifth that is also the other's; nan where a map is empty.

    Of a map that is positive on less than a fifth, that much alone is hot, and the smaller of the two areas is shared or not
    (the overlap coefficient). Chance is the larger area's share of the scan: 0.2, or less where both are small.
    """
    hot = []
    for values in (_brought(first), _brought(second)):
        count = min(round(TOP_FRACTION * values.size), int((values > 0).sum()))
        hot.append(set(np.argsort(-values, kind="stable")[:count].tolist()))
    smaller = min(map(len, hot))
    return len(hot[0] & hot[1]) / smaller if smaller else float("nan")


def similarity_matrix(maps: Mapping[str, np.ndarray]) -> dict[tuple[str, str], tuple[float, float]]:
    """Rank correlation and overlap of the hottest fifth for every two named maps, both ways round."""
    names = list(maps)
    return {
        (a, b): (rank_correlation(maps[a], maps[b]), top_fraction_overlap(maps[a], maps[b]))
        for a in names
        for b in names
        if a != b
    }


def _brought(heat: np.ndarray) -> np.ndarray:
    return cv2.resize(heat.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).ravel()
