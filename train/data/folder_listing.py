"""What lies in a folder of images: every file is a picture, litter of a system that is counted, or named as something else."""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rcdnet.errors import DatasetError
from rcdnet.models.registry import CLASSES
from rcdnet.scans.file_kinds import is_hidden_or_system, is_image_file
from train.data.labels import LABELS

_NAMED = 5  # files or folders that a sentence names
_DEEP = 2  # folders below a place in which its class folders are looked for, to name them


@dataclass(frozen=True)
class Listing:
    """Files below a folder, in order. litter: hidden and system files and folders. others: what is neither that nor a picture."""

    pictures: tuple[Path, ...]
    litter: tuple[Path, ...]
    others: tuple[Path, ...]


def list_folder(folder: Path) -> Listing:
    """Everything below a folder, to any depth; litter is not looked into.

    Raises:
        DatasetError: a folder cannot be opened, or is a link, so that its images would be passed over.
    """
    pictures: list[Path] = []
    litter: list[Path] = []
    others: list[Path] = []
    for inside, folders, files in os.walk(folder, onerror=_cannot_open):
        here = Path(inside)
        litter += [here / name for name in (*folders, *files) if is_hidden_or_system(name)]
        folders[:] = [name for name in folders if not is_hidden_or_system(name)]
        if linked := sorted(name for name in folders if (here / name).is_symlink()):
            raise DatasetError(
                f"{(here / linked[0]).relative_to(folder.parent).as_posix()} is a link to a folder, whose images would be skipped. "
                "Put the folder itself there, or name its images in a table."
            )
        for name in files:
            if not is_hidden_or_system(name):
                (pictures if is_image_file(here / name) else others).append(here / name)
    return Listing(tuple(sorted(pictures)), tuple(sorted(litter)), tuple(sorted(others)))


def skipped_notes(listing: Listing, place: Path) -> list[str]:
    """A sentence each for the litter and for the other files that were passed over below `place`."""

    def names_of(paths: Sequence[Path]) -> str:
        names = ", ".join(printable(path.relative_to(place).as_posix()) for path in paths[:_NAMED])
        return names + (f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else "")

    found = []
    if count := len(listing.litter):
        many = "s" if count > 1 else ""
        found.append(f"skipped {count} hidden or system file{many} or folder{many}: {names_of(listing.litter)}")
    if count := len(listing.others):
        what = "files that are not images" if count > 1 else "file that is not an image"
        found.append(f"skipped {count} {what}: {names_of(listing.others)}")
    return found


def printable(name: str) -> str:
    """A name that may hold anything, as it can stand in a line of text."""
    return name if name.isprintable() else ascii(name)[1:-1]


def class_folders(place: Path) -> dict[str, Path]:
    """The folder of each of `LABELS` in a place, `Benign` as `benign`; one whose folder is not there is not in it.

    Raises:
        DatasetError: two folders are of one class, or the place cannot be opened.
    """
    found: dict[str, list[str]] = {}
    for name in _folders(place):
        found.setdefault(name.strip().casefold(), []).append(name)
    for name in LABELS:
        if len(found.get(name, [])) > 1:
            raise DatasetError(f"{place} has the folders {' and '.join(found[name])}. Put all {name} images into one.")
    return {name: place / found[name][0] for name in LABELS if name in found}


def require_class_folders(place: Path) -> dict[str, Path]:
    """As `class_folders`; those of both classes must be there.

    Raises:
        DatasetError: one is not; the sentence says what is there instead.
    """
    if not place.is_dir():
        raise DatasetError(f"{_no_such(place)} {suggest_path(place)}".rstrip())
    found = class_folders(place)
    if missing := [name for name in CLASSES if name not in found]:
        raise DatasetError(f"{_no_such(place / missing[0])} {_hint_inside(place, missing[0])}".rstrip())
    return found


def path_exists(path: Path) -> bool:
    """Whether a path exists; one that no file system takes does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def suggest_path(path: Path) -> str:
    """A question that names what may be meant by a path that is not there, empty where nothing is like it."""
    here = next((parent for parent in path.parents if parent.is_dir()), Path())
    rest = path.relative_to(here).parts
    names = [name for name in list_names(here, quiet=True) if not is_hidden_or_system(name) and name != rest[0]]
    # Where paths begin at another folder than the table's, or what was downloaded lies in a folder of its own.
    for place in (here, *list(here.absolute().parents)[:2], *(here / name for name in names)):
        for first in range(len(rest)):
            if path_exists(found := place.joinpath(*rest[first:])):
                return f"Is {found} meant?"
    alike = _alike(rest[0], names, 0.75)
    return f"Is {' or '.join(alike)} meant?" if alike else ""


def equivalent_name(folder: Path, name: str) -> str | None:
    """The entry of a folder that is written `name`, or, if it is the only one, in other Unicode form, other case or between spaces."""
    if path_exists(folder / name) or not folder.is_dir():
        return name

    def plain(text: str) -> str:
        return unicodedata.normalize("NFC", text).strip()

    for key in (plain, lambda text: plain(text).casefold()):
        if len(alike := [entry for entry in list_names(folder) if key(entry) == key(name)]) == 1:
            return alike[0]
    return None


def list_names(folder: Path, *, quiet: bool = False) -> list[str]:
    """The names of all that lies in a folder, in order; `DatasetError` where it cannot be opened, unless `quiet`."""
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError as error:
        if quiet:
            return []
        _cannot_open(error)
        raise


def _no_such(path: Path) -> str:
    return f"{path} does not exist. Expected the data set as it was downloaded, nothing moved or renamed."


def _hint_inside(place: Path, missing: str) -> str:
    """Where the class folders may be instead."""
    if outer := _places_below(place):
        return f"The folders {' and '.join(CLASSES)} are in {' and in '.join(map(str, outer))}: give that place."
    if place.name.strip().casefold() in CLASSES:
        return f"Give {place.parent}, which holds the folder {place.name}."
    names = [name for name in _folders(place) if not is_hidden_or_system(name)]
    if alike := _alike(missing, names, 0.6):
        return f"Is {alike[0]} meant? Rename it."
    if names:
        return f"{place} has the folders {', '.join(names[:_NAMED])}."
    return f"{place} has no folders. Put the images into folders {' and '.join(CLASSES)}, or name them in a table."


def _alike(name: str, names: Sequence[str], least: float) -> list[str]:
    """Up to three names like this one, whatever their case."""
    written = {other.strip().casefold(): other for other in names}
    return [written[other] for other in get_close_matches(name.casefold(), written, 3, least)]


def _places_below(place: Path) -> list[Path]:
    found, level = [], [place]
    for _ in range(_DEEP):
        level = [
            folder / name for folder in level for name in _folders(folder, quiet=True) if not is_hidden_or_system(name)
        ]
        found += [folder for folder in level if class_folders(folder).keys() >= set(CLASSES)]
    return found[:_NAMED]


def _folders(place: Path, *, quiet: bool = False) -> list[str]:
    return [name for name in list_names(place, quiet=quiet) if (place / name).is_dir()]


def _cannot_open(error: OSError) -> None:
    raise DatasetError(
        f"{error.filename} cannot be opened ({error.strerror}), so its images would be skipped. Allow it to be read, or remove it."
    ) from error
