"""Starting and resuming a run in its folder.

Each file there can be read without this program, and a kill at any instant loses at most an epoch.

config.json         the settings
split.json          who trained and who validated
data.json           what their images were (`train.data.data_manifest`)
events.jsonl        what happened, a line each (`train.fit.events`)
best.*, last.*      checkpoints (`train.fit.checkpoints`)
predictions.csv     the best weights on the validation images
evaluation.json     figures of those predictions (`train.evaluate.evaluation_record`)
log.txt             what was printed, and the traceback of a failure
step.json           epoch, step and steps of an epoch, while it is at it
lock                held while a process trains here
external/           tests on other data, each with predictions and evaluation
app/                weights and card, while the run answers on the Analyse page
stop                made by whoever wants the run to end after the current batch
"""

import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from rcdnet.errors import CheckpointError, ConfigError, DatasetError, Diverged, NotTrained, RcdnetError, RunFailed
from rcdnet.exit_codes import DISK_FULL_ERRNOS
from train.config import INITS, TrainConfig
from train.crash_safe_files import append_line, write_atomic
from train.evaluate.compare import table
from train.evaluate.internal_validation import evaluate_run
from train.fit.checkpoints import check_settings, read_progress
from train.fit.engine import accelerator_for
from train.fit.events import Epoch, Event, Failed, Finished, Started, Stopped, event_of, line_of, read_events
from train.runs.prepare_and_train import divide, read_images, train_weights
from train.runs.run_state import check_files

PATIENCE_S = 2  # for whoever only looks whether the lock is held
UNTAUGHT = {  # what it means that a setting had nothing to learn from
    "mask_weight": "No outline is learnt, because the training images do not have lesion masks or boxes in both classes",
    "evidence_weight": "For the same reason, nothing teaches the heatmap where the lesion is",
    "birads_weight": "No training image has a BI-RADS category, so none is learnt from",
}


def start(config: TrainConfig, out: Path, *, split: Path | None = None, say: Callable[[str], None] = print) -> Event:
    """Begin a run in `out` and see it through; its last event. `split` is a split.json to use instead of making one.

    Raises:
        ConfigError: `out` holds a run already.
        RunFailed: it could not go on; the message says why and what to do, and stands in `events.jsonl`.
    """
    check_files(out)
    if any((out / name).exists() for name in ("events.jsonl", "queued", "starting")):
        raise ConfigError(f"{out} already holds a run. Resume it with --resume {out}, or give another --out.")
    if not config.data:
        raise ConfigError(
            "No data was named. Give at least one, as --data busbra=DIR, busi=DIR, breast=DIR or folder=DIR."
        )
    init = config.init
    if init not in INITS:
        if not Path(init).is_file():
            raise ConfigError(f"init is {init!r}, but there is no such file.")
        init = str(Path(init).resolve())
    whole = tuple((source, str(Path(place).resolve())) for source, place in config.data)  # a resume may start elsewhere
    return _locked(replace(config, data=whole, init=init), out, split, say, new=True)


def resume(out: Path, *, say: Callable[[str], None] = print) -> Event:
    """Go on with the run in `out` after its last whole epoch; its last event. Raises as `start`."""
    check_files(out)
    config = TrainConfig.read(out / "config.json")
    if any(isinstance(event, Finished) for event in read_events(out / "events.jsonl")):
        raise ConfigError(f"The run in {out} is finished. Start a new one with another --out.")
    check_settings(out, config)
    return _locked(config, out, None, say, new=False)


def _locked(config: TrainConfig, out: Path, split: Path | None, say: Callable[[str], None], *, new: bool) -> Event:
    accelerator = accelerator_for(config)
    if not accelerator.is_main_process:
        return _train(config, out, split, accelerator, lambda event: None, lambda text: None)
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / "lock")
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout:
        raise ConfigError(
            f"Another process is training in {out}. Wait for it, or stop it by creating the file {out / 'stop'}."
        ) from None
    begun_by_hand = not (out / "starting").exists()
    if begun_by_hand:  # then a wish to stop is of an earlier process, which a kill left behind
        (out / "stop").unlink(missing_ok=True)
    for name in ("queued", "starting"):  # made by `train.runs.jobs` and `worker`; from here on the lock says it
        (out / name).unlink(missing_ok=True)
    try:
        if new:
            (out / "split.json").unlink(missing_ok=True)  # of a start that was cut short; this one may ask for another
        return _recorded(config, out, split, accelerator, say)
    finally:
        (out / "step.json").unlink(missing_ok=True)
        lock.release()


