"""What the data of a run was when it began, so that nothing goes on with other data under its name.

data.json, beside split.json: the digest of the split and, for each of its images, label, patient and digests of its files.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rcdnet.errors import DatasetError
from rcdnet.safe_read import MB, Unreadable, parse_as, read_json
from train.crash_safe_files import write_atomic
from train.data.load_images import Decoded
from train.data.splits import Split

MANIFEST_FILE = "data.json"
LIMIT = 128 * MB


@dataclass(frozen=True)
class _Image:
    """As `train.data.sample.Sample` has it. file, masks: as `Decoded.contents`."""

    label: int
    patient: str | None
    birads: int | None
    box: tuple[int, ...] | None
    file: str
    masks: str


@dataclass(frozen=True)
class _Record:
    """What the file holds. split: `Split.digest`. images: by id."""

    split: str
    images: dict[str, _Image]


_CALLED = {
    "label": "the label",
    "birads": "the BI-RADS category",
    "box": "the lesion box",
    "masks": "the mask",
    "file": "the file",
}


def write_manifest(run: Path, split: Split, decoded: Decoded) -> None:
    """Keep what the images are that a split trains and validates with."""
    images = {i: asdict(image) for i, image in _images(decoded, (*split.train, *split.validation)).items()}
    write_atomic(run / MANIFEST_FILE, json.dumps({"split": split.digest, "images": images}, indent=1).encode())


def verify_manifest(run: Path, split: Split, decoded: Decoded) -> None:
    """Refuse to go on with a run, or to evaluate it, on other data than it began with.

    Of a run of an earlier version, which kept no record, only that no patient is on both sides.

    Raises:
        DatasetError: it says what changed, of how many images and of which first.
    """
    changes = _both_sides(split, decoded)
    if (run / MANIFEST_FILE).exists():
        record = _read(run / MANIFEST_FILE)
        before = record.images
        now = _images(decoded, before)
        changes += [] if record.split == split.digest else ["split.json divides the images differently"]
        for name, called in _CALLED.items():
            changed = [i for i in now if getattr(before[i], name) != getattr(now[i], name)]
            changes += _said(called, changed)
        changes += _said("the patient", _regrouped(before, now))
    _refuse(run, changes)


def verify_files(run: Path, decoded: Decoded) -> None:
    """Refuse to look for a run's images among others where its own are no longer the files that it began with; raises as above."""
    if (run / MANIFEST_FILE).exists():
        before = _read(run / MANIFEST_FILE).images
        _refuse(run, _said("the file", [i for i, n in _images(decoded, before).items() if n.file != before[i].file]))


def _refuse(run: Path, changes: list[str]) -> None:
    if changes:
        raise DatasetError(
            f"The data does not fit the run {run.name} any more: {'; '.join(changes)}. Put it back as it was, or begin a new run "
            "with the data as it is now."
        )


def _said(called: str, changed: list[str]) -> list[str]:
    """A part of a sentence, none where nothing changed."""
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return [f"{called} of {changed[0]}{more}"] if changed else []


def _both_sides(split: Split, decoded: Decoded) -> list[str]:
    side = dict.fromkeys(split.train, "training") | dict.fromkeys(split.validation, "validation")
    first: dict[str, str] = {}
    crossing: dict[str, tuple[str, str]] = {}
    for sample in decoded.samples:
        if sample.patient and sample.id in side:
            other = first.setdefault(sample.patient, sample.id)
            if side[other] != side[sample.id]:
                crossing.setdefault(sample.patient, (other, sample.id))
    if not crossing:
        return []
    one, other = next(iter(crossing.values()))
    return [
        f"{len(crossing)} patient{'s are' if len(crossing) > 1 else ' is'} on both sides of its split, as {one} in {side[one]} and "
        f"{other} in {side[other]} are of the same patient"
    ]


def _regrouped(before: Mapping[str, _Image], now: Mapping[str, _Image]) -> list[str]:
    """Images that are with others now, whatever their patients are called."""
    old, new = (_first_of_patient({i: images[i].patient for i in now}) for images in (before, now))
    return [i for i in now if old[i] != new[i]]


def _first_of_patient(patients: Mapping[str, str | None]) -> dict[str, str | None]:
    first: dict[str, str] = {}
    return {i: first.setdefault(patient, i) if patient else None for i, patient in patients.items()}


def _images(decoded: Decoded, ids: Iterable[str]) -> dict[str, _Image]:
    wanted = set(ids)
    return {
        s.id: _Image(s.label, s.patient, s.birads, s.box, *contents)
        for s, contents in zip(decoded.samples, decoded.contents, strict=True)
        if s.id in wanted
    }


def _read(path: Path) -> _Record:
    try:
        record: _Record = parse_as(_Record, read_json(path, LIMIT))
    except Unreadable as error:
        raise DatasetError(
            f"{path} does not say what the data was ({error}). Restore it, or begin a new run."
        ) from error
    return record
