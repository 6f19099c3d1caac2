"""Runs from the command line: their files, kills, stops, failures and settings."""

import csv
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, TINY, command, copied
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score

from rcdnet.errors import RunFailed
from rcdnet.models.checkpoint import build
from rcdnet.models.registry import create_model
from train.__main__ import main
from train.config import TrainConfig
from train.data.dataset_readers import read_sources
from train.data.load_images import decode
from train.data.splits import Split
from train.fit.events import Epoch, Failed, Finished, Started, read_events
from train.fit.loop import logits_of
from train.runs.start_and_resume import start


def test_the_files_of_a_run(run):
    assert {p.name for p in run.iterdir()} == {
        "config.json", "split.json", "data.json", "events.jsonl", "best.safetensors", "best.json", "last.safetensors", "last.json",
        "predictions.csv", "evaluation.json", "log.txt", "lock",
    }  # fmt: skip
    started, *epochs, finished = read_events(run / "events.jsonl")
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert [(e.epoch, e.size) for e in epochs] == [(1, 64), (2, 64), (3, 96)]
    split = Split.read(run / "split.json")
    assert (started.training, started.validation) == (len(split.train), len(split.validation))
    for epoch in epochs:
        assert epoch.loss > 0
        assert epoch.added_loss > 0
        assert epoch.images_per_second > 0
        assert epoch.validation_auc == pytest.approx(np.mean(list(epoch.auc_by_source.values())))
        false_alarms, found = epoch.roc
        assert (false_alarms[0], found[0], false_alarms[-1], found[-1]) == (0, 0, 1, 1)
    assert "Epoch 3, 96 px" in (run / "log.txt").read_text()


def test_best_is_the_epoch_with_the_highest_validation_auc_and_holds_its_weights(run):
    epochs = [e for e in read_events(run / "events.jsonl") if isinstance(e, Epoch)]
    best = max(epochs, key=lambda e: (e.validation_auc, -e.epoch))
    about = json.loads((run / "best.json").read_text())
    assert about["epoch"] == best.epoch
    assert [e.best for e in epochs] == [
        all(e.validation_auc > other.validation_auc for other in epochs[:k]) for k, e in enumerate(epochs)
    ]
    model, decoder = build("mobilenetv2", (run / "best.safetensors").read_bytes())
    assert decoder is not None
    split = Split.read(run / "split.json")
    decoded = decode(
        [s for s in read_sources(TrainConfig.read(run / "config.json").data) if s.id in split.validation], 224
    )
    scores = logits_of(model, torch.from_numpy(decoded.canvases)).softmax(dim=1)[:, 1].numpy()
    for source, auc in best.auc_by_source.items():
        rows = np.array([s.source == source for s in decoded.samples])
        assert roc_auc_score(decoded.labels[rows], scores[rows]) == pytest.approx(auc, abs=1e-9)


def test_validation_can_be_looked_at_less_often_and_is_in_the_last_epoch(data, tmp_path):
    assert main(["fit", *TINY, *data, "--validate-every", "2", "--out", str(tmp_path / "run")]) == 0
    epochs = [e for e in read_events(tmp_path / "run" / "events.jsonl") if isinstance(e, Epoch)]
    assert [e.validation_auc is None for e in epochs] == [True, False, False]
    assert [e.auc_by_source == {} for e in epochs] == [True, False, False]
    assert not epochs[0].best
    assert json.loads((tmp_path / "run" / "best.json").read_text())["epoch"] in (2, 3)


def test_an_epoch_of_few_images_passes_over_them_until_the_steps_are_enough(data, tmp_path):
    out = tmp_path / "run"
    assert main(["fit", *TINY, *data, "--epochs", "2", "--end-size", "64", "--min-steps", "40", "--out", str(out)]) == 0
    started, *epochs, _ = read_events(out / "events.jsonl")
    once = started.training // 8
    steps = [round(e.images_per_second * e.seconds / 8) for e in epochs]
    assert sum(steps) >= 40 > sum(steps) - 2 * once
    assert steps == [once * TrainConfig.read(out / "config.json").passes(started.training)] * 2


