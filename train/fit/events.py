"""What happened in a run, a line of JSON each in `events.jsonl`; whoever watches a run reads these lines."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar

from rcdnet.errors import DatasetError
from train.files import whole_lines


@dataclass(frozen=True)
class Started:
    """A run begins, or goes on after `epoch` epochs. conflicts: near-duplicates under two labels, left out.

    untaught: the settings that asked for supervision which its training images cannot give.
    """

    event: ClassVar[str] = "started"
    time: float
    model: str
    device: str
    processes: int
    epoch: int
    epochs: int
    training: int
    validation: int
    conflicts: int
    skipped: tuple[str, ...]
    untaught: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A step was taken, counted from 1; never stored."""

    event: ClassVar[str] = "step"
    epoch: int
    step: int
    steps: int


@dataclass(frozen=True)
class Epoch:
    """An epoch ended, counted from 1.

    loss: cross-entropy on training images, as augmented. added_loss: of masks, heatmap and BI-RADS, weighted, 0
    where none is used.
    accuracy: share of training images called right, Mixup counting by its larger part. validation_*: of the weights that
    are kept, at threshold 0.5; None where nothing validates, and in epochs between two looks. validation_auc: mean of `auc_by_source`.
    roc: false and true positive rates over all validation images. best: whether its weights are kept, as `keep` says.
    learning_rate: at the end of the epoch. seconds: of training alone. gpu_memory_mib: peak, None on a CPU.
    """

    event: ClassVar[str] = "epoch"
    epoch: int
    size: int
    loss: float
    added_loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    validation_auc: float | None
    auc_by_source: dict[str, float]
    roc: tuple[tuple[float, ...], tuple[float, ...]] | None
    best: bool
    learning_rate: float
    seconds: float
    images_per_second: float
    gpu_memory_mib: float | None


@dataclass(frozen=True)
class Finished:
    """All epochs are done; `best_epoch` is whose weights are kept, its AUC None where nothing validated."""

    event: ClassVar[str] = "finished"
    time: float
    best_epoch: int | None
    best_auc: float | None


@dataclass(frozen=True)
class Stopped:
    """A `stop` file or the keyboard ended the run during the epoch after `epoch`; it can be resumed."""

    event: ClassVar[str] = "stopped"
    time: float
    epoch: int


@dataclass(frozen=True)
class Failed:
    """The run could not go on. kind: one word for a program; message: what to do, for a person."""

    event: ClassVar[str] = "failed"
    time: float
    kind: str
    message: str


Event = Started | Epoch | Finished | Stopped | Failed
_KINDS: dict[str, type] = {kind.event: kind for kind in (Started, Epoch, Finished, Stopped, Failed)}


def line_of(event: Event) -> str:
    """The event as one line of JSON, newline included."""
    return json.dumps({"event": event.event, **asdict(event)}) + "\n"


def read_events(path: Path) -> list[Event]:
    """All whole lines of an events file, oldest first; a last line still being written is left for the next time.

    Raises:
        DatasetError: a line is no event of this version.
    """
    try:
        lines = whole_lines(path)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is damaged ({error}). Begin a new run.") from error
    return [event_of(line) for line in lines if line.strip()]


def event_of(line: str) -> Event:
    """The event of one line; fields that a later version added are ignored, those that an earlier one lacked have their default.

    Raises:
        DatasetError: it is none.
    """
    try:
        data = json.loads(line)
        kind = _KINDS[data["event"]]
        return kind(**{f.name: _frozen(data[f.name]) for f in fields(kind) if f.name in data})
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"events.jsonl holds a line that is no event of this version: {line[:80]}. Begin a new run."
        ) from error


def _frozen(value):
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
