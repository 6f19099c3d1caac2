"""Data sets as downloaded, read into one kind of `Sample`.

busi      Al-Dhabyani et al. 2020, doi:10.1016/j.dib.2019.104863
busbra    Gómez-Flores et al. 2024, doi:10.1002/mp.16812
folder    any folder with benign/ and malignant/ inside, masks as NAME_mask beside, or a CSV file with path,label[,patient][,mask]
"""

import csv
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rcdnet.errors import DatasetError
from rcdnet.registry import CLASSES

# Left out of BUSI with its reason; near-duplicates and label conflicts are found by `train.data.audit` instead.
BUSI_EXCLUDED = {"malignant (11)": "shows an axilla, and a near-copy of it circulates under another number"} | {
    f"benign ({number})": "carries a Doppler overlay, as no malignant image does: colour would give the label away"
    for number in (6, 234, 240, 255, 261, 277, 323)
}
TITLES = {"busbra": "BUS-BRA", "busi": "BUSI"}
LICENCES = {
    "busbra": "BUS-BRA: CC BY 4.0; whoever passes on weights derived from it cites it.",
    "busi": "BUSI: no licence stated by its authors; whoever passes on weights derived from it cites it.",
}
CITATIONS = {
    "busbra": "Gómez-Flores W, Gregorio-Calas MJ, Pereira WCA. Med Phys 2024;51:3110. doi:10.1002/mp.16812",
    "busi": "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Data in Brief 2020;28:104863. doi:10.1016/j.dib.2019.104863",
}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
_MASK = re.compile(r"(.+?)[ _-]masks?(?![a-z]).*", re.IGNORECASE)  # the name of a mask, and in it that of its image
_MASK_FOLDERS = {"mask", "masks"}


NO_LESION = -1  # the label of a scan of a breast in which there is none; it is no benign one

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """One labelled image on disk.

    id: unique over all sources, `source/file stem`.
    label: index into `CLASSES`, or `NO_LESION`.
    patient: id of the patient, where the source has one; images of one patient never part in a split.
    fold: official cross-validation fold, where the source has one.
    masks: lesion mask files, training supervision only; their union is the lesion.
    birads: the radiologist's category, 2 to 5. device: the scanner. box: x, y, width, height of the lesion in pixels.
    """

    id: str
    source: str
    path: Path
    label: int
    patient: str | None = None
    fold: int | None = None
    masks: tuple[Path, ...] = ()
    birads: int | None = None
    device: str | None = None
    box: tuple[int, int, int, int] | None = None


def read_busi(folder: Path) -> list[Sample]:
    """BUSI's benign and malignant images; the normal ones hold no lesion and have no place in a two-class model.

    Raises:
        DatasetError: an image has another name than BUSI's have, so it is somebody's own.
    """
    samples = []
    for label, name in enumerate(CLASSES):
        for path in sorted(_existing(folder / name).glob("*.png")):
            if not _is_busis(path):
                raise DatasetError(
                    f"{name}/{path.name} is not called {name} (NUMBER).png, as BUSI's images are. Give images of your own as "
                    f"folder={folder}."
                )
            if "_mask" in path.stem or path.stem in BUSI_EXCLUDED:
                continue
            masks = tuple(sorted(path.parent.glob(f"{path.stem}_mask*.png")))
            samples.append(Sample(f"busi/{path.stem}", "busi", path, label, masks=masks))
    return samples


def is_busi(folder: Path) -> bool:
    """Whether a folder with class folders is BUSI: its names alone, with masks. Somebody's own images would lose those that
    are left out of BUSI, and be published under its name."""
    paths = [path for name in CLASSES for path in (folder / name).glob("*.png")]
    return any("_mask" in path.stem for path in paths) and all(map(_is_busis, paths))


def _is_busis(path: Path) -> bool:
    return re.fullmatch(rf"{path.parent.name} \(\d+\)(_mask(_\d+)?)?", path.stem) is not None


