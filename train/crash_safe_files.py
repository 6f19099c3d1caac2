"""Writing so that a kill or a full disk leaves whole files behind, and reading what it left."""

import os
from pathlib import Path
from typing import BinaryIO

from rcdnet.safe_read import KB, MB, open_regular, read_regular

LINES_LIMIT = 64 * MB
_BLOCK = 64 * KB


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that at every instant the old one or the new one is there."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)  # whatever lies there, a pipe, which would be waited for, too
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # or a full disk would stay full
        raise


def append_line(path: Path, line: str) -> None:
    """Add a line, which ends in a newline, to a file; what a kill left of a line before it is cut off.

    Raises:
        Unreadable: something else than a file lies there. OSError: the disk is full, or may not be written to.
    """
    with open_regular(path, append=True) as file:
        whole = _whole_length(file)
        file.truncate(whole)
        try:
            file.write(line.encode())
            file.flush()
        except OSError:
            file.truncate(whole)
            raise


def read_complete_lines(path: Path, limit: int = LINES_LIMIT) -> list[str]:
    """The lines of a file that end in a newline; none where there is no file.

    Raises:
        Unreadable: something else than a file lies there, or one of more than `limit` bytes. UnicodeDecodeError: it is no text.
    """
    if not os.path.lexists(path):
        return []
    content = read_regular(path, limit)
    return content[: content.rfind(b"\n")].decode().split("\n") if b"\n" in content else []


def file_stamp(path: Path) -> tuple[int, int, int]:
    """Changes when the file does, or what lies in its place; zeros where nothing does."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_mtime_ns, status.st_size


def _whole_length(file: BinaryIO) -> int:
    """The length up to the last newline, looked for from the end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        if (at := file.read(end - start).rfind(b"\n")) >= 0:
            return start + at + 1
        end = start
    return 0
