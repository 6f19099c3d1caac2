"""Takes the runs of one device from the queue, one after the other: python -m train.runs.worker RUNS DEVICE"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rcdnet.cpu_sharing import background_environment
from rcdnet.errors import RcdnetError
from rcdnet.safe_read import KB, read_tail
from train.crash_safe_files import append_line
from train.fit.events import Epoch, Failed, Finished, Started, line_of, read_events
from train.runs.jobs import worker_lock
from train.runs.run_on_device import environment_for
from train.runs.run_state import at_work_on, check_files, queue_of

PATIENCE_S = 10  # for a worker that is just about to leave an empty queue
TOLD_LIMIT = 64 * KB  # of what a process said, whose last line counts


def work(runs: Path, device: str) -> None:
    """Train what waits for `device` until nothing does; nothing if another worker is at it."""
    lock = FileLock(worker_lock(device, runs))
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        return
    passed: set[Path] = set()  # over, for they could not even be begun
    with lock:
        while waiting := [run for run in queue_of(device, runs) if run not in passed]:
            # A run outlives a worker that was killed, and the device is its until it ends.
            if at_work_on(device, runs):
                time.sleep(1)
                continue
            try:
                _train(waiting[0], device)
            except (RcdnetError, OSError) as reason:  # another's turn must not hang on this one's files
                passed.add(waiting[0])
                sys.stderr.write(f"{waiting[0].name}: {reason}\n")
                for name in ("queued", "starting"):
                    with suppress(OSError):
                        (waiting[0] / name).unlink()


def _train(run: Path, device: str) -> None:
    try:
        os.utime(run / "queued")  # the time it waited is no time of starting
        (run / "queued").rename(run / "starting")
    except FileNotFoundError:  # taken back while it waited
        return
    check_files(run)
    before = len(read_events(run / "events.jsonl"))
    environment = environment_for(device)
    if not (run / "last.safetensors").exists():  # one that goes on keeps the threads that it was begun with
        environment = background_environment(environment)
    logged = (run / "log.txt").stat().st_size if (run / "log.txt").exists() else 0
    with (run / "log.txt").open("ab") as log:  # what it says it logs itself; this is for what it could not say
        done = subprocess.run(  # noqa: S603, no shell, and nothing in it but the run's own folder
            [sys.executable, "-m", "train", "fit", "--resume", str(run)],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, check=False,
        )  # fmt: skip
    (run / "starting").unlink(missing_ok=True)
    if done.returncode > 0:
        _tell(run, before, logged)


def _tell(run: Path, before: int, logged: int) -> None:
    """Record why a run ended that could not do so itself; one that a signal ended is lost, and its state says so."""
    events = read_events(run / "events.jsonl")
    if any(isinstance(event, Finished) for event in events):  # somebody else saw it through
        return
    if events[before:] and not isinstance(events[-1], Started | Epoch):
        return
    told = max(0, (run / "log.txt").stat().st_size - logged)
    lines = read_tail(run / "log.txt", min(told, TOLD_LIMIT)).decode(errors="replace").strip().splitlines()
    message = lines[-1] if lines else "It ended without a message. log.txt may say more."
    append_line(run / "events.jsonl", line_of(Failed(time.time(), "start", message)))


if __name__ == "__main__":
    if hasattr(os, "nice"):  # not on Windows
        os.nice(5)  # pages answer first, on a machine that does both
    work(Path(sys.argv[1]), sys.argv[2])