def read_busbra(folder: Path) -> list[Sample]:
    """BUS-BRA's images with pathology, patient, official fold, BI-RADS category, scanner and lesion box."""
    folds = {row["ID"]: _read(int, row, "kFold") for row in _rows(folder / "5-fold-cv.csv", ("ID", "kFold"))}
    masks = {path.stem.replace("mask", "bus", 1): (path,) for path in (folder / "Masks").glob("*.png")}
    columns = ("ID", "Case", "Pathology")
    return [
        Sample(
            id=f"busbra/{row['ID']}",
            source="busbra",
            path=folder / "Images" / f"{row['ID']}.png",
            label=_label(row["Pathology"], row["ID"]),
            patient=f"busbra/{row['Case']}",
            fold=folds.get(row["ID"]),
            masks=masks.get(row["ID"], ()),
            birads=_read(int, row, "BIRADS"),
            device=row.get("Device") or None,
            box=_read(_box, row, "BBOX"),
        )
        for row in _rows(folder / "bus_data.csv", columns)
    ]


def read_folder(place: Path) -> list[Sample]:
    """A folder with `benign/` and `malignant/`, searched to any depth, or a CSV with `path,label[,patient][,mask]`.

    Masks lie in the folder beside their image, as NAME_mask; paths in the CSV are relative to it. The source is named after the
    folder or file.

    Raises:
        DatasetError: a mask without its image, which would else be taken for one; or as `read_sources`.
    """
    name = place.stem
    if name in TITLES:
        raise DatasetError(
            f"A folder or table of your own cannot be called {name}, for {TITLES[name]} is. Rename {place}."
        )
    if place.suffix.lower() == ".csv":
        return [
            Sample(
                id=f"{name}/{row['path']}",
                source=name,
                path=place.parent / row["path"],
                label=_label(row["label"], row["path"]),
                patient=f"{name}/{row['patient'].strip()}" if (row.get("patient") or "").strip() else None,
                masks=(place.parent / row["mask"],) if row.get("mask") else (),
            )
            for row in _rows(place, ("path", "label"), own=True)
        ]
    return [
        Sample(f"{name}/{path.relative_to(place).as_posix()}", name, path, label, masks=tuple(masks))
        for label, class_name in enumerate(CLASSES)
        for path, masks in _images_and_masks(_existing(place / class_name)).items()
    ]


def _images_and_masks(folder: Path) -> dict[Path, list[Path]]:
    """Every image below a folder with its masks."""
    below = sorted(folder.rglob("*"))
    files = [path for path in below if path.suffix.lower() in IMAGE_SUFFIXES]
    owners = {path: _MASK.fullmatch(path.stem) for path in files}
    masks_of: dict[Path, list[Path]] = {path: [] for path in files if not owners[path]}
    by_name = {(path.parent, path.stem): path for path in masks_of}
    if linked := [path for path in below if path.is_symlink() and path.is_dir()]:
        raise DatasetError(
            f"{linked[0].relative_to(folder.parent).as_posix()} is a link to a folder, whose images would be passed over. Put the folder "
            "itself there, or name its images in a table."
        )
    for path in files:
        named, owner = path.relative_to(folder.parent).as_posix(), None
        if not _MASK_FOLDERS.isdisjoint(map(str.lower, path.relative_to(folder).parts[:-1])):
            raise DatasetError(
                f"{named} lies in a folder of masks. Put each mask beside its image, as NAME_mask.png, or name both in a table."
            )
        if (found := owners[path]) and not (owner := by_name.get((path.parent, found[1]))):
            raise DatasetError(
                f"{named} is named like the mask of an image called {found[1]}, but no such image is beside it. Name the mask after "
                "its image, as NAME_mask.png, or name both in a table."
            )
        if owner:
            masks_of[owner].append(path)
    return masks_of


