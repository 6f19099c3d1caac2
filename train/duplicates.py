"""Near-duplicate images, found by a perceptual hash and confirmed by correlation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# A pair is near-duplicate when both its perceptual hashes and its thumbnails are alike; the closer the thumbnails, the
# looser the hash. Calipers move bits of the hash, a crop by a few pixels costs correlation. Set by looking at the pairs
# of BUSI; just below 0.82, images of two BUS-BRA patients with different pathology begin to pass.
_ALIKE = ((12, 0.82), (20, 0.9))  # (hash bits apart at most, thumbnail correlation at least)
_THUMBNAIL_PX = 64
_BLOCK = 2048  # rows compared at a time, so that memory grows with the number of images and not with its square


@dataclass(frozen=True)
class Fingerprint:
    """What two copies of one image share. bits: perceptual hash, float32 (64,) of -1 and 1.

    thumbnail: float32 (4096,), mean 0 and length 1.
    """

    bits: np.ndarray
    thumbnail: np.ndarray


def fingerprint(image: np.ndarray) -> Fingerprint:
    """The fingerprint of a grey image, uint8 (H, W)."""
    import imagehash  # here, so that a machine without it can train on a split that is already written

    picture = Image.fromarray(image)
    bits = imagehash.phash(picture).hash.ravel().astype(np.float32) * 2 - 1
    thumbnail = np.asarray(picture.resize((_THUMBNAIL_PX, _THUMBNAIL_PX)), np.float32).ravel()
    thumbnail = thumbnail - thumbnail.mean()
    return Fingerprint(bits, thumbnail / (np.linalg.norm(thumbnail) + 1e-6))


def near_duplicate_pairs(first: Sequence[Fingerprint], second: Sequence[Fingerprint]) -> np.ndarray:
    """Index pairs int (P, 2) of one image of `first` and one of `second` that are near-copies of each other."""
    bits, thumbnails = (np.stack([getattr(f, name) for f in second]) for name in ("bits", "thumbnail"))
    pairs = []
    for start in range(0, len(first), _BLOCK):
        block = first[start : start + _BLOCK]
        apart = (bits.shape[1] - np.stack([f.bits for f in block]) @ bits.T) / 2
        correlation = np.stack([f.thumbnail for f in block]) @ thumbnails.T
        alike = np.any([(apart <= most) & (correlation >= least) for most, least in _ALIKE], axis=0)
        pairs.append(np.argwhere(alike) + np.array([start, 0]))
    return np.concatenate(pairs)


def near_duplicate_groups(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    """Group number int (N,) of each image; near-copies, and copies of copies, share one."""
    rows, columns = near_duplicate_pairs(fingerprints, fingerprints).T
    count = len(fingerprints)
    return connected_components(coo_matrix((np.ones(len(rows)), (rows, columns)), (count, count)), directed=False)[1]


def label_conflicts(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool (N,): true where near-duplicates of one group carry different labels."""
    conflicting = [group for group in np.unique(groups) if len(np.unique(labels[groups == group])) > 1]
    return np.isin(groups, conflicting)