def test_keep_last_keeps_the_last_epoch_whatever_its_auc(run, tmp_path):
    """The same run again, so its epochs are those of `run`, whose best one is known."""
    config = TrainConfig.read(run / "config.json")
    best = json.loads((run / "best.json").read_text())["epoch"]
    start(TrainConfig(**{**vars(config), "keep": "last"}), tmp_path / "last")
    assert json.loads((tmp_path / "last" / "best.json").read_text())["epoch"] == 3
    whole, last = load_file(run / "last.safetensors"), load_file(tmp_path / "last" / "last.safetensors")
    assert all(torch.equal(value, last[key]) for key, value in whole.items())
    same = (tmp_path / "last" / "best.safetensors").read_bytes() == (run / "best.safetensors").read_bytes()
    assert same == (best == 3)
    assert "; epoch and" not in (tmp_path / "last" / "evaluation.json").read_text()
    assert "validation: calibration was chosen here" in (tmp_path / "last" / "evaluation.json").read_text()


def failure(out: Path) -> Failed:
    last = read_events(out / "events.jsonl")[-1]
    assert isinstance(last, Failed)
    return last


def test_a_loss_that_is_no_number_fails_and_keeps_nothing_of_it(data, tmp_path):
    model = create_model("mobilenetv2")
    torch.nn.init.constant_(model.get_classifier().weight, float("nan"))
    save_file(model.state_dict(), tmp_path / "nan.safetensors")
    arguments = [*TINY, *data, "--init", str(tmp_path / "nan.safetensors"), "--out", str(tmp_path / "run")]
    assert main(["fit", *arguments]) == 1
    assert failure(tmp_path / "run").kind == "nan_loss"
    assert "smaller learning_rate" in failure(tmp_path / "run").message
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_data_that_cannot_be_used_fails_with_its_reason(busi, tmp_path, capsys):
    folder = copied(busi, tmp_path / "busi")
    (folder / "benign" / "benign (2).png").write_bytes(b"no picture")
    common = [*TINY, "--data", f"busi={folder}"]
    assert main(["fit", *common, "--out", str(tmp_path / "broken")]) == 1
    assert failure(tmp_path / "broken").kind == "data"
    assert "benign (2)" in failure(tmp_path / "broken").message
    for path in (folder / "malignant").glob("*.png"):
        path.unlink()
    assert main(["fit", *common, "--broken", "skip", "--out", str(tmp_path / "empty")]) == 1
    assert (
        "No malignant image" in failure(tmp_path / "empty").message
        or "A class has 0" in failure(tmp_path / "empty").message
    )
    assert main(["fit", *TINY, "--data", f"busi={busi}", "--batch-size", "64", "--out", str(tmp_path / "few")]) == 1
    assert "fewer than one batch of 64" in failure(tmp_path / "few").message
    assert "fewer than one batch of 64" in capsys.readouterr().err


