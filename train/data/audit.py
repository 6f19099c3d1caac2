"""What is wrong with a data set, found before any split: near-duplicates, images under two labels, burned-in marks."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from rcdnet.errors import DatasetError
from train.data.burned_in_marks import BurnedInMarks, find_burned_in_marks
from train.data.busi import BUSI_EXCLUDED
from train.data.duplicates import Fingerprint, fingerprint, near_duplicate_groups
from train.data.labels import NO_LESION
from train.data.load_images import iterate_parallel, load_scan
from train.data.sample import Sample
from train.data.scan_warnings import summarise_warnings


@dataclass(frozen=True)
class Finding:
    """One source of a data set, looked through.

    normal: images without a lesion.
    sizes: smallest, median and largest (height, width) by area. copies: ids of each near-duplicate group of two or more.
    conflicts: the groups among them under two labels. unreadable: a sentence for each file. remarks: what was warned of.
    """

    source: str
    benign: int
    malignant: int
    normal: int
    patients: int
    masks: int
    sizes: tuple[tuple[int, int], ...]
    copies: tuple[tuple[str, ...], ...]
    conflicts: tuple[tuple[str, ...], ...]
    text: tuple[str, ...]
    calipers: tuple[str, ...]
    unreadable: tuple[str, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Look:
    """What is kept of an image that was looked at; not its pixels, so that memory does not grow with their number."""

    shape: tuple[int, ...]
    fingerprint: Fingerprint
    marks: BurnedInMarks
    warnings: tuple[str, ...]


def audit(samples: Sequence[Sample]) -> list[Finding]:
    """Look through every source of `samples`; near-duplicates are looked for inside each source."""
    return [
        _audit_source(name, [s for s in samples if s.source == name]) for name in Counter(s.source for s in samples)
    ]


def summary(f: Finding) -> str:
    """A finding in sentences, for whoever is about to train on it."""
    parts = [
        f"{f.source}: {f.benign} benign and {f.malignant} malignant images"
        + (f" and {f.normal} without a lesion" if f.normal else "")
        + (f" of {f.patients} patients" if f.patients else ", patients unknown")
        + f", {f.masks} with lesion masks.",
        f"{sum(map(len, f.copies))} images are near-copies, in {len(f.copies)} groups that a split keeps together.",
    ]
    if f.conflicts:
        parts.append(f"{len(f.conflicts)} of the groups have two labels and are left out.")
    parts.append(f"Burned-in text on {len(f.text)}, calipers on {len(f.calipers)}.")
    if f.unreadable:
        parts.append(f"{len(f.unreadable)} cannot be read: {f.unreadable[0]}")
    return " ".join((*parts, *f.remarks))


def report_lines(f: Finding) -> list[str]:
    """A finding line by line, every image by its name."""
    sizes = ", ".join(f"{width} × {height}" for height, width in f.sizes)
    return [
        f"{f.source}: {f.benign} benign, {f.malignant} malignant{f', {f.normal} without a lesion' if f.normal else ''}; "
        f"{f.patients} patients known; {f.masks} with masks",
        f"  sizes (smallest, median, largest by area): {sizes}",
        f"  near-duplicates: {sum(map(len, f.copies))} images in {len(f.copies)} groups",
        *(f"    {'TWO LABELS  ' if group in f.conflicts else ''}{', '.join(group)}" for group in f.copies),
        f"  burned-in text found on {len(f.text)} images, calipers on {len(f.calipers)}",
        *(f"  left out by rule: {n}, because it {why}" for n, why in BUSI_EXCLUDED.items() if f.source == "busi"),
        *(f"  {remark}" for remark in f.remarks),
        f"  unreadable: {len(f.unreadable)}",
        *(f"    {sentence}" for sentence in f.unreadable),
    ]


def summaries(samples: Sequence[Sample]) -> tuple[str, ...]:
    """A paragraph for each source of a run's data, looked through again only when a file has changed."""
    return _summaries(tuple(samples), tuple(_changed(p) for s in samples for p in (s.path, *s.masks)))


@lru_cache(maxsize=8)
def _summaries(samples: tuple[Sample, ...], stamp: tuple[float, ...]) -> tuple[str, ...]:
    return tuple(map(summary, audit(samples)))


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _look(sample: Sample) -> _Look:
    scan = load_scan(sample)
    return _Look(scan.pixels.shape, fingerprint(scan.pixels), find_burned_in_marks(scan.pixels), scan.warnings)


def _audit_source(name: str, samples: Sequence[Sample]) -> Finding:
    kept: list[Sample] = []
    looks: list[_Look] = []
    unreadable: list[str] = []
    for sample, look in iterate_parallel(samples, _look):
        if isinstance(look, DatasetError):
            unreadable.append(str(look))
        else:
            kept.append(sample)
            looks.append(look)
    groups = near_duplicate_groups([look.fingerprint for look in looks]) if looks else np.array([], int)
    labels = np.array([sample.label for sample in kept])
    ids = np.array([sample.id for sample in kept], object)
    repeated = [group for group, count in Counter(groups.tolist()).items() if count > 1]
    by_area = sorted(((look.shape[0], look.shape[1]) for look in looks), key=lambda s: s[0] * s[1])
    return Finding(
        source=name,
        benign=int((labels == 0).sum()),
        malignant=int((labels == 1).sum()),
        normal=int((labels == NO_LESION).sum()),
        patients=len({sample.patient for sample in kept if sample.patient}),
        masks=sum(bool(sample.masks) for sample in kept if sample.label != NO_LESION),
        sizes=tuple(by_area[i] for i in (0, len(by_area) // 2, -1)) if by_area else (),
        copies=tuple(tuple(ids[groups == group]) for group in repeated),
        conflicts=tuple(
            tuple(ids[groups == group]) for group in repeated if len(np.unique(labels[groups == group])) > 1
        ),
        text=tuple(sample.id for sample, look in zip(kept, looks, strict=True) if look.marks.text),
        calipers=tuple(sample.id for sample, look in zip(kept, looks, strict=True) if look.marks.calipers),
        unreadable=tuple(unreadable),
        remarks=summarise_warnings(kept, [look.warnings for look in looks]),
    )
