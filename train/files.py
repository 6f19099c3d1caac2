"""Writing so that a kill or a full disk leaves whole files behind."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at every instant the old one or the new one is there."""
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # or a full disk would stay full
        raise


def append_line(path: Path, line: str) -> None:
    """Add a line, which ends in a newline, to a file; what a kill left of a line before it is cut off."""
    with path.open("ab+") as file:
        whole = _whole_length(file)
        file.truncate(whole)
        try:
            file.write(line.encode())
            file.flush()
        except OSError:
            file.truncate(whole)
            raise


def whole_lines(path: Path) -> list[str]:
    """The lines of a file that end in a newline; none where there is no file."""
    if not path.exists():
        return []
    content = path.read_bytes()
    return content[: content.rfind(b"\n")].decode().split("\n") if b"\n" in content else []


def _whole_length(file) -> int:
    file.seek(0)
    return file.read().rfind(b"\n") + 1
