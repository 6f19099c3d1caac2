"""What lies in the folders of runs, and what that says of each: its state, its device, whose turn it is.

Whatever lies there, it is read as what it ought to be or refused with a sentence, so that no run stands in another's way.
"""

import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from rcdnet.errors import DatasetError, RcdnetError
from rcdnet.safe_read import KB, Unreadable, file_type_error, parse_as, quoted, read_json
from train.crash_safe_files import file_stamp
from train.fit.events import Epoch, Event, Failed, Finished, Started, Stopped, read_events
from train.folders import RUNS_FOLDER
from train.lock_check import is_locked

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
DEVICE = re.compile(r"cpu|cuda:[0-9]{1,4}")
FILES = (
    "config.json", "job.json", "queued", "starting", "lock", "stop", "step.json", "log.txt", "events.jsonl", "split.json",
    "data.json", "last.safetensors", "last.json", "best.safetensors", "best.json", "predictions.csv", "evaluation.json",
)  # fmt: skip
MARKS = ("config.json", "events.jsonl")  # what makes a folder a run's
JOB_LIMIT = 64 * KB
STARTING_S = 120  # seconds after which a process that was launched and never seen is lost
SKEW_S = 2  # by which the clock of a disk elsewhere may be ahead


class State(StrEnum):
    """What a person wants to know of a run."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"

    @property
    def alive(self) -> bool:
        return self in (State.QUEUED, State.STARTING, State.RUNNING, State.STOPPING)

    @property
    def stoppable(self) -> bool:
        return self.alive and self != State.STOPPING

    @property
    def resumable(self) -> bool:
        return self in (State.STOPPED, State.FAILED, State.LOST)


@dataclass(frozen=True)
class Job:
    """What `job.json` holds. device: "cpu", "cuda:0" ... roots: the folders that its data may not leave, none where it may."""

    device: str
    roots: tuple[str, ...] = ()


def check_files(run: Path) -> None:
    """`DatasetError` if something else than a file lies where one of a run's belongs."""
    for name in FILES:
        if what := file_type_error(run / name):
            raise DatasetError(f"{run.name}/{name} is {what}, where a file belongs. Remove it, or begin a new run.")


def state_of(run: Path, events: Sequence[Event] | None = None) -> State:
    """The state of a run from its files and its lock alone; a process id may be another's by now.

    Raises:
        DatasetError: its files are not those of a run.
    """
    check_files(run)
    last = next(reversed(events_in(run) if events is None else events), None)
    if is_locked(run / "lock"):
        if (run / "stop").exists():
            return State.STOPPING
        return State.RUNNING if isinstance(last, Started | Epoch) else State.STARTING
    if (run / "queued").exists():
        return State.QUEUED
    if launched := _time_of(run / "starting"):
        # One that is marked in the future was not launched just now: the clock was set back.
        return State.STARTING if -SKEW_S <= time.time() - launched < STARTING_S else State.LOST
    ends = {Finished: State.FINISHED, Stopped: State.STOPPED, Failed: State.FAILED}
    return ends.get(type(last), State.LOST)


def events_in(run: Path) -> tuple[Event, ...]:
    """As `train.fit.events.read_events`, read again only when the file has changed."""
    found = _events(run / "events.jsonl", file_stamp(run / "events.jsonl"))
    if isinstance(found, DatasetError):
        raise found
    return found


@lru_cache(maxsize=256)
def _events(path: Path, stamp: tuple[int, int, int]) -> tuple[Event, ...] | DatasetError:
    try:
        return tuple(read_events(path))
    except DatasetError as error:
        return error


def runs_in(runs: Path = RUNS_FOLDER) -> list[Path]:
    """The folders of runs, the newest first."""
    found = [run for run in runs.glob("*") if NAME.fullmatch(run.name) and run.is_dir() and _is_run(run)]
    return sorted(found, key=lambda run: (_time_of(run / "config.json"), run.name), reverse=True)


def readable_runs_in(runs: Path = RUNS_FOLDER) -> list[Path]:
    """As `runs_in`, without those in which something else than a file lies, or that may not be opened."""
    found = []
    for run in runs_in(runs):
        with suppress(RcdnetError):
            check_files(run)
            found.append(run)
    return found


def queue_of(device: str, runs: Path = RUNS_FOLDER) -> list[Path]:
    """The runs that wait for a device, the next one first."""
    queue = [run for run, wanted in waiting(runs).items() if wanted == device]
    return sorted(queue, key=lambda run: _time_of(run / "queued"))


def at_work_on(device: str, runs: Path = RUNS_FOLDER) -> list[Path]:
    """The runs that train on a device, or are about to; one that cannot be read may, while a process holds it."""
    return [run for run in runs_in(runs) if _at_work(run, device)]


def _at_work(run: Path, device: str) -> bool:
    try:
        return state_of(run) in (State.STARTING, State.RUNNING, State.STOPPING) and device_of(run) == device
    except RcdnetError:
        return is_locked(run / "lock")


def waiting(runs: Path) -> dict[Path, str]:
    """The device of each run that waits; one that cannot be read waits for none."""
    found = {}
    for run in readable_runs_in(runs):
        with suppress(RcdnetError):
            if (run / "queued").exists():
                found[run] = device_of(run)
    return found


def device_of(run: Path) -> str:
    """The device that a run was queued for; of one that was started by hand, the first of the kind that it said it trains on.

    Raises:
        DatasetError: its files are not those of a run.
    """
    if job := _job(run):
        return job.device
    started = [event for event in events_in(run) if isinstance(event, Started)]
    return "cpu" if not started or started[-1].device.startswith("CPU") else "cuda:0"  # it says the device's name


def roots_of(run: Path) -> list[Path]:
    """The folders that a run's data may not leave; none of one that was started by hand, which may read what it likes.

    Raises:
        DatasetError: its `job.json` is damaged, so it does not say.
    """
    job = _job(run)
    return [Path(root) for root in job.roots] if job else []


def _job(run: Path) -> Job | None:
    if not os.path.lexists(run / "job.json"):
        return None
    try:
        job: Job = parse_as(Job, read_json(run / "job.json", JOB_LIMIT))
        if not DEVICE.fullmatch(job.device):
            raise Unreadable(f"device: {quoted(job.device)} is none")
    except Unreadable as error:
        raise DatasetError(
            f"{run / 'job.json'} does not say where this run may train: {error}. Begin a new run."
        ) from error
    return job


def _is_run(run: Path) -> bool:
    """Whether a folder is a run's, be it broken or locked; that of a bundled model's external tests is none."""
    return not os.access(run, os.R_OK | os.X_OK) or any(os.path.lexists(run / name) for name in MARKS)


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