def _recorded(config: TrainConfig, out: Path, split: Path | None, accelerator, say: Callable[[str], None]) -> Event:
    """Train with every event written down, a failure included."""

    def note(text: str) -> None:
        text = text.encode(errors="backslashreplace").decode()  # a name of a file may be no UTF-8
        with (out / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        with suppress(OSError):  # whoever listened may be gone
            say(text)

    def record(event: Event) -> None:
        append_line(out / "events.jsonl", line_of(event))
        note(describe_event(event))

    try:
        write_atomic(out / "config.json", config.to_json().encode())
        _mend_events(out)
        return _train(config, out, split, accelerator, record, note)
    except KeyboardInterrupt:
        event = Stopped(time.time(), read_progress(out).epoch)
        record(event)
        return event
    except Exception as error:
        kind, message = failure_of(error)
        try:
            if kind == "internal":
                note(traceback.format_exc())
            record(Failed(time.time(), kind, message))
        except OSError:  # a full disk takes no event either
            with suppress(OSError):
                say(message)
        raise RunFailed(message) from error


def _train(config: TrainConfig, out: Path, split_file: Path | None, accelerator, record, note) -> Event:
    """The run itself, in four steps, on every process; only the main one gets a `record` that writes."""
    decoded = read_images(config, out, note)
    config, split = divide(config, out, split_file, decoded, accelerator, note)
    last = train_weights(config, decoded, split, out, accelerator, record)
    if isinstance(last, Finished) and split.validation and accelerator.is_main_process:
        for line in table([(out.name, evaluate_run(out, config, decoded, split))]).splitlines():
            note(line)
    record(last)
    return last


def _mend_events(out: Path) -> None:
    """Make the epoch lines agree with the checkpoint that the run goes on from, after a kill between the two."""
    path, progress = out / "events.jsonl", read_progress(out)
    events = [e for e in read_events(path) if not (isinstance(e, Epoch) and e.epoch > progress.epoch)]
    if progress.epoch and not any(isinstance(e, Epoch) and e.epoch == progress.epoch for e in events):
        events.append(event_of(progress.event))
    if path.exists():
        write_atomic(path, "".join(map(line_of, events)).encode())


def failure_of(error: BaseException) -> tuple[str, str]:
    """Kind and advice of what ended a run."""
    kinds = {
        DatasetError: "data",
        Diverged: "nan_loss",
        ConfigError: "config",
        NotTrained: "weights",
        CheckpointError: "weights",
    }
    if isinstance(error, RcdnetError):
        return kinds.get(type(error), "internal"), str(error)
    if isinstance(error, OSError) and error.errno in DISK_FULL_ERRNOS:
        return "disk_full", "The disk is full. Free some space and resume: the last whole epoch is kept."
    # A GPU that is full already says so in words alone.
    words = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words):
        return "out_of_memory", "The memory is full. Start again with a smaller batch_size or start_size."
    return "internal", f"{type(error).__name__}: {error}. This is a bug; log.txt holds the traceback."


def describe_event(event: Event) -> str:
    """An event as a line for the log."""
    match event:
        case Started():
            what = f"{event.model} on {event.device}" + (
                f", {event.processes} processes" if event.processes > 1 else ""
            )
            where = f", resumed after epoch {event.epoch}" if event.epoch else ""
            return (
                f"Started {what}{where}: {event.training} training and {event.validation} validation images, "
                f"{event.conflicts} left out for conflicting labels, {len(event.skipped)} skipped"
                + "".join(f". {UNTAUGHT[name]}" for name in event.untaught)
            )
        case Epoch():
            aucs = "".join(f", AUC {source} {auc:.3f}" for source, auc in event.auc_by_source.items())
            added = f", added {event.added_loss:.3f}" if event.added_loss else ""
            return (
                f"Epoch {event.epoch}, {event.size} px: loss {event.loss:.3f}{added}, accuracy {event.accuracy:.3f}; "
                f"{event.images_per_second:.1f} images/s{aucs}{', kept' if event.best else ''}"
            )
        case Finished():
            return f"Finished; the weights of epoch {event.best_epoch} are kept" + (
                f", AUC {event.best_auc:.3f}" if event.best_auc else ""
            )
        case Stopped():
            return f"Stopped after {event.epoch} whole epochs"
        case Failed():
            return f"Failed ({event.kind}): {event.message}"
