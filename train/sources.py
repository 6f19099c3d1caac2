"""Data sets as downloaded, read into one kind of `Sample`.

BUSI      Al-Dhabyani et al. 2020, doi:10.1016/j.dib.2019.104863
BUS-BRA   Gómez-Flores et al. 2024, doi:10.1002/mp.16812
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rcdnet.errors import DatasetError
from rcdnet.images import read_scan
from rcdnet.preprocessing import letterbox, prepare
from rcdnet.registry import CLASSES

# Left out of BUSI with its reason; near-duplicates and label conflicts are found by `train.audit` instead.
BUSI_EXCLUDED = {"malignant (11)": "shows an axilla, and a near-copy of it circulates under another number"}


@dataclass(frozen=True)
class Sample:
    """One labelled image on disk.

    id: unique over all sources, `source/file stem`.
    label: index into `CLASSES`.
    patient: id of the patient, where the source has one; images of one patient never part in a split.
    fold: official cross-validation fold, where the source has one.
    masks: lesion mask files, training supervision only; their union is the lesion.
    """

    id: str
    source: str
    path: Path
    label: int
    patient: str | None = None
    fold: int | None = None
    masks: tuple[Path, ...] = ()


def read_busi(folder: Path) -> list[Sample]:
    """BUSI's benign and malignant images; the normal ones hold no lesion and have no place in a two-class model."""
    samples = []
    for label, name in enumerate(CLASSES):
        for path in sorted(_existing(folder / name).glob("*.png")):
            if "_mask" in path.stem or path.stem in BUSI_EXCLUDED:
                continue
            masks = tuple(sorted(path.parent.glob(f"{path.stem}_mask*.png")))
            samples.append(Sample(f"busi/{path.stem}", "busi", path, label, masks=masks))
    return samples


def read_busbra(folder: Path) -> list[Sample]:
    """BUS-BRA's images with pathology, patient and official fold."""
    with (_existing(folder / "5-fold-cv.csv")).open(newline="") as file:
        folds = {row["ID"]: int(row["kFold"]) for row in csv.DictReader(file)}
    with (_existing(folder / "bus_data.csv")).open(newline="") as file:
        return [
            Sample(
                id=f"busbra/{row['ID']}",
                source="busbra",
                path=folder / "Images" / f"{row['ID']}.png",
                label=CLASSES.index(row["Pathology"]),
                patient=f"busbra/{row['Case']}",
                fold=folds[row["ID"]],
                masks=(folder / "Masks" / f"{row['ID'].replace('bus', 'mask', 1)}.png",),
            )
            for row in csv.DictReader(file)
        ]


READERS: dict[str, Callable[[Path], list[Sample]]] = {"busi": read_busi, "busbra": read_busbra}


def read_sources(folders: dict[str, Path]) -> list[Sample]:
    """All samples of the named sources, in the order given; `DatasetError` for an unknown name or an empty folder."""
    samples: list[Sample] = []
    for name, folder in folders.items():
        if name not in READERS:
            raise DatasetError(f"There is no reader for {name!r}. The sources are {', '.join(READERS)}.")
        found = READERS[name](folder)
        if not found:
            raise DatasetError(f"{folder} holds no labelled image of {name}. Expected the data set as downloaded.")
        samples += found
    return samples


def read_pixels(sample: Sample) -> np.ndarray:
    """The sample's grey image, uint8 (H, W), read exactly as an upload is."""
    return read_scan(sample.path.read_bytes()).pixels


def read_canvases(samples: list[Sample], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs uint8 (N, size, size) as `prepare` makes them, and lesion masks of 0 and 1 on the same pixels."""
    canvases = np.empty((len(samples), size, size), np.uint8)
    lesions = np.zeros((len(samples), size, size), np.uint8)
    for index, sample in enumerate(samples):
        canvases[index], frame = prepare(read_pixels(sample), size)
        for path in sample.masks:
            mask = _read_mask(path)
            if mask.shape != (frame.image_height, frame.image_width):
                raise DatasetError(
                    f"The mask {path.name} has {mask.shape[1]} × {mask.shape[0]} pixels, its image "
                    f"{frame.image_width} × {frame.image_height}. Leave the pair out or repair it."
                )
            lesions[index] |= letterbox(mask, frame, nearest=True) > 127
    return canvases, lesions


def _read_mask(path: Path) -> np.ndarray:
    """Grey uint8 (H, W); not `read_scan`, which refuses the one flat colour of an empty mask."""
    try:
        with Image.open(_existing(path)) as image:
            return np.asarray(image.convert("L"))
    except (OSError, SyntaxError) as error:
        raise DatasetError(f"The mask {path.name} is damaged ({error}). Leave the pair out or repair it.") from error


def _existing(path: Path) -> Path:
    if not path.exists():
        raise DatasetError(f"{path} does not exist. Expected the data set as downloaded; see train/sources.py.")
    return path
