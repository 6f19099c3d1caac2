"""Takes the runs of one device from the queue, one after the other: python -m train.runs.worker RUNS DEVICE"""

import os
import subprocess
import sys
import time
from pathlib import Path

from filelock import FileLock, Timeout

from rcdnet.errors import RcdnetError
from train.files import append_line
from train.fit.events import Epoch, Failed, Finished, Started, line_of, read_events
from train.runs.jobs import State, device_of, environment_for, queue_of, runs_in, state_of, worker_lock

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
            if any(_at_work(run) for run in runs_in(runs) if device_of(run) == device):
                time.sleep(1)
                continue
            _train(waiting[0], device)


def _at_work(run: Path) -> bool:
    try:
        return state_of(run) in (State.STARTING, State.RUNNING, State.STOPPING)
    except RcdnetError:  # its files cannot be read, so nothing trains there
        return False


def _train(run: Path, device: str) -> None:
    try:
        os.utime(run / "queued")  # the time it waited is no time of starting
        (run / "queued").rename(run / "starting")
    except FileNotFoundError:  # taken back while it waited
        return
    before = len(read_events(run / "events.jsonl"))
    said = (run / "log.txt").stat().st_size if (run / "log.txt").exists() else 0
    with (run / "log.txt").open("ab") as log:  # what it says it logs itself; this is for what it could not say
        done = subprocess.run(  # noqa: S603, no shell, and nothing in it but the run's own folder
            [sys.executable, "-m", "train", "fit", "--resume", str(run)],
            env=environment_for(device), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, check=False,
        )  # fmt: skip
    (run / "starting").unlink(missing_ok=True)
    if done.returncode > 0:
        _tell(run, before, said)


def _tell(run: Path, before: int, said: int) -> None:
    """Record why a run ended that could not do so itself; one that a signal ended is lost, and its state says so."""
    events = read_events(run / "events.jsonl")
    if any(isinstance(event, Finished) for event in events):  # somebody else saw it through
        return
    if events[before:] and not isinstance(events[-1], Started | Epoch):
        return
    lines = (run / "log.txt").read_bytes()[said:].decode(errors="replace").strip().splitlines()
    message = lines[-1] if lines else "It ended without a word. log.txt may say more."
    append_line(run / "events.jsonl", line_of(Failed(time.time(), "start", message)))


if __name__ == "__main__":
    if hasattr(os, "nice"):  # not on Windows
        os.nice(5)  # pages answer first, on a machine that does both
    work(Path(sys.argv[1]), sys.argv[2])
