"""Whether a lock is held, asked as on Unix and as on Windows."""

import pytest
from filelock import FileLock

from train import lock_check


@pytest.mark.parametrize("windows", [False, True])
def test_a_lock_is_held_while_somebody_holds_it(windows, tmp_path, monkeypatch):
    if windows:
        monkeypatch.setattr(lock_check, "fcntl", None)
    lock = tmp_path / "lock"
    assert not lock_check.is_locked(lock)
    assert not lock.exists()
    with FileLock(lock):
        assert lock_check.is_locked(lock)
    lock.touch()
    assert not lock_check.is_locked(lock)
    with FileLock(lock, timeout=0):  # who asked left it free
        pass
