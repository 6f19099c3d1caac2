"""Which files are pictures, which of them lesion masks, and what systems leave beside them."""

import re
import stat
from pathlib import Path

# Pictures by name, whether `rcdnet.scans.scan_and_mask.read_scan` takes them or says what to export: what is labelled is not passed over.
_PICTURES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif", ".heic",
    ".heif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".jls", ".jxl", ".dcm", ".dicom", ".ima", ".ppm", ".pgm", ".pbm", ".pnm", ".tga",
    ".ico", ".psd",
}  # fmt: skip
# How a picture begins that has no suffix, as a file from a PACS or an old Mac.
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*", b"GIF8")
# What Windows, macOS, Jupyter and storage boxes leave beside files, in small letters.
_LITTER = {
    "__macosx", "$recycle.bin", "system volume information", "lost+found", "@eadir", "#recycle", "@recycle", "@recently-snapshot",
    "#snapshot", "recycler", "recycled", "network trash folder", "temporary items", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db",
    "desktop.ini", "icon\r", "__pycache__", "thumbnails", "thumbs", ".ds_store", ".appledouble", ".thumbnails", ".ipynb_checkpoints",
}  # fmt: skip
MASK = re.compile(r"(.+?)[ _-]masks?(?![a-z]).*", re.IGNORECASE)  # the name of a mask, and in it that of its image


def is_hidden_or_system(name: str) -> bool:
    """Whether a file or folder of this name is hidden or the system's own."""
    return name.startswith(".") or is_system_file(name)


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name is the system's own; a hidden one may be meant, where a table names it.

    >>> [is_system_file(name) for name in ("._scan.png", "Thumbs.db", "@eaDir", "~$table.xlsx", ".images", "scan.png")]
    [True, True, True, True, False, False]
    """
    return name.casefold().startswith(("._", ".trash", "~$", "@__", "found.0")) or name.casefold() in _LITTER


def is_image_file(path: Path) -> bool:
    """By its suffix or, without one, by how it begins. A link counts by its name; a pipe or a device is never one."""
    try:
        kind = path.lstat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
            return False
        if path.suffix:
            return path.suffix.lower() in _PICTURES
        if not path.is_file():
            return False
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start.startswith(_BEGINNINGS) or start[128:] == b"DICM"
