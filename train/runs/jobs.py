"""Runs as jobs: queued for a device, stopped, resumed and deleted. Each is a process of its own that outlives the app.

Beside the files of `train.runs.start_and_resume`, the folder of a job holds
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
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rcdnet.errors import ConfigError, RcdnetError
from train.crash_safe_files import append_line, write_atomic
from train.fit.events import Epoch, Stopped, line_of, read_events
from train.folders import BUNDLED, HOME, RUNS_FOLDER
from train.lock_check import is_locked
from train.runs.run_on_device import environment_for
from train.runs.run_state import NAME, State, check_files, device_of, state_of, waiting

if TYPE_CHECKING:  # it brings torch, which a worker that waits does not need
    from train.config import TrainConfig

_workers: list[subprocess.Popen] = []  # started here; each lives on without this process


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
        write_atomic(run / "config.json", config.to_json().encode())
        write_atomic(
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
    check_files(run)
    try:
        (run / "queued").unlink()
        waited = not is_locked(run / "lock")
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
        state = State.RUNNING if is_locked(run / "lock") else State.FAILED
    if state.alive:
        raise ConfigError(f"{run.name} is {state}. Stop it first.")
    if run.is_symlink():
        raise ConfigError(f"{run.name} is a link to another folder. Remove the link by hand.")
    gone = run.with_name(f".deleted-{run.name}-{time.time_ns()}")
    run.rename(gone)  # at once for whoever lists the runs
    shutil.rmtree(gone, ignore_errors=True)  # `ensure_workers` removes what is left


def folder_of(name: str, runs: Path = RUNS_FOLDER) -> Path:
    """The folder of a run of that name, there or not; `ConfigError` if the name could leave `runs`."""
    if not NAME.fullmatch(name) or name.startswith(BUNDLED):
        raise ConfigError(
            f"{name!r} is not a valid name for a run. Use up to 60 letters, digits, - and _, a letter or digit first."
        )
    return runs / name


def new_folder(name: str, runs: Path = RUNS_FOLDER) -> Path:
    """The folder of a run to come, not made yet; `ConfigError` if the name could leave `runs`, or is taken."""
    run = folder_of(name, runs)
    if os.path.lexists(run):
        raise ConfigError(f"There is already a run named {name}. Choose another name.")
    return run


def _check_there(run: Path) -> None:
    if not run.is_dir():
        raise ConfigError(f"{run.name} no longer exists. Somebody else has deleted it.")


def ensure_workers(runs: Path = RUNS_FOLDER) -> None:
    """See that somebody works on every device that runs wait for, as after a restart of the machine; and that no remains of
    deleted runs are left."""
    for gone in runs.glob(".deleted-*"):
        shutil.rmtree(gone, ignore_errors=True)
    for device in set(waiting(runs).values()):
        if not is_locked(worker_lock(device, runs)):
            _employ(device, runs)


def worker_lock(device: str, runs: Path) -> Path:
    """Held by the one process that takes runs from the queue of a device."""
    return runs / f".worker-{re.sub('[^a-z0-9]', '-', device)}.lock"


def _enqueue(run: Path) -> None:
    device = device_of(run)
    (run / "queued").touch()
    _employ(device, run.parent)


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
