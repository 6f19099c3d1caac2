"""What a person sees of a run: read from its files, whoever trains it and wherever."""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rcdnet.errors import DatasetError, RcdnetError
from rcdnet.safe_read import KB, Count, Unreadable, parse_as, read_json, read_tail, shortened
from train.config import TrainConfig
from train.fit.events import Epoch, Event, Failed, Started
from train.folders import RUNS_FOLDER
from train.runs.run_state import State, check_files, device_of, events_in, queue_of, runs_in, state_of

LOG_LINES = 40
LOG_TAIL = 64 * KB  # of log.txt, which may be of any length
STEP_LIMIT = 4 * KB
FULL = 10_000_000  # bytes free, below which a disk takes no checkpoint
ADVICE = {
    State.LOST: "Its process ended without a message, as after a kill, a restart of the machine, or when the memory is full. Resume "
    "it: at most one epoch is lost. If it is lost again, start a new run with a smaller batch_size or start_size.",
    State.STOPPED: "Resume it to go on after the last whole epoch.",
}


@dataclass(frozen=True)
class View:
    """A run as it stands. progress: 0 to 1. seconds_left: None while nothing was measured. message: why it ended, and what to do.

    place: how many runs go before a queued one.
    """

    name: str
    state: State
    config: TrainConfig
    device: str
    epochs: tuple[Epoch, ...]
    progress: float
    seconds_left: float | None
    place: int
    message: str
    log: str

    @property
    def best(self) -> Epoch | None:
        """The epoch with the highest validation AUC; None where nothing validated."""
        return max(
            (e for e in self.epochs if e.validation_auc is not None), key=lambda e: e.validation_auc or 0, default=None
        )

    @property
    def epoch(self) -> int:
        """The epoch that it is at while it trains, else how many it has done."""
        done = len(self.epochs)
        return min(done + 1, self.config.epochs) if self.state in (State.RUNNING, State.STOPPING) else done

    @property
    def sentence(self) -> str:
        """State, epoch and time left in one line."""
        total = self.config.epochs
        done = len(self.epochs)
        match self.state:
            case State.QUEUED:
                before = "next in line" if not self.place else f"{self.place} ahead of it"
                return f"Queued for {self.device}, {before}"
            case State.STARTING:
                return "Starting: reading and checking the images"
            case State.RUNNING | State.STOPPING:
                left = f", about {in_words(self.seconds_left)} left" if self.seconds_left is not None else ""
                what = "Stopping after this step" if self.state == State.STOPPING else f"Epoch {self.epoch} of {total}"
                return what + left
        return f"{self.state.value.capitalize()}, {done} of {total} epochs"

    @property
    def pace(self) -> str:
        """How fast the last epoch went, and what it took."""
        if not self.epochs:
            return ""
        last = self.epochs[-1]
        memory = "" if last.gpu_memory_mib is None else f" and {last.gpu_memory_mib:.0f} MiB of GPU memory"
        return f"{last.images_per_second:.1f} images/s at {last.size} px{memory}, on {self.device}."


def view_of(run: Path) -> View:
    """Raises `ConfigError` or `DatasetError` if its files are not those of a run."""
    check_files(run)
    config = TrainConfig.read(run / "config.json")
    events = events_in(run)
    epochs = tuple({e.epoch: e for e in events if isinstance(e, Epoch)}.values())
    if (last := max((e.epoch for e in epochs), default=0)) > config.epochs:
        raise DatasetError(
            f"{run.name} has finished epoch {last}, but its config.json asks for {config.epochs}. Restore the number of epochs."
        )
    state, device = state_of(run, events), device_of(run)
    share = _share_of_epoch(run, len(epochs)) if state in (State.RUNNING, State.STOPPING) else 0.0
    costs = [float(config.size_at(e)) ** 2 for e in range(config.epochs)]
    done = sum(costs[: len(epochs)]) + (share * costs[len(epochs)] if len(epochs) < config.epochs else 0.0)
    return View(
        name=run.name,
        state=state,
        config=config,
        device=device,
        epochs=epochs,
        progress=min(1.0, done / sum(costs)),
        seconds_left=_seconds_left(epochs, costs, share, run, events),
        place=_place(run, device) if state == State.QUEUED else 0,
        message=_message(run, state, events),
        log=log_tail(run),
    )


def views(runs: Path = RUNS_FOLDER) -> tuple[list[View], dict[str, str]]:
    """Every run that can be read, the newest first; and why another cannot, by its name."""
    found = {run.name: _view_or_reason(run) for run in runs_in(runs)}
    refused = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    return [view for view in found.values() if isinstance(view, View)], refused


def _view_or_reason(run: Path) -> View | str:
    """A run, or in one line why it cannot be read."""
    try:
        return view_of(run)
    except (RcdnetError, OSError) as error:  # the latter of one that is deleted meanwhile
        return f"{run.name} is not shown. {shortened(str(error))}"


def log_tail(run: Path) -> str:
    """The last lines of the log."""
    try:
        text = read_tail(run / "log.txt", LOG_TAIL).decode(errors="replace")
    except (Unreadable, OSError):
        return ""
    return "\n".join(text.splitlines()[-LOG_LINES:])


def in_words(seconds: float) -> str:
    """A duration for a person.

    >>> in_words(42), in_words(100), in_words(4000), in_words(100000)
    ('1 minute', '2 minutes', '1 h 7 min', '28 h')
    """
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    if minutes < 600:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{round(minutes / 60)} h"


def differing(views: Sequence[View]) -> list[dict[str, str]]:
    """The settings in which runs differ, a row each."""
    settings = {view.name: json.loads(view.config.to_json()) for view in views}
    names = list(next(iter(settings.values()), {}))
    return [
        {"setting": name} | {run: str(values[name]) for run, values in settings.items()}
        for name in names
        if len({str(values[name]) for values in settings.values()}) > 1
    ]


def _place(run: Path, device: str) -> int:
    waiting = queue_of(device, run.parent)
    return waiting.index(run) if run in waiting else 0


def _share_of_epoch(run: Path, done: int) -> float:
    """How far the epoch at work is; 0 where that is not known."""
    try:
        epoch, step, steps = parse_as(tuple[Count, Count, Count], read_json(run / "step.json", STEP_LIMIT))
        return min(1.0, step / steps) if epoch == done + 1 else 0.0
    except (Unreadable, ZeroDivisionError):
        return 0.0


def _seconds_left(epochs, costs, share: float, run: Path, events) -> float | None:
    """From the last epoch's pace; in the first one from the steps taken. Cost goes with the number of pixels."""
    if len(epochs) >= len(costs):
        return None
    left = sum(costs[len(epochs) :]) - share * costs[len(epochs)]
    if epochs:
        return left * epochs[-1].seconds / costs[epochs[-1].epoch - 1]
    started = next((e for e in reversed(events) if isinstance(e, Started)), None)
    if started is None or share < 0.02:
        return None
    return left * (time.time() - started.time) / (share * costs[0])


def _message(run: Path, state: State, events: Sequence[Event]) -> str:
    last = events[-1] if events else None
    if state == State.FAILED and isinstance(last, Failed):
        return shortened(last.message)
    if state == State.LOST and shutil.disk_usage(run).free < FULL:
        return "The disk is full, so the run could not even record that. Free some space and resume: the last whole epoch is kept."
    return ADVICE.get(state, "")
