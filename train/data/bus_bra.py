"""BUS-BRA: Gómez-Flores et al. 2024, doi:10.1002/mp.16812, as downloaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rcdnet.errors import DatasetError
from train.data.csv_tables import read_table
from train.data.patient_ids import parse_patient_ids
from train.data.sample import Sample, Say, ignore_message, parse_label

LAYOUT = "bus_data.csv and 5-fold-cv.csv beside the folders Images and Masks"
T = TypeVar("T")


def is_busbra(names: set[str]) -> bool:
    """Whether a folder with entries of these names is BUS-BRA."""
    return {"bus_data.csv", "5-fold-cv.csv", "Images"} <= names


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
