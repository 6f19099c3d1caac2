"""Who trains and who validates: by patient and by near-duplicate group, seeded, written to a file."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from train.audit import label_conflicts, near_duplicate_groups
from train.sources import Sample, read_pixels


@dataclass(frozen=True)
class Split:
    """Sample ids on each side. `conflicts` are near-duplicates under two labels, left out of both.

    groups: group number of every sample id; a group never has members on both sides.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    conflicts: tuple[str, ...]
    groups: dict[str, int]
    rule: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> "Split":
        data = json.loads(text)
        sides = {side: tuple(data[side]) for side in ("train", "validation", "conflicts")}
        return Split(**sides, groups=data["groups"], rule=data["rule"])

    @property
    def digest(self) -> str:
        """SHA-256 over which id is on which side."""
        return sha256(json.dumps([self.train, self.validation, self.conflicts]).encode()).hexdigest()


def make_split(samples: list[Sample], *, fold: int, seed: int = 0) -> Split:
    """Validation is official fold `fold` where a source has folds, and a grouped, stratified fifth where it has none."""
    labels = np.array([sample.label for sample in samples])
    groups = _groups(samples)
    conflict = label_conflicts(groups, labels)
    validation = np.array([sample.fold == fold for sample in samples])
    # A near-copy of a validation image goes to validation too, whatever its own fold says.
    unfolded = np.array([sample.fold is None for sample in samples]) & ~conflict
    if unfolded.any():
        rows = np.flatnonzero(unfolded)
        folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=seed)
        validation[rows[next(folds.split(rows, labels[rows], groups[rows]))[1]]] = True
    validation = np.isin(groups, groups[validation])
    ids = np.array([sample.id for sample in samples])
    return Split(
        train=tuple(map(str, ids[~validation & ~conflict])),
        validation=tuple(map(str, ids[validation & ~conflict])),
        conflicts=tuple(map(str, ids[conflict])),
        groups={sample.id: int(group) for sample, group in zip(samples, groups, strict=True)},
        rule=f"official fold {fold} of BUS-BRA and one fifth of BUSI validate; patients and near-duplicates stay "
        f"together; images under two labels left out; seed {seed}",
    )


def _groups(samples: list[Sample]) -> np.ndarray:
    """Near-duplicate groups, merged with patients where they are known."""
    groups = near_duplicate_groups([read_pixels(sample) for sample in samples])
    first_of_patient: dict[str, int] = {}
    for index, sample in enumerate(samples):
        if sample.patient is not None:
            first = first_of_patient.setdefault(sample.patient, index)
            groups[groups == groups[index]] = groups[first]
    return groups
