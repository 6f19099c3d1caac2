"""Who trains and who validates: by patient and by near-duplicate group, seeded, written to a file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from rcdnet.errors import DatasetError
from rcdnet.models.registry import CLASSES
from rcdnet.safe_read import MB, Unreadable, parse_as, read_json
from train.crash_safe_files import write_atomic
from train.data.duplicates import Fingerprint, label_conflicts, near_duplicate_groups
from train.data.labels import NO_LESION
from train.data.sample import Sample

LIMIT = 64 * MB
MIN_GROUPS = 10  # patients or groups of near-copies of a class, below which a part of them says too little


class SplitSettings(Protocol):
    """What decides a split; `train.config.TrainConfig` says what each may be."""

    @property
    def split(self) -> str: ...
    @property
    def fold(self) -> int: ...
    @property
    def folds(self) -> int: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class Split:
    """Sample ids on each side. `conflicts` are near-duplicates under two labels, left out of both.

    groups: group number of every sample id; a group, as a patient, never has members on both sides.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    conflicts: tuple[str, ...]
    groups: dict[str, int]
    rule: str

    def write(self, path: Path) -> None:
        write_atomic(path, json.dumps(asdict(self), indent=1).encode())

    @staticmethod
    def read(path: Path) -> "Split":
        """The split in `path`; `DatasetError` if it holds none, for a run must not get another one silently."""
        try:
            split: Split = parse_as(Split, read_json(path, LIMIT))
            return split
        except Unreadable as error:
            raise DatasetError(f"{path} holds no valid split ({error}). Restore it, or begin a new run.") from error

    @property
    def digest(self) -> str:
        """SHA-256 over which id is on which side."""
        return sha256(json.dumps([self.train, self.validation, self.conflicts]).encode()).hexdigest()


def make_split(config: SplitSettings, samples: Sequence[Sample], fingerprints: Sequence[Fingerprint] | None) -> Split:
    """Divide samples as `config.split` says; `fingerprints` may be None before the images are read, as if none were near-copies.

    Raises:
        DatasetError: a side would lack a class, no source would validate with both, or the official fold is asked for and no
            source has one.
    """
    labels = np.array([sample.label for sample in samples])
    sources = np.array([sample.source for sample in samples])
    groups, conflict = group_samples(samples, fingerprints)
    usable = ~conflict
    validation = np.zeros(len(samples), bool)
    official = np.array([sample.fold is not None for sample in samples])
    name = _allowed(config, official, usable, labels, groups) if config.split == "auto" else config.split
    if name == "official":
        if not official.any():
            raise DatasetError("No source has official folds. Choose split 7:3 or k-fold, or add BUS-BRA.")
        validation = np.array([sample.fold == config.fold for sample in samples])
        if not validation.any():
            known = sorted({sample.fold for sample in samples if sample.fold is not None})
            raise DatasetError(
                f"No image is in official fold {config.fold}. The folds are {', '.join(map(str, known))}."
            )
        unfolded = _parts(usable & ~official, sources, labels, groups, config.folds, config.seed)
        validation |= unfolded == (config.fold - 1) % config.folds
    elif name == "k-fold":
        validation = _parts(usable, sources, labels, groups, config.folds, config.seed) == config.fold - 1
    elif name == "7:3":
        few = _smallest(usable, labels, groups) < MIN_GROUPS
        parts = _parts(usable, sources, labels, groups, 3 if few else 10, config.seed)
        validation = parts == 0 if few else (parts >= 0) & (parts < 3)
    # A near-copy of a validation image goes to validation too, whatever its own fold says.
    validation = np.isin(groups, groups[validation])
    ids = np.array([sample.id for sample in samples])
    sides = {"training": ~validation & usable} | ({"validation": validation & usable} if name != "all" else {})
    for side, rows in sides.items():
        for label, called in enumerate(CLASSES):
            if not (labels[rows] == label).any():
                raise DatasetError(f"No {called} image would be on the {side} side. Add some, or choose another split.")
    if name != "all":
        _check_measurable([samples[row] for row in np.flatnonzero(sides["validation"]).tolist()])
    return Split(
        train=tuple(map(str, ids[~validation & usable])),
        validation=tuple(map(str, ids[validation & usable])),
        conflicts=tuple(map(str, ids[conflict])),
        groups={sample.id: int(group) for sample, group in zip(samples, groups, strict=True)},
        rule=describe_split(config, name),
    )


def checked_split(split: Split, samples: Sequence[Sample], fingerprints: Sequence[Fingerprint]) -> Split:
    """A split that did not come from `make_split`, with the groups of these samples, once it is sure that it does not leak.

    Raises:
        DatasetError: an image, a patient or a near-copy is on both sides, the training side lacks a class, or no source
            validates with both.
    """
    side = dict.fromkeys(split.train, "training") | dict.fromkeys(split.validation, "validation")
    if len(side) < len(split.train) + len(split.validation):
        raise DatasetError("The split names images twice, or on both sides. Correct it, or let a new one be made.")
    seen: dict[int, tuple[str, str]] = {}
    groups = group_samples(samples, fingerprints)[0].tolist()
    for sample, group in zip(samples, groups, strict=True):
        if sample.id not in side:
            continue
        other, where = seen.setdefault(group, (sample.id, side[sample.id]))
        if where != side[sample.id]:
            raise DatasetError(
                f"The split has {sample.id} in {side[sample.id]} and {other}, of the same patient or a near-copy, in {where}. "
                "Correct it, or let a new one be made."
            )
    for label, name in enumerate(CLASSES):
        if not any(side.get(sample.id) == "training" and sample.label == label for sample in samples):
            raise DatasetError(
                f"The split has no {name} image on the training side. Correct it, or let a new one be made."
            )
    if split.validation:
        _check_measurable([sample for sample in samples if side.get(sample.id) == "validation"])
    by_id = {sample.id: group for sample, group in zip(samples, groups, strict=True)}
    return replace(split, rule=f"given: {split.rule}", groups=by_id)


