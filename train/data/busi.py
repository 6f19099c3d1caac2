"""BUSI: Al-Dhabyani et al. 2020, doi:10.1016/j.dib.2019.104863, as downloaded."""

import re
from pathlib import Path

from rcdnet.errors import DatasetError
from train.data.folder_listing import class_folders, list_folder, require_class_folders, skipped_notes
from train.data.labels import LABELS
from train.data.sample import Sample, Say, ignore_message, is_phantom_folder

LAYOUT = "folders benign, malignant and normal with PNG images, and NAME_mask.png beside each"
# Left out of BUSI with its reason; near-duplicates and label conflicts are found by `train.data.audit` instead.
BUSI_EXCLUDED = {"malignant (11)": "shows an axilla, and a near-copy of it circulates under another number"} | {
    f"benign ({number})": "carries a Doppler overlay, which no malignant image has: colour would give the label away"
    for number in (6, 234, 240, 255, 261, 277, 323)
}


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
