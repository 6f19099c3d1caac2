"""Faults planted into the folder of a run, each by a name and with the page that cannot show the run any more."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

BIG = 300 * 2**20


def edited(name: str, **changes: object) -> Callable[[Path], None]:
    """A JSON file with other values."""

    def plant(run: Path) -> None:
        (run / name).write_text(json.dumps(json.loads((run / name).read_text()) | changes))

    return plant


def holding(name: str, content: str | bytes) -> Callable[[Path], None]:
    def plant(run: Path) -> None:
        (run / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return plant


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def plant(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))

    return plant


def instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Something else than a file."""

    def plant(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        make(run / name)

    return plant


def sparse(name: str) -> Callable[[Path], None]:
    """300 MB that take no room."""

    def plant(run: Path) -> None:
        (run / name).touch()
        os.truncate(run / name, BIG)

    return plant


def event(**changes: object) -> Callable[[Path], None]:
    """The line of the second epoch with other values."""

    def plant(run: Path) -> None:
        lines = (run / "events.jsonl").read_text().splitlines()
        lines[2] = json.dumps(json.loads(lines[2]) | changes)
        (run / "events.jsonl").write_text("\n".join(lines) + "\n")

    return plant


def figures(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """An evaluation with something else in it."""

    def plant(run: Path) -> None:
        data = json.loads((run / "evaluation.json").read_text())
        change(data)
        (run / "evaluation.json").write_text(json.dumps(data))

    return plant


def cells(column: str, value: str) -> Callable[[Path], None]:
    """A prediction of something absurd, to which the evaluation even holds."""

    def plant(run: Path) -> None:
        lines = (run / "predictions.csv").read_text().splitlines()
        row = lines[1].split(",")
        row[lines[0].split(",").index(column)] = value
        content = "\n".join([lines[0], ",".join(row), *lines[2:]]).encode() + b"\n"
        (run / "predictions.csv").write_bytes(content)
        edited("evaluation.json", predictions_sha256=hashlib.sha256(content).hexdigest())(run)

    return plant


def progress(text: str) -> Callable[[Path], None]:
    """Another head of the checkpoint."""

    def plant(run: Path) -> None:
        save_file(load_file(run / "last.safetensors"), run / "last.safetensors", metadata={"progress": text})

    return plant


DEEP = "[" * 100_000 + "]" * 100_000
NESTED = "[" * 900 + "]" * 900
HUGE = "9" * 400
TRAIN, RESULTS = "Train", "Results"
BOTH = TRAIN + RESULTS
# What is planted, and where the run is then named in a line instead of shown.
PLANTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a pipe as what the data was": (instead("data.json", os.mkfifo), TRAIN),
    "settings nested deep": (holding("config.json", DEEP), BOTH),
    "settings nested less deep": (edited("config.json", data=json.loads(NESTED)), BOTH),
    "settings that are a list": (holding("config.json", "[]"), BOTH),
    "settings that are null": (holding("config.json", "null"), BOTH),
    "settings empty": (holding("config.json", ""), BOTH),
    "settings no text": (holding("config.json", b"\xff\xfe\x00"), BOTH),
    "settings with a negative number": (edited("config.json", epochs=-3), BOTH),
    "settings with a huge number": (replaced("config.json", '"epochs": 3', f'"epochs": {HUGE}'), BOTH),
    "settings with an infinite number": (replaced("config.json", '"gamma": 1.2', '"gamma": 1e400'), BOTH),
    "settings with NaN": (replaced("config.json", '"gamma": 1.2', '"gamma": NaN'), BOTH),
    "settings with true for a number": (edited("config.json", epochs=True), BOTH),
    "settings with half a letter": (replaced("config.json", '"random"', '"\\ud800.safetensors"'), BOTH),
    "settings of 300 MB": (sparse("config.json"), BOTH),
    "a folder as settings": (instead("config.json", Path.mkdir), BOTH),
    "a pipe as settings": (instead("config.json", os.mkfifo), BOTH),
    "a device as settings": (instead("config.json", lambda p: p.symlink_to("/dev/zero")), BOTH),
    "a link to nothing as settings": (instead("config.json", lambda p: p.symlink_to("nowhere")), BOTH),
    "a link to itself as settings": (instead("config.json", lambda p: p.symlink_to(p)), BOTH),
    "no settings": (instead("config.json", lambda p: None), BOTH),
    "fewer epochs than it has": (edited("config.json", epochs=1, validate_every=1), TRAIN),
    "events nested deep": (holding("events.jsonl", DEEP + "\n"), TRAIN),
    "events no text": (holding("events.jsonl", b'{"event": "\xff"}\n'), TRAIN),
    "events that are numbers": (holding("events.jsonl", "7\n"), TRAIN),
    "events of a list": (holding("events.jsonl", '{"event": ["epoch"]}\n'), TRAIN),
    "events of 300 MB": (sparse("events.jsonl"), TRAIN),
    "a pipe as events": (instead("events.jsonl", os.mkfifo), TRAIN),
    "a folder as events": (instead("events.jsonl", Path.mkdir), TRAIN),
    "an epoch in words": (event(epoch="two"), TRAIN),
    "a negative epoch": (event(epoch=-2), TRAIN),
    "an epoch of no run": (event(epoch=10**30), TRAIN),
    "an epoch that is a list": (event(epoch=[2]), TRAIN),
    "a loss in words": (event(loss="low"), TRAIN),
    "an AUC above one": (event(validation_auc=7.5), TRAIN),
    "an AUC that is a list": (event(validation_auc=[0.5]), TRAIN),
    "curves of unlike length": (event(roc=[[0.0, 1.0], [0.0]]), TRAIN),
    "a curve in words": (event(roc="round"), TRAIN),
    "seconds without end": (event(seconds=1e300), TRAIN),
    "sources that are a list": (event(auc_by_source=[0.5]), TRAIN),
    "a pipe as lock": (instead("lock", os.mkfifo), TRAIN),
    "a folder as lock": (instead("lock", Path.mkdir), TRAIN),
    "a folder that waits": (instead("queued", Path.mkdir), TRAIN),
    "a pipe that starts": (instead("starting", os.mkfifo), TRAIN),
    "a pipe as wish to stop": (instead("stop", os.mkfifo), TRAIN),
    "a job nested deep": (holding("job.json", DEEP), TRAIN),
    "a job for no device": (holding("job.json", '{"device": "cuda:0; true", "roots": []}'), TRAIN),
    "a job with roots in words": (holding("job.json", '{"device": "cpu", "roots": "/"}'), TRAIN),
    "a pipe as job": (instead("job.json", os.mkfifo), TRAIN),
    "a pipe as log": (instead("log.txt", os.mkfifo), TRAIN),
    "a log of 300 MB": (sparse("log.txt"), ""),
    "steps in words": (holding("step.json", '["a", {}, null]'), ""),
    "steps nested deep": (holding("step.json", DEEP), ""),
    "an evaluation nested deep": (holding("evaluation.json", DEEP), RESULTS),
    "an evaluation of 300 MB": (sparse("evaluation.json"), RESULTS),
    "an evaluation that is a number": (holding("evaluation.json", "1"), RESULTS),
    "a pipe as evaluation": (instead("evaluation.json", os.mkfifo), BOTH),
    "a link to nothing as evaluation": (instead("evaluation.json", lambda p: p.symlink_to("nowhere")), BOTH),
    "an evaluation of no model": (edited("evaluation.json", model="m" * 100_000), RESULTS),
    "an evaluation without a threshold": (edited("evaluation.json", threshold=None), RESULTS),
    "a threshold of two": (edited("evaluation.json", threshold=2), RESULTS),
    "sets that are an object": (edited("evaluation.json", sets={}), RESULTS),
    "a set without its AUC": (figures(lambda d: d["sets"][0]["figures"].pop("auc")), RESULTS),
    "a set of more images": (figures(lambda d: d["sets"][0].update(images=10**6)), RESULTS),
    "a figure in words": (figures(lambda d: d["sets"][0]["figures"]["auc"].update(value="good")), RESULTS),
    "a calibration in words": (figures(lambda d: d["calibration"].update(network="one")), RESULTS),
    "predictions of 300 MB": (sparse("predictions.csv"), RESULTS),
    "a pipe as predictions": (instead("predictions.csv", os.mkfifo), BOTH),
    "a cell of 200,000 letters": (cells("patient", "p" * 200_000), RESULTS),
    "a label of seven": (cells("label", "7"), RESULTS),
    "a group without end": (cells("group", HUGE), RESULTS),
    "a probability of NaN": (cells("probability", "nan"), RESULTS),
    "a logit without end": (cells("logit", "1e400"), RESULTS),
    "weights that are none": (holding("best.safetensors", b"\0" * 100), RESULTS),
    "weights of 300 MB": (sparse("best.safetensors"), RESULTS),
    "a pipe as weights": (instead("best.safetensors", os.mkfifo), BOTH),
    "words about the weights nested deep": (holding("best.json", DEEP), RESULTS),
    "a folder as words about the weights": (instead("best.json", Path.mkdir), BOTH),
    "a checkpoint of no run": (progress(DEEP), RESULTS),
    "a checkpoint in words": (progress('{"epoch": "three"}'), RESULTS),
    "a pipe as checkpoint": (instead("last.safetensors", os.mkfifo), BOTH),
    "a split in words": (edited("split.json", train="all", groups=[]), ""),
    "a pipe as split": (instead("split.json", os.mkfifo), TRAIN),
    "a start in the future": (lambda run: marked_later(run / "starting"), ""),
}  # fmt: skip


def marked_later(mark: Path) -> None:
    """As if the clock had been set back since."""
    mark.touch()
    later = time.time() + 3600
    os.utime(mark, (later, later))
