"""Near-duplicate images and images under two labels, found before any split."""

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# A pair is near-duplicate when both its perceptual hashes and its thumbnails are alike; the closer the thumbnails, the
# looser the hash. Calipers move bits of the hash, a crop by a few pixels costs correlation. Set by looking at the pairs
# of BUSI; just below 0.82, images of two BUS-BRA patients with different pathology begin to pass.
_ALIKE = ((12, 0.82), (20, 0.9))  # (hash bits apart at most, thumbnail correlation at least)
_THUMBNAIL_PX = 64


def near_duplicate_groups(images: list[np.ndarray]) -> np.ndarray:
    """Group number int (N,) of each uint8 (H, W) image; near-copies, and copies of copies, share one."""
    pictures = [Image.fromarray(image) for image in images]
    hashes = np.stack([imagehash.phash(picture).hash.ravel() for picture in pictures]).astype(np.float32)
    signs = hashes * 2 - 1
    bits_apart = (signs.shape[1] - signs @ signs.T) / 2
    thumbnails = np.stack([np.asarray(p.resize((_THUMBNAIL_PX, _THUMBNAIL_PX)), np.float32).ravel() for p in pictures])
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True) + 1e-6
    correlation = thumbnails @ thumbnails.T
    alike = np.any([(bits_apart <= bits) & (correlation >= least) for bits, least in _ALIKE], axis=0)
    return connected_components(coo_matrix(alike), directed=False)[1]


def label_conflicts(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool (N,): true where near-duplicates of one group carry different labels."""
    conflicting = [group for group in np.unique(groups) if len(np.unique(labels[groups == group])) > 1]
    return np.isin(groups, conflicting)
