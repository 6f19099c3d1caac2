"""Data sets as downloaded, read into one kind of `Sample`.

breast    Pawłowska et al. 2024, doi:10.1038/s41597-024-02984-z (`train.data.breast_lesions_usg`)
busi      Al-Dhabyani et al. 2020, doi:10.1016/j.dib.2019.104863
busbra    Gómez-Flores et al. 2024, doi:10.1002/mp.16812
folder    images of one's own (`train.data.custom_dataset`)
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from rcdnet.errors import DatasetError
from train.data.breast_lesions_usg import IMAGES, read_breast
from train.data.csv_tables import read_table
from train.data.custom_dataset import read_folder
from train.data.folder_listing import class_folders, list_folder, require_class_folders, skipped_notes
from train.data.labels import LABELS
from train.data.patient_ids import parse_patient_ids
from train.data.sample import TITLES as TITLES
from train.data.sample import Sample, Say, ignore_message, is_phantom_folder, parse_label

# Left out of BUSI with its reason; near-duplicates and label conflicts are found by `train.data.audit` instead.
BUSI_EXCLUDED = {"malignant (11)": "shows an axilla, and a near-copy of it circulates under another number"} | {
    f"benign ({number})": "carries a Doppler overlay, which no malignant image has: colour would give the label away"
    for number in (6, 234, 240, 255, 261, 277, 323)
}
LICENCES = {
    "busbra": "BUS-BRA: CC BY 4.0; whoever passes on weights derived from it cites it.",
    "breast": "BrEaST: CC BY 4.0; whoever passes on weights derived from it cites it.",
    "busi": "BUSI: no licence stated by its authors; whoever passes on weights derived from it cites it.",
}
CITATIONS = {
    "busbra": "Gómez-Flores W, Gregorio-Calas MJ, Pereira WCA. Med Phys 2024;51:3110. doi:10.1002/mp.16812",
    "breast": "Pawłowska A, Ćwierz-Pieńkowska A, Domalik A, et al. Sci Data 2024;11:148. doi:10.1038/s41597-024-02984-z",
    "busi": "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Data in Brief 2020;28:104863. doi:10.1016/j.dib.2019.104863",
}

T = TypeVar("T")


def read_busi(folder: Path, say: Say = ignore_message) -> list[Sample]:
    """BUSI's images with the lesions' masks; those of normal breasts, where they are there, hold no lesion.

    Raises:
        DatasetError: an image has another name than BUSI's have, so it is somebody's own.
    """
    if is_phantom_folder(folder):
        raise DatasetError(f"{folder} holds drawn phantoms, not BUSI. Give them as folder={folder}.")
    samples = []
    folders = require_class_folders(folder)
    for name, place in folders.items():
        found = list_folder(place)
        for note in skipped_notes(found, folder):
            say(f"busi: {note}")
        masks: dict[str, list[Path]] = {}
        for path in found.pictures:
            if not _is_busis(path, place, name):
                raise DatasetError(
                    f"{path.relative_to(folder).as_posix()} is not called {name} (NUMBER).png, as BUSI's images are. Give images of your "
                    f"own as folder={folder}."
                )
            owner, is_mask, _ = path.stem.partition("_mask")
            masks.setdefault(owner, []).extend([path] if is_mask else [])
        samples += [
            Sample(f"busi/{path.stem}", "busi", path, LABELS[name], masks=tuple(masks[path.stem]))
            for path in found.pictures
            if "_mask" not in path.stem and path.stem not in BUSI_EXCLUDED
        ]
    return samples


def is_busi(folder: Path) -> bool:
    """Whether a folder with class folders is BUSI: its names alone, with masks. Somebody's own images would lose those that
    are left out of BUSI, and be published under its name."""
    if is_phantom_folder(folder):
        return False
    try:
        places = class_folders(folder)
        found = [(path, name) for name in places for path in list_folder(places[name]).pictures]
    except DatasetError:
        return False
    return any("_mask" in path.stem for path, _ in found) and all(_is_busis(p, places[name], name) for p, name in found)


def _is_busis(path: Path, place: Path, name: str) -> bool:
    return path.parent == place and bool(re.fullmatch(rf"{name} \(\d+\)(_mask(_\d+)?)?\.(?i:png)", path.name))


def read_busbra(folder: Path, say: Say = ignore_message) -> list[Sample]:
    """BUS-BRA's images with pathology, patient, official fold, BI-RADS category, scanner and lesion box."""
    folds = read_table(folder / "5-fold-cv.csv", ("ID", "kFold"))
    fold_of = {row["ID"]: _read(int, row, "kFold") for row in folds.rows}
    masks = {path.stem.replace("mask", "bus", 1): (path,) for path in (folder / "Masks").glob("*.png")}
    table = read_table(folder / "bus_data.csv", ("ID", "Case", "Pathology"))
    patients, patient_notes = parse_patient_ids([row["Case"] for row in table.rows])
    for sentence in (*table.notes, *folds.notes, *patient_notes):
        say(f"busbra: {sentence}")
    return [
        Sample(
            id=f"busbra/{row['ID']}",
            source="busbra",
            path=folder / "Images" / f"{row['ID']}.png",
            label=parse_label(row["Pathology"], row["ID"]),
            patient=f"busbra/{patient}" if patient else None,
            fold=fold_of.get(row["ID"]),
            masks=masks.get(row["ID"], ()),
            birads=_read(int, row, "BIRADS"),
            device=row.get("Device") or None,
            box=_read(_box, row, "BBOX"),
        )
        for row, patient in zip(table.rows, patients, strict=True)
    ]


LAYOUTS = {
    "busi": "folders benign, malignant and normal with PNG images, and NAME_mask.png beside each",
    "busbra": "bus_data.csv and 5-fold-cv.csv beside the folders Images and Masks",
    "breast": f"the table of clinical data beside the folder {IMAGES}",
    "folder": "folders benign and malignant (and normal) with images, or a CSV file with path,label[,patient][,mask]",
}
READERS: dict[str, Callable[[Path, Say], list[Sample]]] = {
    "busi": read_busi,
    "busbra": read_busbra,
    "breast": read_breast,
    "folder": read_folder,
}


def read_sources(data: Iterable[tuple[str, str]], say: Say = ignore_message) -> list[Sample]:
    """All samples of (reader, place) pairs, in the order given; `say` hears what was passed over or taken for something else.

    Raises:
        DatasetError: an unknown reader, an empty or wrongly laid out place, two sources or two images of one name.
    """
    samples: list[Sample] = []
    names: set[str] = set()
    paths: dict[str, Path] = {}
    for reader, place in data:
        if reader not in READERS:
            raise DatasetError(f"There is no reader for {reader!r}. The sources are {', '.join(READERS)}.")
        found = READERS[reader](Path(place), say)
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
                raise DatasetError(f"The name {ascii(sample.id)[1:-1]} is not valid text. Rename the file.") from None
            if sample.id in paths:
                raise DatasetError(
                    f"{sample.id} is there twice, as {paths[sample.id].name} and {sample.path.name}. Expected every image once: "
                    "rename one, or take its second row out of the table."
                )
            paths[sample.id] = sample.path
        samples += found
    if not samples:
        raise DatasetError(
            "No data was named. Give at least one, as --data busbra=DIR, busi=DIR, breast=DIR or folder=DIR."
        )
    return samples


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
