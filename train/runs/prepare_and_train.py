"""What a run does before its figures, step by step: its images read once, a split that is checked, and weights."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from accelerate import Accelerator

from rcdnet.errors import DatasetError
from train.config import TrainConfig
from train.crash_safe_files import write_atomic
from train.data.data_manifest import verify_manifest, write_manifest
from train.data.load_images import Decoded, decode
from train.data.splits import Split, checked_split, make_split, resolve_auto_split
from train.fit.checkpoints import read_progress
from train.fit.events import Epoch, Event, Finished, Started, Step, Stopped
from train.fit.initial_weights import check_start_leakage
from train.fit.loop import fit
from train.runs.data_locations import load_samples
from train.runs.run_state import roots_of

STEP_EVERY_S = 2  # seconds between words on how far an epoch is
STOP_EVERY = 10  # steps between looks at the stop file where several processes have to agree on it

Note = Callable[[str], object]


def read_images(config: TrainConfig, out: Path, note: Note) -> Decoded:
    """The images of a run, read once; what is to be said of them is noted. `DatasetError` if they cannot be."""
    samples = load_samples(config.data, *roots_of(out), say=note)
    decoded = decode(samples, config.input_size, skip_broken=config.broken == "skip")
    for remark in decoded.remarks:
        note(remark)
    for reason in decoded.skipped:
        note(f"Skipped: {reason}")
    if unknown := sum(not sample.patient for sample in decoded.samples):
        note(
            f"The patient of {unknown} images is not known, so unlike images of one patient may be on both sides of the split"
        )
    if boxed := sum(bool(sample.box and not sample.masks) for sample in decoded.samples):
        note(
            f"{boxed} lesions have a box and no mask; where masks are used for training, the ellipse in the box replaces them"
        )
    return decoded


def divide(
    config: TrainConfig, out: Path, split_file: Path | None, decoded: Decoded, accelerator: Accelerator, note: Note
) -> tuple[TrainConfig, Split]:
    """The split of a run, made or checked, and the settings that name it; a run that was begun keeps its own.

    Raises:
        DatasetError: it cannot be made, leaks, or does not fit the images any more.
    """
    if read_progress(out).epoch and not (out / "split.json").exists():
        raise DatasetError(
            f"split.json of {out.name} is missing, so it is not known which images trained. Restore it, or start a new run."
        )
    if accelerator.is_main_process and not (out / "split.json").exists():
        split = _new_split(config, split_file, decoded)
        write_manifest(out, split, decoded)
        split.write(out / "split.json")
        note(f"Split: {split.rule}")
        for left_out in split.conflicts:
            note(f"Left out, because a near-copy has the other label: {left_out}")
    accelerator.wait_for_everyone()
    split = Split.read(out / "split.json")
    verify_manifest(out, split, decoded)
    if unused := {s.id for s in decoded.samples}.difference(split.train, split.validation, split.conflicts):
        note(
            f"Skipped, because they are on neither side of the split: {len(unused)} of the images, {min(unused)} first"
        )
    if (name := resolve_auto_split(config, split)) != config.split:
        config = replace(config, split=name)
        if accelerator.is_main_process:
            write_atomic(out / "config.json", config.to_json().encode())
    check_start_leakage(config.init, split)
    return config, split


def train_weights(
    config: TrainConfig,
    decoded: Decoded,
    split: Split,
    out: Path,
    accelerator: Accelerator,
    record: Callable[[Event], object],
) -> Event:
    """Train until the last epoch, or until the stop file is there; every event is recorded but the last, which is returned."""
    running = fit(config, decoded, split, out, accelerator)
    epoch, told = 0, 0.0
    last: Event = Stopped(time.time(), epoch)
    for event in running:
        if isinstance(event, Step):
            if accelerator.is_main_process and time.monotonic() - told > STEP_EVERY_S:
                told = time.monotonic()
                write_atomic(out / "step.json", json.dumps([event.epoch, event.step, event.steps]).encode())
            if _asked_to_stop(out, event, accelerator):
                running.close()
                accelerator.wait_for_everyone()
                accelerator.end_training()
                (out / "stop").unlink(missing_ok=True)
                return Stopped(time.time(), epoch)
            continue
        last = event
        if isinstance(event, Finished):
            # A process that ends with its group still open may abort, and its launcher then kills the one that evaluates.
            accelerator.end_training()
            break
        if isinstance(event, Started | Epoch):
            epoch = event.epoch
        record(event)
    return last


def _new_split(config: TrainConfig, given: Path | None, decoded: Decoded) -> Split:
    """A new split, or the user's, once it is sure that it fits the data and does not leak."""
    if given is None:
        return make_split(config, decoded.samples, decoded.fingerprints)
    split = Split.read(given)
    decoded.rows_of([*split.train, *split.validation])
    return checked_split(split, decoded.samples, decoded.fingerprints)


def _asked_to_stop(out: Path, step: Step, accelerator: Accelerator) -> bool:
    """Whether the `stop` file is there; several processes agree before any of them leaves."""
    if accelerator.num_processes == 1:
        return (out / "stop").exists()
    if step.step % STOP_EVERY and step.step != step.steps:
        return False
    if accelerator.is_main_process and (out / "stop").exists():
        accelerator.set_trigger()
    return accelerator.check_trigger()
