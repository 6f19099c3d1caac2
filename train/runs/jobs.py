"""Runs as jobs: queued for a device, watched, stopped, resumed and deleted. Each is a process of its own that outlives the app.

Beside the files of `train.runs.run`, the folder of a job holds
job.json    the device, and the folders that its data may not leave
queued      while it waits for its device; the oldest is next
starting    from then until its process holds the lock, or is gone
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from rcdnet.errors import ConfigError, RcdnetError, RunFailed
from train.files import append_line, write_whole
from train.fit.events import Epoch, Event, Failed, Finished, Started, Stopped, line_of, read_events
from train.folders import BUNDLED, HOME, RUNS_FOLDER
from train.locks import held

if TYPE_CHECKING:  # it brings torch, which a worker that waits does not need
    from train.config import TrainConfig

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
_workers: list[subprocess.Popen] = []  # started here; each lives on without this process
STARTING_S = 120  # seconds after which a process that was launched and never seen is lost


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


def state_of(run: Path, events: Sequence[Event] | None = None) -> State:
    """The state of a run from its files and its lock alone; a process id may be another's by now."""
    last = next(reversed(read_events(run / "events.jsonl") if events is None else events), None)
    if held(run / "lock"):
        if (run / "stop").exists():
            return State.STOPPING
        return State.RUNNING if isinstance(last, Started | Epoch) else State.STARTING
    if (run / "queued").exists():
        return State.QUEUED
    if launched := _time_of(run / "starting"):
        return State.STARTING if time.time() - launched < STARTING_S else State.LOST
    ends = {Finished: State.FINISHED, Stopped: State.STOPPED, Failed: State.FAILED}
    return ends.get(type(last), State.LOST)


def submit(name: str, config: "TrainConfig", device: str, runs: Path = RUNS_FOLDER, root: Path | None = None) -> Path:
    """Queue a new run for `device` ("cpu", "cuda:0" ...) and see that somebody takes it; its folder.

    Its data may not leave `root`, whenever it is read; phantoms lie below `runs`.

    Raises:
        ConfigError: the name is no safe file name, or taken. OSError: the disk is full, or may not be written to.
    """
    run = new_folder(name, runs)
    try:
        run.mkdir(parents=True)
    except FileExistsError:  # another was quicker
        run = new_folder(name, runs)
        run.mkdir(parents=True)
    try:
        write_whole(run / "config.json", config.to_json().encode())
        write_whole(
            run / "job.json", json.dumps({"device": device, "roots": [str(root), str(runs)] if root else []}).encode()
        )
        _enqueue(run)
    except OSError:
        shutil.rmtree(run, ignore_errors=True)  # or its name would be taken by nothing that can be seen
        raise
    return run


def submit_all(
    configs: Mapping[str, "TrainConfig"], device: str, runs: Path = RUNS_FOLDER, root: Path | None = None
) -> None:
    """Queue several new runs in their order, or none if a name is taken; raises as `submit`."""
    for name in configs:
        new_folder(name, runs)
    for name, config in configs.items():
        submit(name, config, device, runs, root)


def resume(run: Path) -> None:
    """Queue a run again; it goes on after its last whole epoch. `ConfigError` if it is at work, finished or gone."""
    _check_there(run)
    state = state_of(run)
    if not state.resumable:
        raise ConfigError(f"{run.name} is {state}, so it cannot be resumed.")
    (run / "stop").unlink(missing_ok=True)  # of an earlier wish, which a kill left behind
    (run / "starting").unlink(missing_ok=True)
    _enqueue(run)


def stop(run: Path) -> None:
    """Take a run from the queue, or have it end after its current batch; it can be resumed. Nothing if it is not at work."""
    _check_there(run)
    try:
        (run / "queued").unlink()
        waited = not held(run / "lock")
    except FileNotFoundError:
        waited = False
    if not waited:
        if state_of(run).alive:
            (run / "stop").touch()
        return
    epochs = [event.epoch for event in read_events(run / "events.jsonl") if isinstance(event, Epoch)]
    append_line(run / "events.jsonl", line_of(Stopped(time.time(), max(epochs, default=0))))


def delete(run: Path) -> None:
    """Remove a run and all its files. `ConfigError` if it is at work, gone, or a link to somewhere else."""
    _check_there(run)
    try:
        state = state_of(run)
    except RcdnetError:  # a run that cannot be read can still be removed
        state = State.RUNNING if held(run / "lock") else State.FAILED
    if state.alive:
        raise ConfigError(f"{run.name} is {state}. Stop it first.")
    if run.is_symlink():
        raise ConfigError(f"{run.name} is a link to another folder. Remove the link by hand.")
    gone = run.with_name(f".deleted-{run.name}-{time.time_ns()}")
    run.rename(gone)  # at once for whoever lists the runs
    shutil.rmtree(gone, ignore_errors=True)  # `wake` removes what is left


