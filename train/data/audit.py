"""What is wrong with a data set, found before any split: near-duplicates, images under two labels, burned-in marks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from train.data.decode import iterate_pixels
from train.data.duplicates import fingerprint, near_duplicate_groups
from train.data.marks import find_marks
from train.data.sources import Sample


@dataclass(frozen=True)
class Finding:
    """One source of a data set, looked through.

    sizes: smallest, median and largest (height, width) by area. copies: ids of each near-duplicate group of two or more.
    conflicts: the groups among them under two labels. unreadable: a sentence for each file.
    """

    source: str
    benign: int
    malignant: int
    patients: int
    masks: int
    sizes: tuple[tuple[int, int], ...]
    copies: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    text: tuple[str, ...]
    calipers: tuple[str, ...]
    unreadable: tuple[str, ...]


def audit(samples: Sequence[Sample]) -> list[Finding]:
    """Look through every source of `samples`; near-duplicates are looked for inside each source."""
    return [
        _audit_source(name, [s for s in samples if s.source == name]) for name in Counter(s.source for s in samples)
    ]


def summary(f: Finding) -> str:
    """A finding in sentences, for whoever is about to train on it."""
    parts = [
        f"{f.source}: {f.benign} benign and {f.malignant} malignant images"
        + (f" of {f.patients} patients" if f.patients else ", patients unknown")
        + f", {f.masks} with lesion masks.",
        f"{sum(map(len, f.copies))} images are near-copies, in {len(f.copies)} groups that a split keeps together.",
    ]
    if f.conflicts:
        parts.append(f"{len(f.conflicts)} of the groups stand under two labels and are left out.")
    parts.append(f"Burned-in text on {len(f.text)}, calipers on {len(f.calipers)}.")
    if f.unreadable:
        parts.append(f"{len(f.unreadable)} cannot be read: {f.unreadable[0]}")
    return " ".join(parts)


def summaries(samples: Sequence[Sample]) -> tuple[str, ...]:
    """A paragraph for each source of a run's data, looked through again only when a file has changed."""
    return _summaries(tuple(samples), tuple(_changed(p) for s in samples for p in (s.path, *s.masks)))


@lru_cache(maxsize=8)
def _summaries(samples: tuple[Sample, ...], stamp: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(map(summary, audit(samples)))


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _audit_source(name: str, samples: Sequence[Sample]) -> Finding:
    kept, prints, shapes, text, calipers, unreadable = [], [], [], [], [], []
    for sample, pixels in iterate_pixels(samples):
        if not isinstance(pixels, np.ndarray):
            unreadable.append(str(pixels))
            continue
        kept.append(sample)
        prints.append(fingerprint(pixels))
        shapes.append(pixels.shape)
        marks = find_marks(pixels)
        text += [sample.id] if marks.text else []
        calipers += [sample.id] if marks.calipers else []
    groups = near_duplicate_groups(prints) if prints else np.array([], int)
    labels = np.array([sample.label for sample in kept])
    ids = np.array([sample.id for sample in kept], object)
    repeated = [group for group, count in Counter(groups.tolist()).items() if count > 1]
    by_area = sorted(shapes, key=lambda s: s[0] * s[1])
    return Finding(
        source=name,
        benign=int((labels == 0).sum()),
        malignant=int((labels == 1).sum()),
        patients=len({sample.patient for sample in kept if sample.patient}),
        masks=sum(bool(sample.masks) for sample in kept),
        sizes=tuple(by_area[i] for i in (0, len(by_area) // 2, -1)) if by_area else (),
        copies=tuple(tuple(ids[groups == group]) for group in repeated),
        conflicts=tuple(
            tuple(ids[groups == group]) for group in repeated if len(np.unique(labels[groups == group])) > 1
        ),
        text=tuple(text),
        calipers=tuple(calipers),
        unreadable=tuple(unreadable),
    )
