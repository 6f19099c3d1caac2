"""BrEaST-Lesions-USG: Pawłowska et al. 2024, doi:10.1038/s41597-024-02984-z, as downloaded from TCIA (doi:10.7937/9WKK-Q141)."""

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from rcdnet.errors import DatasetError
from rcdnet.safe_read import MB, Unreadable, in_bytes, read_regular
from train.data.folder_listing import suggest_path
from train.data.sample import Sample, Say, ignore_message, parse_label

IMAGES = "BrEaST-Lesions_USG-images_and_masks"
TABLE = "BrEaST-Lesions-USG-clinical-data-*.xlsx"
LAYOUT = f"the table of clinical data beside the folder {IMAGES}"
LIMIT = 16 * MB  # of the table, packed and unpacked; as published it has 40 KB
_COLUMNS = ("CaseID", "Image_filename", "Mask_tumor_filename", "BIRADS", "Classification")


def is_breast(names: set[str]) -> bool:
    """Whether a folder with entries of these names is BrEaST."""
    return IMAGES in names and any(Path(name).match(TABLE) for name in names)


def read_breast(folder: Path, say: Say = ignore_message) -> list[Sample]:
    """BrEaST's images, each of a patient of its own, with pathology or follow-up, the lesion's mask and the BI-RADS category.

    Its masks called `other` show ducts and implants, no lesion, and are not read.

    Raises:
        DatasetError: the table or the folder of images is not there, or a row of the table is not as published.
    """
    tables = sorted(folder.glob(TABLE))
    if not (folder / IMAGES).is_dir() or not tables:
        missing = folder if not folder.is_dir() else folder / (IMAGES if tables else TABLE)
        raise DatasetError(
            f"{missing} does not exist. Expected BrEaST as it was downloaded: its table of clinical data next to the folder {IMAGES}. "
            f"{suggest_path(folder) if missing == folder else ''}".rstrip()
        )
    if len(tables) > 1:
        raise DatasetError(f"{folder} holds {tables[0].name} and {tables[1].name}. Remove one of them.")
    return [_sample(folder / IMAGES, row) for row in _rows(tables[0])]


def _sample(images: Path, row: Mapping[str, Any]) -> Sample:
    path = images / str(row["Image_filename"])
    mask = row["Mask_tumor_filename"]
    category = str(row["BIRADS"])[:1]  # 4a, 4b and 4c are one to the other data sets
    return Sample(
        id=f"breast/{path.stem}",
        source="breast",
        path=path,
        label=parse_label(str(row["Classification"]), path.name),
        patient=f"breast/{row['CaseID']}",
        masks=(images / str(mask),) if mask else (),
        birads=int(category) if category in "2345" else None,
    )


def _rows(table: Path) -> list[dict[str, Any]]:
    import openpyxl  # here, so that a machine without it can train on other data

    try:
        content = BytesIO(read_regular(table, LIMIT))
        with zipfile.ZipFile(content) as parts:
            if sum(part.file_size for part in parts.infolist()) > LIMIT:
                raise Unreadable(f"it unpacks to more than {in_bytes(LIMIT)}")
        book = openpyxl.load_workbook(content, read_only=True, data_only=True)
        header, *rows = [row for row in book.worksheets[0].iter_rows(values_only=True) if any(row)]
        found = [dict(zip(map(str, header), row, strict=True)) for row in rows]
    except Exception as error:  # openpyxl's have no common root
        raise DatasetError(
            f"{table.name} cannot be read ({error}). Expected the table as it was downloaded; download it again."
        ) from error
    if missing := [name for name in _COLUMNS if name not in header]:
        raise DatasetError(f"{table.name} has no column {', '.join(missing)}. Expected the table as it was downloaded.")
    if bad := [row["CaseID"] for row in found if not row["Image_filename"] or not row["Classification"]]:
        raise DatasetError(f"Case {bad[0]} of {table.name} has no image or no class. Download the table again.")
    return found