def _check_measurable(validation: Sequence[Sample]) -> None:
    """Refuse what would fail after the last epoch: figures are of each source, and between two sources of one class each a network
    could tell the sources apart instead of the lesions."""
    seen = {(sample.source, sample.label) for sample in validation}
    if not any({(source, label) for label in range(len(CLASSES))} <= seen for source, _ in seen):
        raise DatasetError(
            "No source would have validation images of both classes. Put both classes into one folder or table, or add images."
        )


def _parts(
    rows: np.ndarray, sources: np.ndarray, labels: np.ndarray, groups: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """int (N,): which of `count` parts each of the `rows` (bool) belongs to, classes in proportion and groups whole; else -1.

    A source with enough of each class is divided by itself, the others together; and lesions by themselves, so that scans without
    one change nothing about them.
    """
    part = np.full(len(rows), -1)
    lesions = rows & (labels != NO_LESION)

    def divide(where: np.ndarray, classes: np.ndarray) -> None:
        index = np.flatnonzero(where)
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(index, classes[index], groups[index])
        for number, (_, held_out) in enumerate(folds):
            part[index[held_out]] = number

    enough = [
        source
        for source in np.unique(sources[lesions])
        if _smallest(lesions & (sources == source), labels, groups) >= count
    ]
    together = lesions & ~np.isin(sources, enough)
    # Too few by themselves, but not beside the others
    if together.any() and _smallest(together, labels, groups) < count:
        enough, together = [], lesions
    if lesions.any() and (smallest := _smallest(lesions, labels, groups)) < count:
        raise DatasetError(
            f"A class has {smallest} patients or groups of near-copies; at least {count} are needed to divide it in "
            f"{count}. Add images, or choose fewer folds."
        )
    for where in (*(lesions & (sources == source) for source in enough), together):
        if where.any():
            divide(where, labels)
    # A group that holds both a lesion and a scan without one is where its lesion is.
    placed = {int(group): int(part[row]) for row, group in enumerate(groups) if part[row] >= 0}
    empty = rows & (labels == NO_LESION)
    for row in np.flatnonzero(empty):
        part[row] = placed.get(int(groups[row]), -1)
    alone = empty & (part < 0)
    if len(np.unique(groups[alone])) >= count:
        divide(alone, np.zeros(len(rows), int))
    return part


def _smallest(rows: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> int:
    """How many groups the class that has the fewest has among `rows` (bool)."""
    return min(len(np.unique(groups[rows & (labels == label)])) for label in range(len(CLASSES)))


def _allowed(
    config: SplitSettings, official: np.ndarray, usable: np.ndarray, labels: np.ndarray, groups: np.ndarray
) -> str:
    """The split of a recipe that names none. Whoever asks for a certain fold gets folds, or hears that there are too few images."""
    rest = usable & ~official
    if official.any() and (not rest.any() or _smallest(rest, labels, groups) >= config.folds):
        return "official"
    return "7:3" if config.fold == 1 and _smallest(usable, labels, groups) < MIN_GROUPS else "k-fold"


def resolve_auto_split(config: SplitSettings, split: Split) -> str:
    """The name of the split that was made by these settings, where they left it to the data; else the one they name."""
    named = (name for name in ("official", "k-fold", "7:3") if describe_split(config, name) == split.rule)
    return next(named, config.split) if config.split == "auto" else config.split


def group_samples(
    samples: Sequence[Sample], fingerprints: Sequence[Fingerprint] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Group number int (N,) of each sample, and bool (N,): whether a near-copy of it has the other label.

    A group is one of near-copies, merged with others where they hold images of one patient.
    """
    copies = np.arange(len(samples)) if fingerprints is None else near_duplicate_groups(fingerprints)
    # By copies alone: a patient may well have a benign and a malignant lesion.
    conflict = label_conflicts(copies, np.array([sample.label for sample in samples]))
    groups = copies.copy()
    first_of_patient: dict[str, int] = {}
    for index, sample in enumerate(samples):
        if sample.patient is not None:
            first = first_of_patient.setdefault(sample.patient, index)
            groups[groups == groups[index]] = groups[first]
    return groups, conflict


def describe_split(config: SplitSettings, split: str = "") -> str:
    """The rule by which `make_split` divides, in words; of another split than the settings name, if asked."""
    sides = {
        "7:3": "three tenths validate, or a third where a class has few patients or groups",
        "official": f"official fold {config.fold} validates, and one of {config.folds} parts of every source without folds",
        "k-fold": f"part {config.fold} of {config.folds} validates",
        "all": "every image trains, none validates",
        "auto": "as the data allow",
    }[split or config.split]
    return f"{sides}; patients and near-duplicates stay together; near-duplicates under two labels left out; seed {config.seed}"
