"""Where the data of runs started from the page may lie: below one folder, and nowhere else.

The folder is `data` beside the app, or what the environment variable RCDNET_DATA says.
"""

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rcdnet.errors import ConfigError, DatasetError
from rcdnet.models.registry import CLASSES
from rcdnet.path_arguments import expand_user_path
from rcdnet.scans.file_kinds import is_hidden_or_system
from train.data.busi import is_busi
from train.data.csv_tables import SUFFIXES, is_table
from train.data.dataset_readers import READERS, read_sources
from train.data.folder_listing import class_folders
from train.data.phantoms import write_dataset
from train.data.public_datasets import TITLES
from train.data.sample import Sample, Say, ignore_message, is_phantom_folder
from train.folders import HOME

VARIABLE = "RCDNET_DATA"
DEPTH = 3  # folders below the root that are looked into
PHANTOMS = "phantoms"
PHANTOMS_EACH = 40


@dataclass(frozen=True)
class DatasetLocation:
    """A data set found below the root. source: who reads it. path: relative to the root, with /."""

    source: str
    path: str

    @property
    def title(self) -> str:
        return f"{self.path} ({TITLES.get(self.source, 'labelled images')})"


def data_root() -> Path:
    """The configured folder, `~` as the home folder, resolved; it may not be there."""
    return _resolved(expand_user_path(os.environ.get(VARIABLE) or str(HOME / "data")))


def find_datasets(root: Path) -> list[DatasetLocation]:
    """Data sets below the root by their layout; links are not followed, and what cannot be read is passed over."""
    found: list[DatasetLocation] = []

    def look(folder: Path, depth: int) -> None:
        try:
            names = {
                entry.name: entry
                for entry in os.scandir(folder)
                if not entry.is_symlink() and not is_hidden_or_system(entry.name)
            }
            classes = {name: place.name for name, place in class_folders(folder).items()}
        except (OSError, DatasetError):
            return
        relative = folder.relative_to(root).as_posix()
        if source := next(
            (s for s, reader in READERS.items() if reader.recognises and reader.recognises(set(names))), ""
        ):
            found.append(DatasetLocation(source, relative))
            return
        if classes.keys() >= set(CLASSES) and set(classes.values()) <= names.keys():
            public = is_busi(folder)
            if not is_phantom_folder(folder):  # phantoms are offered by their table alone
                found.append(DatasetLocation("busi" if public else "folder", relative))
            if public:
                return
        else:
            for entry in names.values():
                if entry.is_dir() and depth < DEPTH:
                    look(Path(entry.path), depth + 1)
        # A table may know the patients of the very images that lie in class folders beside it.
        tables = [name for name in names if name.lower().endswith(SUFFIXES) and is_table(folder / name)]
        found.extend(DatasetLocation("folder", (folder / name).relative_to(root).as_posix()) for name in tables)

    if root.is_dir():
        look(root, 0)
    # A name that is no text could be shown nowhere.
    return sorted((p for p in found if p.path.isprintable()), key=lambda place: place.path)


def resolve_datasets(chosen: Iterable[DatasetLocation], root: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of source and absolute place for a run.

    Raises:
        ConfigError: a place leaves the root, by `..`, as an absolute path or through a link.
    """
    return tuple((place.source, str(_inside(root, place.path))) for place in chosen)


def load_samples(data: Sequence[tuple[str, str]], *roots: Path, say: Say = ignore_message) -> list[Sample]:
    """All samples of a run's data, once it is sure that every file lies below one of the roots; without any, wherever it lies.
    `say` hears what was passed over.

    Raises:
        ConfigError: a file leaves the roots. DatasetError: as `train.data.dataset_readers.read_sources`.
    """
    samples = read_sources(data, say)
    whole = [root.resolve() for root in roots]
    for sample in samples:
        for path in (sample.path, *sample.masks):
            if whole and not any(_leads_to(path).is_relative_to(root) for root in whole):
                raise ConfigError(f"{sample.id} points outside the data folder. Remove it, or copy the file there.")
    return samples


def phantoms(runs: Path) -> tuple[tuple[str, str], ...]:
    """Drawn scans for a dry run, made once, below the folder of the runs."""
    folder = runs / f".{PHANTOMS}"
    if not (folder / f"{PHANTOMS}.csv").exists():
        write_dataset(folder, PHANTOMS_EACH)
    return (("folder", str((folder / f"{PHANTOMS}.csv").resolve())),)


def _leads_to(path: Path) -> Path:
    """Where a file lies, or would; nowhere, as a relative path, if a link leads in a circle.

    Without `strict`, Python 3.13 gives a link in a circle back as if it were a file (python/cpython#109187).
    """
    try:
        return Path(os.path.realpath(path, strict=True))
    except OSError as error:
        return Path() if error.errno == errno.ELOOP else _resolved(path)


def _resolved(path: Path) -> Path:
    """`path.resolve()`, which before Python 3.13 raises for a link in a circle, as `os.path.realpath` does not."""
    return Path(os.path.realpath(path))


def _inside(root: Path, path: str) -> Path:
    place = _resolved(root / path)
    if not place.is_relative_to(root.resolve()):
        raise ConfigError(f"{path} is outside the data folder, {root}. Choose a place inside it.")
    if not place.exists():
        raise DatasetError(f"{path} no longer exists. Check the data folder, {root}.")
    return place