TABLE = ("path", "label", "patient", "mask")
LAYOUTS = {
    "busi": "folders benign and malignant with PNG images, and NAME_mask.png beside each",
    "busbra": "bus_data.csv and 5-fold-cv.csv beside the folders Images and Masks",
    "folder": "folders benign and malignant with images, or a CSV file with path,label[,patient][,mask]",
}
READERS: dict[str, Callable[[Path], list[Sample]]] = {"busi": read_busi, "busbra": read_busbra, "folder": read_folder}


def read_sources(data: Iterable[tuple[str, str]]) -> list[Sample]:
    """All samples of (reader, place) pairs, in the order given.

    Raises:
        DatasetError: an unknown reader, an empty or wrongly laid out place, two sources or two images of one name.
    """
    samples: list[Sample] = []
    names: set[str] = set()
    paths: dict[str, Path] = {}
    for reader, place in data:
        if reader not in READERS:
            raise DatasetError(f"There is no reader for {reader!r}. The sources are {', '.join(READERS)}.")
        found = READERS[reader](Path(place))
        if not found:
            raise DatasetError(f"{place} holds no labelled image. Expected {LAYOUTS[reader]}.")
        name = found[0].source
        if name in names:
            raise DatasetError(f"Two sources are named {name}. Rename the folder or file of one of them.")
        names.add(name)
        for sample in found:
            try:
                sample.id.encode()
            except UnicodeEncodeError:
                raise DatasetError(f"The name {ascii(sample.id)[1:-1]} is no text. Rename the file.") from None
            if sample.id in paths:
                raise DatasetError(
                    f"{sample.id} is there twice, as {paths[sample.id].name} and {sample.path.name}. Expected every image once: "
                    "rename one, or take its second row out of the table."
                )
            paths[sample.id] = sample.path
        samples += found
    if not samples:
        raise DatasetError("No data was named. Give at least one, as --data busbra=DIR, busi=DIR or folder=DIR.")
    return samples


def _label(text: str, name: str) -> int:
    word = text.strip().lower()
    if word not in CLASSES:
        raise DatasetError(f"{name} is labelled {text!r}; expected {' or '.join(CLASSES)}. Correct it or leave it out.")
    return CLASSES.index(word)


def _read(kind: Callable[[str], T], row: dict[str, str], column: str) -> T | None:
    """A cell as `kind`; None where it is empty. `DatasetError` if it is something else."""
    if not row.get(column):
        return None
    try:
        return kind(row[column])
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{row['ID']} has {row[column]!r} as its {column}. Correct it or leave it out.") from error


def _box(text: str) -> tuple[int, int, int, int]:
    x, y, width, height = (int(value) for value in json.loads(text))
    return x, y, width, height


def _rows(path: Path, columns: Iterable[str], *, own: bool = False) -> list[dict[str, str]]:
    """The rows of a table that has `columns`. Of one's `own` no other than `TABLE` may be there: a column of patients under another
    name, passed over, would let them lie on both sides of a split."""
    try:
        with _existing(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            if own:
                reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DatasetError(f"{path.name} is no table in UTF-8 ({error}). Save it as CSV in UTF-8.") from error
    if missing := [c for c in columns if c not in (reader.fieldnames or ())]:
        raise DatasetError(
            f"{path.name} has no column {', '.join(missing)}; it has {', '.join(reader.fieldnames or ())}."
        )
    names = [name for name in reader.fieldnames or () if name]
    if twice := [name for name in TABLE if own and names.count(name) > 1]:
        raise DatasetError(f"{path.name} has two columns named {twice[0]}. Take one of them out.")
    if others := [name for name in names if own and name not in TABLE]:
        raise DatasetError(
            f"{path.name} has the columns {', '.join(others)}, which are not read. Expected {', '.join(TABLE)}: rename them or take "
            "them out."
        )
    if any("\0" in value for row in rows for value in row.values() if isinstance(value, str)):
        raise DatasetError(f"{path.name} holds a zero byte. Save it as CSV in UTF-8.")
    return rows


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DatasetError(
            f"{path} does not exist. Expected the data set as it was downloaded, nothing moved or renamed."
        )
    return path
