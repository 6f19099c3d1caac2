"""The folder of a run. Each file can be read without this program, and a kill at any instant loses at most an epoch.

config.json         the settings
split.json          who trained and who validated
data.json           what their images were (`train.data.data_manifest`)
events.jsonl        what happened, a line each (`train.fit.events`)
best.*, last.*      checkpoints (`train.fit.state`)
predictions.csv     the best weights on the validation images
evaluation.json     figures of those predictions (`train.evaluate.evaluation`)
log.txt             what was printed, and the traceback of a failure
step.json           epoch, step and steps of an epoch, while it is at it
lock                held while a process trains here
stop                made by whoever wants the run to end after the current batch
"""

import json
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from rcdnet.command_line import DISK_FULL_ERRNOS
from rcdnet.errors import CheckpointError, ConfigError, DatasetError, Diverged, NotTrained, RcdnetError, RunFailed
from train.config import INITS, TrainConfig
from train.data.data_manifest import verify_manifest, write_manifest
from train.data.decode import Decoded
from train.data.splits import Split, checked_split, make_split, resolve_auto_split
from train.evaluate.compare import table
from train.evaluate.evaluate_model import check_start_leakage, decode_for, evaluate_run
from train.files import append_line, write_atomic
from train.fit.engine import accelerator_for
from train.fit.events import Epoch, Event, Failed, Finished, Started, Step, Stopped, event_of, line_of, read_events
from train.fit.loop import fit
from train.fit.state import check_settings, read_progress
from train.runs.data_locations import load_samples
from train.runs.folder import check_files, roots_of

PATIENCE_S = 2  # for whoever only looks whether the lock is held
STEP_EVERY_S = 2  # seconds between words on how far an epoch is
UNTAUGHT = {  # what it means that a setting had nothing to learn from
    "mask_weight": "No outline is learnt: of the training images, lesion masks or boxes are not known in both classes",
    "evidence_weight": "Nothing tells the heatmap where the lesion is, for the same reason",
    "birads_weight": "The BI-RADS category is known of no training image, so it teaches nothing",
}
STOP_EVERY = 10  # steps between looks at the stop file where several processes have to agree on it


def start(config: TrainConfig, out: Path, *, split: Path | None = None, say: Callable[[str], None] = print) -> Event:
    """Begin a run in `out` and see it through; its last event. `split` is a split.json to use instead of making one.

    Raises:
        ConfigError: `out` holds a run already.
        RunFailed: it could not go on; the message says why and what to do, and stands in `events.jsonl`.
    """
    check_files(out)
    if any((out / name).exists() for name in ("events.jsonl", "queued", "starting")):
        raise ConfigError(f"{out} holds a run already. Go on with --resume {out}, or give another --out.")
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
        raise ConfigError(f"The run in {out} is finished. Begin a new one with another --out.")
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
            f"Another process trains in {out}. Wait for it, or stop it by making the file {out / 'stop'}."
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


def _train(config, out: Path, split_file: Path | None, accelerator, record, note) -> Event:
    """The run itself, on every process; only the main one gets a `record` that writes."""
    roots = roots_of(out)
    decoded = decode_for(config, load_samples(config.data, *roots, say=note))
    for remark in decoded.remarks:
        note(remark)
    for reason in decoded.skipped:
        note(f"Skipped: {reason}")
    if unknown := sum(not sample.patient for sample in decoded.samples):
        note(
            f"The patient of {unknown} images is not known, so two of one patient that are not alike may part in the split"
        )
    if boxed := sum(bool(sample.box and not sample.masks) for sample in decoded.samples):
        note(f"{boxed} lesions have a box and no mask; where masks supervise, the ellipse in the box stands for them")
    if read_progress(out).epoch and not (out / "split.json").exists():
        raise DatasetError(
            f"split.json of {out.name} is gone, so who trained is not known. Restore it, or begin a new run."
        )
    if accelerator.is_main_process and not (out / "split.json").exists():
        split = _split(config, split_file, decoded)
        write_manifest(out, split, decoded)
        split.write(out / "split.json")
        note(f"Split: {split.rule}")
        for left_out in split.conflicts:
            note(f"Left out, for a near-copy of it has the other label: {left_out}")
    accelerator.wait_for_everyone()
    split = Split.read(out / "split.json")
    verify_manifest(out, split, decoded)
    if unused := {s.id for s in decoded.samples}.difference(split.train, split.validation, split.conflicts):
        note(f"Passed over, for no part of the split has them: {len(unused)} of the images, {min(unused)} first")
    if (named := resolve_auto_split(config, split)) != config:
        config = named
        if accelerator.is_main_process:
            write_atomic(out / "config.json", config.to_json().encode())
    check_start_leakage(config, split)
    running = fit(config, decoded, split, out, accelerator)
    epoch = 0
    last: Event = Stopped(time.time(), epoch)
    said = 0.0
    for event in running:
        if isinstance(event, Step):
            if accelerator.is_main_process and time.monotonic() - said > STEP_EVERY_S:
                said = time.monotonic()
                write_atomic(out / "step.json", json.dumps([event.epoch, event.step, event.steps]).encode())
            if _asked_to_stop(out, event, accelerator):
                running.close()
                accelerator.wait_for_everyone()
                accelerator.end_training()
                (out / "stop").unlink(missing_ok=True)
                last = Stopped(time.time(), epoch)
                record(last)
                return last
            continue
        last = event
        if isinstance(event, Started | Epoch):
            epoch = event.epoch
        if isinstance(event, Finished):
            # A process that ends with its group still open may abort, and its launcher then kills the one that evaluates.
            accelerator.end_training()
            if accelerator.is_main_process:
                _evaluate(out, config, decoded, split, note)
        record(event)
    return last


def _split(config: TrainConfig, given: Path | None, decoded: Decoded) -> Split:
    """A new split, or the user's, once it is sure that it fits the data and does not leak."""
    if given is None:
        return make_split(config, decoded.samples, decoded.fingerprints)
    split = Split.read(given)
    decoded.rows_of([*split.train, *split.validation])
    return checked_split(split, decoded.samples, decoded.fingerprints)


def _evaluate(out: Path, config: TrainConfig, decoded: Decoded, split: Split, note: Callable[[str], None]) -> None:
    if split.validation:
        for line in table([(out.name, evaluate_run(out, config, decoded, split))]).splitlines():
            note(line)


def _asked_to_stop(out: Path, step: Step, accelerator) -> bool:
    """Whether the `stop` file is there; several processes agree before any of them leaves."""
    if accelerator.num_processes == 1:
        return (out / "stop").exists()
    if step.step % STOP_EVERY and step.step != step.steps:
        return False
    if accelerator.is_main_process and (out / "stop").exists():
        accelerator.set_trigger()
    return accelerator.check_trigger()


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
        return "out_of_memory", "The memory is full. Begin again with a smaller batch_size or start_size."
    return "internal", f"{type(error).__name__}: {error}. This is a defect; log.txt holds the traceback."


def describe_event(event: Event) -> str:
    """An event as a line for the log."""
    match event:
        case Started():
            what = f"{event.model} on {event.device}" + (
                f", {event.processes} processes" if event.processes > 1 else ""
            )
            where = f", going on after epoch {event.epoch}" if event.epoch else ""
            return (
                f"Started {what}{where}: {event.training} training and {event.validation} validation images, "
                f"{event.conflicts} left out for their label, {len(event.skipped)} skipped"
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