def runs_in(runs: Path = RUNS_FOLDER) -> list[Path]:
    """The folders of runs, the newest first."""
    found = [path.parent for path in runs.glob("*/config.json") if NAME.fullmatch(path.parent.name)]
    return sorted(found, key=lambda run: (_time_of(run / "config.json"), run.name), reverse=True)


def folder_of(name: str, runs: Path = RUNS_FOLDER) -> Path:
    """The folder of a run of that name, there or not; `ConfigError` if the name could leave `runs`."""
    if not NAME.fullmatch(name) or name.startswith(BUNDLED):
        raise ConfigError(
            f"{name!r} is no name for a run. Use up to 60 letters, digits, - and _, a letter or digit first."
        )
    return runs / name


def new_folder(name: str, runs: Path = RUNS_FOLDER) -> Path:
    """The folder of a run to come, not made yet; `ConfigError` if the name could leave `runs`, or is taken."""
    run = folder_of(name, runs)
    if run.exists():
        raise ConfigError(f"There is a run named {name} already. Choose another name.")
    return run


def device_of(run: Path) -> str:
    """The device that a run was queued for; of one that was started by hand, the first of the kind that it said it trains on."""
    if device := _job(run).get("device"):
        return str(device)
    try:
        started = [event for event in read_events(run / "events.jsonl") if isinstance(event, Started)]
    except RcdnetError:
        started = []
    return "cpu" if not started or started[-1].device.startswith("CPU") else "cuda:0"  # it says the device's name


def roots_of(run: Path) -> list[Path]:
    """The folders that a run's data may not leave; none of one that was started by hand, which may read what it likes."""
    return [Path(root) for root in _job(run).get("roots", [])]


def _job(run: Path) -> dict:
    try:
        job = json.loads((run / "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return job if isinstance(job, dict) else {}


def _check_there(run: Path) -> None:
    if not run.is_dir():
        raise ConfigError(f"{run.name} is not there any more. Somebody else has deleted it.")


def queue_of(device: str, runs: Path = RUNS_FOLDER) -> list[Path]:
    """The runs that wait for a device, the next one first."""
    waiting = [run for run in runs_in(runs) if (run / "queued").exists() and device_of(run) == device]
    return sorted(waiting, key=lambda run: _time_of(run / "queued"))


def wake(runs: Path = RUNS_FOLDER) -> None:
    """See that somebody works on every device that runs wait for, as after a restart of the machine; and that no remains of
    deleted runs are left."""
    for gone in runs.glob(".deleted-*"):
        shutil.rmtree(gone, ignore_errors=True)
    for device in {device_of(run) for run in runs_in(runs) if (run / "queued").exists()}:
        if not held(worker_lock(device, runs)):
            _employ(device, runs)


def worker_lock(device: str, runs: Path) -> Path:
    """Held by the one process that takes runs from the queue of a device."""
    return runs / f".worker-{re.sub('[^a-z0-9]', '-', device)}.lock"


def environment_for(device: str) -> dict[str, str]:
    """The variables of a process that is to see this device alone; Streamlit's settings stay behind."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLIT_")}
    if device == "cpu":
        return kept | {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    # nvidia-smi, which named the devices, counts them by their place on the bus.
    return kept | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": device.removeprefix("cuda:")}


def answer_of(arguments: Sequence[str], device: str, patience_s: float, given: str = "") -> str:
    """What `python -m ARGUMENTS` prints, run to its end in a process of its own that sees one device.

    Raises:
        RunFailed: it failed; the message is the last line it said. TimeoutError: it took longer than the patience.
    """
    try:
        done = subprocess.run(  # noqa: S603, no shell; callers give modules, numbers, and places that they have checked
            [sys.executable, "-m", *arguments],
            cwd=HOME, env=environment_for(device), input=given, capture_output=True, text=True, timeout=patience_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    if done.returncode:
        raise RunFailed((done.stderr.strip().splitlines() or ["It ended without a word; memory may be full."])[-1])
    return done.stdout


def _enqueue(run: Path) -> None:
    (run / "queued").touch()
    _employ(device_of(run), run.parent)


def _employ(device: str, runs: Path) -> None:
    """Start a worker; it leaves at once if the device has one."""
    with (runs / ".worker.log").open("ab") as log:
        _workers[:] = [worker for worker in _workers if worker.poll() is None]  # which reaps those that left
        worker = subprocess.Popen(  # noqa: S603, no shell, and nothing in it but our own folder and a device
            [sys.executable, "-m", "train.runs.worker", str(runs.resolve()), device],
            cwd=HOME, env=environment_for(device), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        _workers.append(worker)


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