def test_a_full_disk_fails_and_leaves_nothing_half_written(data, tmp_path):
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    out = tmp_path / "full"
    done = subprocess.run(
        command(*TINY, *data, "--epochs", 1, "--out", out),
        cwd=ROOT,
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert failure(out).kind == "disk_full"
    assert "Free some space" in done.stderr
    assert not (out / "last.safetensors").exists()
    subprocess.run(command("--resume", out), cwd=ROOT, check=True, capture_output=True, timeout=200)  # with space again
    assert isinstance(read_events(out / "events.jsonl")[-1], Finished)


def test_too_little_memory_fails_with_advice(data, tmp_path):
    code = (
        "import resource, sys, torch\n"
        "from train.__main__ import main\n"
        "torch.ones(4).sum()\n"
        "data = next(l for l in open('/proc/self/status') if l.startswith('VmData')).split()[1]\n"
        "limit = int(data) * 1024 + 150 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "large"
    arguments = [
        "fit",
        *TINY,
        *data,
        "--start-size",
        "224",
        "--end-size",
        "224",
        "--batch-size",
        "32",
        "--out",
        str(out),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 1, done.stderr
    assert failure(out).kind == "out_of_memory"
    assert "smaller batch_size" in done.stderr


def test_a_run_is_never_overwritten_nor_finished_twice(run, data, capsys):
    assert main(["fit", *TINY, *data, "--out", str(run)]) == 1
    assert "already holds a run" in capsys.readouterr().err
    assert main(["fit", "--resume", str(run)]) == 1
    assert "is finished" in capsys.readouterr().err
    assert main(["fit", *TINY, *data]) == 2


def test_a_table_of_images_trains_without_masks_and_a_run_may_use_all_of_them(busi, tmp_path):
    table = tmp_path / "mine.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([[str(p), p.parent.name] for p in sorted(busi.rglob("*).png"))])
    out = tmp_path / "run"
    arguments = [*TINY, "--data", f"folder={table}", "--epochs", "1", "--split", "all"]
    assert main(["fit", *arguments, "--out", str(out)]) == 0
    (epoch,) = [e for e in read_events(out / "events.jsonl") if isinstance(e, Epoch)]
    assert (epoch.added_loss, epoch.validation_auc, epoch.roc, epoch.best) == (0.0, None, None, True)
    assert json.loads((out / "best.json").read_text())["epoch"] == 1
    assert not (out / "predictions.csv").exists()
    best = (out / "best.safetensors").read_bytes()
    for name in ("best.safetensors", "best.json"):  # killed between the checkpoint and the best weights
        (out / name).unlink()
    (out / "events.jsonl").write_text("".join((out / "events.jsonl").read_text().splitlines(keepends=True)[:-1]))
    assert main(["fit", "--resume", str(out)]) == 0
    assert (out / "best.safetensors").read_bytes() == best


def test_a_run_can_be_given_its_split(run, data, tmp_path):
    split = Split.read(run / "split.json")
    config = TrainConfig.read(run / "config.json")
    other = Split(split.validation, split.train, (), split.groups, "turned around")
    other.write(tmp_path / "split.json")
    smaller = TrainConfig(**{**vars(config), "epochs": 1, "batch_size": 4})
    start(smaller, tmp_path / "run", split=tmp_path / "split.json", say=lambda text: None)
    given = Split.read(tmp_path / "run" / "split.json")
    assert (given.train, given.validation, given.rule) == (other.train, other.validation, "given: turned around")
    missing = Split((*split.train, "busi/gone"), split.validation, (), split.groups, "")
    missing.write(tmp_path / "missing.json")
    with pytest.raises(RunFailed, match="such as busi/gone"):
        start(smaller, tmp_path / "run2", split=tmp_path / "missing.json", say=lambda text: None)


def test_a_given_split_that_leaks_is_refused(run, data, tmp_path):
    split = Split.read(run / "split.json")
    config = TrainConfig.read(run / "config.json")
    pair = next(i for i in split.train if i.endswith("-l"))
    Split(tuple(i for i in split.train if i != pair), (*split.validation, pair), (), {}, "leaks").write(
        tmp_path / "leak.json"
    )
    with pytest.raises(RunFailed, match="of the same patient or a near-copy"):
        start(config, tmp_path / "a", split=tmp_path / "leak.json", say=lambda text: None)
    again = TrainConfig(**{**vars(config), "init": str(run / "best.safetensors"), "seed": 5})
    with pytest.raises(RunFailed, match="validation images of this run were used to train the weights"):
        start(again, tmp_path / "b", say=lambda text: None)


def test_a_resumed_run_keeps_its_settings_and_needs_its_starting_weights_no_more(run, tmp_path, capsys):
    assert main(["fit", "--resume", str(run), "--epochs", "60"]) == 2
    assert "give --resume alone" in capsys.readouterr().err
    out = copied(run, tmp_path / "moved")
    lines = (out / "events.jsonl").read_text().splitlines(keepends=True)
    (out / "events.jsonl").write_text("".join(lines[:-1]))
    settings = json.loads((out / "config.json").read_text()) | {"init": str(tmp_path / "gone.safetensors")}
    (out / "config.json").write_text(json.dumps(settings))  # as if it had begun so, which its checkpoint says too
    with safe_open(out / "last.safetensors", framework="pt") as file:
        progress = json.loads(file.metadata()["progress"]) | {"settings": json.dumps(settings)}
    about = {"progress": json.dumps(progress)}
    save_file(load_file(out / "last.safetensors"), out / "last.safetensors", metadata=about)
    assert main(["fit", "--resume", str(out)]) == 0


def test_imagenet_weights_that_cannot_be_fetched_say_what_to_do(data, tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    out = tmp_path / "run"
    done = subprocess.run(
        command(*TINY, *data, "--model", "regnet", "--init", "imagenet", "--out", out),
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 1
    assert "start from random weights" in done.stderr
    assert failure(out).kind == "config"
