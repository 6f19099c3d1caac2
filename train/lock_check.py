"""Whether a process still holds a lock of the `filelock` package; the system frees it however that process ends."""

from pathlib import Path

from filelock import FileLock, Timeout

from rcdnet.safe_read import Unreadable, open_regular

try:
    import fcntl
except ModuleNotFoundError:  # on Windows
    fcntl = None  # type: ignore[assignment]


def is_locked(lock: Path) -> bool:
    """Whether a process holds it, asked with a shared lock, so that two who ask at once do not take each other for the holder.

    Windows has no shared lock for this: there the lock is taken for a moment.
    """
    if fcntl is None:
        if not lock.is_file():
            return False
        try:
            FileLock(lock).acquire(timeout=0).lock.release()
        except Timeout:
            return True
        return False
    try:
        with open_regular(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except Unreadable:
        return False
    except BlockingIOError:
        return True
    return False
