"""What a person names on the command line: a home folder, a pattern, a folder of images, a place to write to."""

import os
import tempfile
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from rcdnet.errors import ImageError, OutputError
from rcdnet.scans.file_kinds import MASK, is_hidden_or_system, is_image_file


@dataclass(frozen=True)
class Images:
    """Images of a folder, sorted by name; passed_over: what else lies there, hidden and system files apart."""

    paths: tuple[Path, ...]
    passed_over: tuple[Path, ...]


def with_home(text: str) -> str:
    """A path with `~` as the home folder: shells leave it alone inside quotes and behind a `=`."""
    return os.path.expanduser(text)  # noqa: PTH111  Path's own raises for a user whom nobody knows


def expand_user_path(text: str) -> Path:
    """As `with_home`."""
    return Path(with_home(text))


def expand_pattern(text: str) -> list[str]:
    """Where a path or a pattern leads, sorted; as in Unix shells, a pattern that matches nothing stays itself.

    The shells of Windows hand patterns over, others do for what stands in quotes. What is there under the very name is no pattern.
    """
    path = with_home(text)
    if os.path.lexists(path) or not has_magic(path):
        return [path]
    return sorted(glob(path, recursive=True)) or [path]  # noqa: PTH207  Path's own takes no pattern from the root on


def images_in(folder: Path) -> Images:
    """The images of a folder, of those inside it none; a lesion mask beside its image is passed over.

    Raises:
        ImageError: there is none. OSError: the folder cannot be read.
    """
    entries = sorted(path for path in folder.iterdir() if not is_hidden_or_system(path.name))
    pictures = [path for path in entries if path.is_file() and is_image_file(path)]
    stems = {path.stem for path in pictures}
    paths = [path for path in pictures if not ((mask := MASK.fullmatch(path.stem)) and mask[1] in stems)]
    if not paths:
        inside = next((path for path in entries if path.is_dir()), None)
        hint = f" It has folders inside; give one of them, such as {inside}." if inside else ""
        raise ImageError(f"The folder holds no image: PNG, JPEG, BMP or TIFF is expected.{hint}")
    taken = set(paths)
    return Images(tuple(paths), tuple(path for path in entries if path not in taken))


def check_writable(folder: Path, *files: str) -> None:
    """Make sure, before any work, that files can be written into a folder, which need not be there yet and is not made.

    Raises:
        OutputError: it cannot be, or something else lies under the name of one of `files`.
    """
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    if not there.is_dir():
        raise OutputError(f"{there} is not a folder, so nothing can be written to {folder}. Give another place.")
    for path in (folder / name for name in files):
        if path.is_dir():
            raise OutputError(
                f"{path} is a folder, but a file must be written there. Remove it, or give another place."
            )
    try:
        with tempfile.TemporaryDirectory(prefix=".rcdnet-", dir=there):
            pass
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written to: {str(error.strerror).lower()}. Give another place, or get permission to write there."
        ) from error
