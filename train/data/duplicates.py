"""Near-duplicate images, found by a perceptual hash and confirmed by correlation; mirrored and cropped copies too."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# A pair is near-duplicate when both its perceptual hashes and its thumbnails are alike; the closer the thumbnails, the
# looser the hash. Calipers move bits of the hash, a crop by a few pixels costs correlation. Set by looking at the pairs
# of BUSI; just below 0.82, images of two BUS-BRA patients with different pathology begin to pass.
# Each rule: hash bits apart at most, thumbnail correlation at least, correlation of its detail at least.
_ALIKE = ((12, 0.82, -1.0), (20, 0.9, -1.0))
# A mirrored or cropped view has more chances to match by accident, so it has to be closer, or to match in detail too: exact
# copies reach 0.85 and more, scans that are only shaded alike stay below 0.3.
_VIEW_ALIKE = ((12, 0.9, -1.0), (20, 0.94, -1.0), (20, 0.85, 0.5))
_DETAIL_PX = 3  # standard deviation of what is taken away from a thumbnail to leave its detail
_WHOLE_PX = 200
_THUMBNAIL_PX = 64
_BLOCK = 2048  # rows compared at a time, so that memory grows with the number of images and not with its square
# What a copy may have been made of: left, top, right, bottom of the original, as shares, and whether it is mirrored.
_VIEWS = (
    ((0.0, 0.0, 1.0, 1.0), False),
    ((0.0, 0.0, 1.0, 1.0), True),
    ((0.02, 0.02, 0.98, 0.98), False),
    ((0.04, 0.04, 0.96, 0.96), False),
    ((0.06, 0.06, 0.94, 0.94), False),
    ((0.08, 0.08, 0.92, 0.92), False),
    ((0.0, 0.08, 1.0, 1.0), False),
    ((0.0, 0.0, 1.0, 0.92), False),
    ((0.08, 0.0, 1.0, 1.0), False),
    ((0.0, 0.0, 0.92, 1.0), False),
)


@dataclass(frozen=True)
class Fingerprint:
    """What two copies of one image share, for each of its views, the whole image first.

    bits: perceptual hashes, float32 (V, 64) of -1 and 1. thumbnails, details: float32 (V, 4096), each with mean 0 and length 1.
    """

    bits: np.ndarray
    thumbnails: np.ndarray
    details: np.ndarray


def fingerprint(image: np.ndarray) -> Fingerprint:
    """The fingerprint of a grey image, uint8 (H, W)."""
    import imagehash  # here, so that a machine without it can train on a split that is already written

    # Views are then cut from few pixels
    whole = Image.fromarray(image).resize((_WHOLE_PX, _WHOLE_PX), Image.Resampling.BOX)
    bits, thumbnails, details = [], [], []
    for (left, top, right, bottom), mirrored in _VIEWS:
        view = whole.crop((left * _WHOLE_PX, top * _WHOLE_PX, right * _WHOLE_PX, bottom * _WHOLE_PX))
        if mirrored:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        bits.append(imagehash.phash(view).hash.ravel().astype(np.float32) * 2 - 1)
        thumbnail = np.asarray(view.resize((_THUMBNAIL_PX, _THUMBNAIL_PX)), np.float32)
        thumbnails.append(_unit(thumbnail))
        details.append(_unit(thumbnail - gaussian_filter(thumbnail, _DETAIL_PX)))
    return Fingerprint(np.stack(bits), np.stack(thumbnails), np.stack(details))


def _unit(picture: np.ndarray) -> np.ndarray:
    flat = picture.ravel() - picture.mean()
    return flat / (np.linalg.norm(flat) + 1e-6)


def near_duplicate_pairs(first: Sequence[Fingerprint], second: Sequence[Fingerprint]) -> np.ndarray:
    """Index pairs int (P, 2) of one image of `first` and one of `second` that are near-copies of each other.

    One of a pair may be mirrored, or cropped by up to 8 % all around, or by 8 % on one side; a copy that is both, or turned, or
    cropped otherwise, as by 5 % at the top alone, is found only where the whole images are alike enough.
    """
    found = []
    for view in range(len(_VIEWS)):
        found += [_alike(first, second, view), _alike(second, first, view)[:, ::-1]]
    return np.unique(np.concatenate(found), axis=0)


def _alike(viewed: Sequence[Fingerprint], whole: Sequence[Fingerprint], view: int) -> np.ndarray:
    """Index pairs int (P, 2) where that view of the one is the whole of the other."""
    rules = _VIEW_ALIKE if view else _ALIKE
    loosest = max(most for most, _, _ in rules)
    bits = np.stack([f.bits[0] for f in whole])
    pairs = []
    for start in range(0, len(viewed), _BLOCK):
        apart = (bits.shape[1] - np.stack([f.bits[view] for f in viewed[start : start + _BLOCK]]) @ bits.T) / 2
        for i, j in np.argwhere(apart <= loosest):  # few pairs pass the hash, so only theirs are correlated
            one, other = viewed[start + i], whole[j]
            correlation = one.thumbnails[view] @ other.thumbnails[0]
            if any(
                apart[i, j] <= most and correlation >= least and one.details[view] @ other.details[0] >= detail
                for most, least, detail in rules
            ):
                pairs.append((start + i, j))
    return np.array(pairs, int).reshape(-1, 2)


def near_duplicate_groups(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    """Group number int (N,) of each image; near-copies, and copies of copies, share one."""
    rows, columns = near_duplicate_pairs(fingerprints, fingerprints).T
    count = len(fingerprints)
    return connected_components(coo_matrix((np.ones(len(rows)), (rows, columns)), (count, count)), directed=False)[1]


def label_conflicts(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool (N,): true where near-duplicates of one group carry different labels."""
    conflicting = [group for group in np.unique(groups) if len(np.unique(labels[groups == group])) > 1]
    return np.isin(groups, conflicting)
