"""Takes the runs of one device from the queue, one after the other: python -m train.worker RUNS DEVICE"""

import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from train.jobs import device_of, environment_for, held, queue_of, runs_in, worker_lock

PATIENCE_S = 10  # for a worker that is just about to leave an empty queue


def work(runs: Path, device: str) -> None:
    """Train what waits for `device` until nothing does; nothing if another worker is at it."""
    lock = FileLock(worker_lock(device, runs))
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        return
    with lock:
        while waiting := queue_of(device, runs):
            # A run outlives a worker that was killed, and the device is its until it ends.
            if any(held(run / "lock") for run in runs_in(runs) if device_of(run) == device):
                time.sleep(1)
                continue
            _train(waiting[0], device)


def _train(run: Path, device: str) -> None:
    try:
        (run / "queued").rename(run / "starting")
    except FileNotFoundError:  # taken back while it waited
        return
    (run / "starting").touch()
    with (run / "log.txt").open("ab") as log:  # what it says it logs itself; this is for what it could not say
        subprocess.run(  # noqa: S603, no shell, and nothing in it but the run's own folder
            [sys.executable, "-m", "train", "fit", "--resume", str(run)],
            env=environment_for(device), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, check=False,
        )  # fmt: skip
    (run / "starting").unlink(missing_ok=True)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
