"""What happened in a run, a line of JSON each in `events.jsonl`; whoever watches a run reads these lines."""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

from rcdnet.errors import DatasetError
from rcdnet.safe_read import MB, Count, Share, Unreadable, Within, parse_as, parse_json
from train.crash_safe_files import read_complete_lines

LIMIT = 32 * MB  # of the file; a run of 5000 epochs writes less
Time = Annotated[float, Within(0.0, 1e11)]  # seconds since 1970
Number = Annotated[int, Within(1, 5000)]  # of an epoch, as `train.config` has it


@dataclass(frozen=True)
class Started:
    """A run begins, or goes on after `epoch` epochs. conflicts: near-duplicates under two labels, left out.

    untaught: the settings that asked for supervision which its training images cannot give.
    """

    event: ClassVar[str] = "started"
    time: Time
    model: str
    device: str
    processes: Count
    epoch: Count
    epochs: Count
    training: Count
    validation: Count
    conflicts: Count
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
    epoch: Number
    size: Count
    loss: float
    added_loss: float
    accuracy: Share
    validation_loss: float | None
    validation_accuracy: Share | None
    validation_auc: Share | None
    auc_by_source: dict[str, Share]
    roc: tuple[tuple[Share, ...], tuple[Share, ...]] | None
    best: bool
    learning_rate: float
    seconds: Annotated[float, Within(0.0, 1e9)]
    images_per_second: Annotated[float, Within(0.0, 1e9)]
    gpu_memory_mib: Annotated[float, Within(0.0, 1e9)] | None


@dataclass(frozen=True)
class Finished:
    """All epochs are done; `best_epoch` is whose weights are kept, its AUC None where nothing validated."""

    event: ClassVar[str] = "finished"
    time: Time
    best_epoch: Number | None
    best_auc: Share | None


@dataclass(frozen=True)
class Stopped:
    """A `stop` file or the keyboard ended the run during the epoch after `epoch`; it can be resumed."""

    event: ClassVar[str] = "stopped"
    time: Time
    epoch: Count


@dataclass(frozen=True)
class Failed:
    """The run could not go on. kind: one word for a program; message: what to do, for a person."""

    event: ClassVar[str] = "failed"
    time: Time
    kind: str
    message: str


Event = Started | Epoch | Finished | Stopped | Failed
_KINDS: dict[str, type] = {kind.event: kind for kind in (Started, Epoch, Finished, Stopped, Failed)}


def line_of(event: Event) -> str:
    """The event as one line of JSON, newline included; a file's name that is no UTF-8 cannot stand in it as it is."""
    text = json.dumps({"event": event.event, **asdict(event)}, ensure_ascii=False)
    return text.encode(errors="replace").decode() + "\n"


def read_events(path: Path) -> list[Event]:
    """All whole lines of an events file, oldest first; a last line still being written is left for the next time.

    Raises:
        DatasetError: it is no file, too large, or a line is no event of this version.
    """
    try:
        lines = read_complete_lines(path, LIMIT)
    except (Unreadable, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is damaged: {error}. Begin a new run.") from error
    return [event_of(line) for line in lines if line.strip()]


@lru_cache(maxsize=2048)  # whoever watches a run reads the same lines again and again
def event_of(line: str) -> Event:
    """The event of one line; fields that a later version added are ignored, those that an earlier one lacked have their default.

    Raises:
        DatasetError: it is none.
    """
    try:
        data = parse_json(line)
        name = data.get("event") if isinstance(data, dict) else None
        if not isinstance(name, str) or name not in _KINDS:
            raise Unreadable("it names no event")
        event: Event = parse_as(_KINDS[name], data)
        if isinstance(event, Epoch) and event.roc and len(event.roc[0]) != len(event.roc[1]):
            raise Unreadable("roc: its two lists differ in length")
    except Unreadable as error:
        raise DatasetError(
            f"events.jsonl holds a line that is no event of this version, {line[:80]!r}: {error}. Begin a new run."
        ) from error
    return event
