"""Images of one's own: a folder with the classes as folders, or a table."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from rcdnet.errors import DatasetError
from rcdnet.scans.file_kinds import MASK, is_hidden_or_system, is_image_file, is_system_file
from train.data.csv_tables import SUFFIXES, TABLE, clean, is_missing_value, path_of, read_table
from train.data.folder_listing import (
    Listing,
    list_folder,
    list_names,
    printable,
    require_class_folders,
    skipped_notes,
)
from train.data.labels import LABELS
from train.data.patient_ids import parse_patient_ids
from train.data.public_datasets import TITLES
from train.data.sample import PHANTOM_SOURCE, Sample, Say, ignore_message, is_phantom_folder, parse_label

LAYOUT = "folders benign and malignant (and normal) with images, or a CSV file with path,label[,patient][,mask]"
_MASK_FOLDERS = {"mask", "masks"}


def source_name(place: Path) -> str:
    """What a folder or table of one's own is called as a source: its real name, that of a table without its suffix.

    >>> source_name(Path("clinic.2023")), source_name(Path("clinic.2023.csv"))
    ('clinic.2023', 'clinic.2023')
    """
    if is_phantom_folder(place):
        return PHANTOM_SOURCE
    real = place.resolve() if place.name in ("", "..") else place
    return real.stem if _is_table(real) else real.name


def read_folder(place: Path, say: Say = ignore_message) -> list[Sample]:
    """A folder with `benign/`, `malignant/` and maybe `normal/`, searched to any depth, or a CSV with `path,label[,patient][,mask]`.

    Masks lie in the folder beside their image, as NAME_mask; paths in the CSV are relative to it. The source is named after the
    folder or file.

    Raises:
        DatasetError: a mask without its image, which would else be taken for one; or as `train.data.dataset_readers.read_sources`.
    """
    name = source_name(place)
    if set(name.split("+")) <= TITLES.keys():  # an external test on both has both names
        public = " and ".join(TITLES[part] for part in name.split("+"))
        raise DatasetError(
            f"Your own folder or table cannot be called {name}: that name is kept for {public}. Rename {place}."
        )
    if not name or any(unicodedata.category(letter) in ("Cc", "Cf") for letter in name):
        raise DatasetError(f"{str(place)!a} has no name that can be shown. Rename it, or put it into a folder.")
    return _of_table(place, name, say) if _is_table(place) else _of_folders(place, name, say)


def _is_table(place: Path) -> bool:
    return not place.is_dir() and (place.is_file() or place.suffix.lower() in SUFFIXES)


def _of_folders(place: Path, name: str, say: Say) -> list[Sample]:
    samples = []
    folders = require_class_folders(place)
    for class_name, folder in folders.items():
        found = list_folder(folder)
        for note in skipped_notes(found, place):
            say(f"{name}: {note}")
        for path, masks in _images_and_masks(found.pictures, place).items():
            inside = _composed(path.relative_to(place))
            samples.append(Sample(f"{name}/{inside}", name, path, LABELS[class_name], masks=tuple(masks)))
    beside = [
        entry for entry in list_names(place) if place / entry not in folders.values() and not is_hidden_or_system(entry)
    ]
    if more := [entry for entry in beside if (place / entry).is_dir() or is_image_file(place / entry)]:
        *first, last = folders
        say(
            f"{name}: skipped what lies next to the folders {', '.join(first)} and {last}: {', '.join(map(printable, more))}"
        )
    return samples


def _of_table(table: Path, name: str, say: Say) -> list[Sample]:
    if table.is_file() and table.suffix.lower() not in SUFFIXES:
        raise DatasetError(f"{table} is neither a folder nor a CSV file. Save a table as CSV in UTF-8.")
    found = read_table(table, TABLE[:2], own=True)
    patients, patient_notes = parse_patient_ids([row.get("patient", "") for row in found.rows])
    samples: list[Sample] = []
    litter: list[Path] = []
    for row, line, patient in zip(found.rows, found.lines, patients, strict=True):
        written, mask = clean(row["path"]), row.get("mask", "")
        if not written:
            raise DatasetError(f"Line {line} of {table.name} names no image. Give its path, or delete the row.")
        path = path_of(table.parent, row["path"])
        own = path.is_relative_to(table.parent) and not Path(written).is_absolute()
        inside = path.relative_to(table.parent) if own else path
        if any(map(is_system_file, inside.parts if own else (path.name,))):
            litter.append(path)
            continue
        samples.append(
            Sample(
                id=f"{name}/{_composed(inside)}",
                source=name,
                path=path,
                label=parse_label(row["label"], written),
                patient=f"{name}/{patient}" if patient else None,
                masks=() if is_missing_value(mask) else (path_of(table.parent, mask),),
            )
        )
    for note in (*found.notes, *patient_notes, *skipped_notes(Listing((), tuple(litter), ()), table.parent)):
        say(f"{name}: {note}")
    return samples


def _composed(path: Path) -> str:
    """With /, and letters in the form that Linux and Windows write, which is another than that of a Mac's disk."""
    return unicodedata.normalize("NFC", path.as_posix())


def _images_and_masks(pictures: Sequence[Path], place: Path) -> dict[Path, list[Path]]:
    """Every image among the pictures of a class with its masks."""
    owners = {path: MASK.fullmatch(path.stem) for path in pictures}
    masks_of: dict[Path, list[Path]] = {path: [] for path in pictures if not owners[path]}
    by_name: dict[tuple[Path, str], list[Path]] = {}
    for path in masks_of:
        by_name.setdefault((path.parent, path.stem), []).append(path)
    for path in pictures:
        named = path.relative_to(place).as_posix()
        if not _MASK_FOLDERS.isdisjoint(map(str.lower, path.relative_to(place).parts[1:-1])):
            raise DatasetError(
                f"{named} lies in a folder of masks. Put each mask beside its image, as NAME_mask.png, or name both in a table."
            )
        if not (found := owners[path]):
            continue
        images = by_name.get((path.parent, found[1]), [])
        if not images:
            raise DatasetError(
                f"{named} is named like the mask of an image called {found[1]}, but no such image is beside it. Name the mask after "
                "its image, as NAME_mask.png, or name both in a table."
            )
        if len(images) > 1:
            raise DatasetError(
                f"{named} may be the mask of {' or '.join(image.name for image in images)}. Rename or take out one of these images, or "
                "name both files in a table."
            )
        masks_of[images[0]].append(path)
    return masks_of
