"""Runs from the command line: their files, kills, stops and failures, and weights that the app would load."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from conftest import ROOT
from safetensors.torch import load_file, save_file
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from rcdnet.checkpoint import load_checkpoint
from rcdnet.errors import ConfigError, DatasetError, NotTrained, RunFailed
from rcdnet.registry import MODELS, create_model
from train.__main__ import main
from train.assess import evaluate_elsewhere
from train.augment import augment, draw_moves
from train.config import TrainConfig
from train.decode import decode
from train.decoder import LesionDecoder, Supervised, birads_loss, lesion_loss
from train.engine import Engine, Images, accelerator_for, share_of
from train.events import Epoch, Failed, Finished, Started, Stopped, read_events
from train.files import append_line, whole_lines, write_whole
from train.initial import starting_model
from train.loop import logits_of
from train.predictions import read_predictions
from train.run import start
from train.ship import ship
from train.sources import read_sources
from train.splits import Split
from train.state import Progress, restore_state, save_state

TINY = [
    "--model", "mobilenetv2", "--init", "random", "--epochs", "3", "--batch-size", "8", "--start-size", "64",
    "--full-size-epochs", "1", "--mask-weight", "1", "--ema", "0.9", "--noise", "0.02", "--gamma", "1.2", "--gain", "0.1",
    "--softened", "0.5", "--birads-weight", "0.5",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(busi, busbra) -> list[str]:
    return ["--data", f"busbra={busbra}", "--data", f"busi={busi}"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "train", "fit", *map(str, arguments)]


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A finished run, made by the command itself."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    subprocess.run(command(*TINY, *data, "--out", out), cwd=ROOT, check=True, timeout=300, capture_output=True)
    return out


def copied(run: Path, place: Path) -> Path:
    shutil.copytree(run, place)
    return place


def test_the_files_of_a_run(run):
    assert {p.name for p in run.iterdir()} == {
        "config.json", "split.json", "events.jsonl", "best.safetensors", "best.json", "last.safetensors", "last.json",
        "predictions.csv", "evaluation.json", "log.txt", "lock",
    }  # fmt: skip
    started, *epochs, finished = read_events(run / "events.jsonl")
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert [(e.epoch, e.size) for e in epochs] == [(1, 64), (2, 128), (3, 224)]
    split = Split.read(run / "split.json")
    assert (started.training, started.validation) == (len(split.train), len(split.validation))
    for epoch in epochs:
        assert epoch.loss > 0
        assert epoch.added_loss > 0
        assert epoch.images_per_second > 0
        assert epoch.validation_auc == pytest.approx(np.mean(list(epoch.auc_by_source.values())))
        false_alarms, found = epoch.roc
        assert (false_alarms[0], found[0], false_alarms[-1], found[-1]) == (0, 0, 1, 1)
    assert "Epoch 3, 224 px" in (run / "log.txt").read_text()


def test_best_is_the_epoch_with_the_highest_validation_auc_and_holds_its_weights(run):
    epochs = [e for e in read_events(run / "events.jsonl") if isinstance(e, Epoch)]
    best = max(epochs, key=lambda e: (e.validation_auc, -e.epoch))
    about = json.loads((run / "best.json").read_text())
    assert about["epoch"] == best.epoch
    assert [e.best for e in epochs] == [
        all(e.validation_auc > other.validation_auc for other in epochs[:k]) for k, e in enumerate(epochs)
    ]
    model = create_model("mobilenetv2")
    model.load_state_dict(load_file(run / "best.safetensors"))
    split = Split.read(run / "split.json")
    decoded = decode(
        [s for s in read_sources(TrainConfig.read(run / "config.json").data) if s.id in split.validation], 224
    )
    scores = logits_of(model, torch.from_numpy(decoded.canvases)).softmax(dim=1)[:, 1].numpy()
    for source, auc in best.auc_by_source.items():
        rows = np.array([s.source == source for s in decoded.samples])
        assert roc_auc_score(decoded.labels[rows], scores[rows]) == pytest.approx(auc, abs=1e-9)


def test_predictions_are_of_the_validation_side_and_give_the_figures(run):
    rows = read_predictions(run / "predictions.csv")
    assert [row.id for row in rows] == list(Split.read(run / "split.json").validation)
    evaluation = json.loads((run / "evaluation.json").read_text())
    for row in rows:
        assert row.probability == pytest.approx(expit(row.logit / evaluation["temperature"]))
        assert row.marks is True  # every phantom says SYNTHETIC
    first = evaluation["sets"][0]
    members = [row for row in rows if row.source == first["name"]]
    labels, scores = np.array([r.label for r in members]), np.array([r.probability for r in members])
    assert first["figures"]["auc"]["value"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert first["figures"]["sensitivity"]["value"] == (scores[labels == 1] >= evaluation["threshold"]).mean() >= 0.95
    assert "chosen here" in first["role"]


def kill_and_resume(out: Path, data: list[str], ready: Callable[[], bool]) -> None:
    process = subprocess.Popen(command(*TINY, *data, "--out", out), cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not ready() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not any(isinstance(e, Finished) for e in read_events(out / "events.jsonl"))
    subprocess.run(command("--resume", out), cwd=ROOT, check=True, capture_output=True, timeout=300)


def test_a_killed_run_goes_on_and_ends_bit_for_bit_as_if_never_killed(run, data, tmp_path):
    moments = {
        "while a checkpoint is written": lambda out: (out / "last.safetensors.new").exists(),
        "right after a checkpoint": lambda out: (out / "best.json").exists(),
    }
    for number, ready in enumerate(moments.values()):
        out = tmp_path / str(number)
        kill_and_resume(out, data, lambda out=out, ready=ready: ready(out))
        whole, resumed = load_file(run / "last.safetensors"), load_file(out / "last.safetensors")
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
        assert (out / "best.safetensors").read_bytes() == (run / "best.safetensors").read_bytes()
        assert (out / "predictions.csv").read_bytes() == (run / "predictions.csv").read_bytes()
        events = read_events(out / "events.jsonl")
        assert [e.epoch for e in events if isinstance(e, Epoch)] == [1, 2, 3]
        assert isinstance(events[-1], Finished)


def test_an_epoch_line_lost_to_a_kill_is_written_again(run, tmp_path):
    out = copied(run, tmp_path / "lost")
    lines = (out / "events.jsonl").read_text().splitlines(keepends=True)
    (out / "events.jsonl").write_text("".join(lines[:3]))  # killed before the line of epoch 3
    assert main(["fit", "--resume", str(out)]) == 0
    events = read_events(out / "events.jsonl")
    assert events[:4] == read_events(run / "events.jsonl")[:4]
    assert (events[4].event, events[4].epoch, events[5].event) == ("started", 3, "finished")


def test_a_stop_file_ends_the_run_between_batches_and_it_can_be_resumed(run, data, tmp_path):
    out = tmp_path / "stopped"
    process = subprocess.Popen(command(*TINY, *data, "--out", out), cwd=ROOT, stdout=subprocess.DEVNULL)
    while not (out / "last.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # held, so that it cannot finish meanwhile
    second = subprocess.run(command("--resume", out), cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert second.returncode == 1
    assert "Another process trains in" in second.stderr
    (out / "stop").touch()
    process.send_signal(signal.SIGCONT)
    assert process.wait(100) == 0
    stopped = read_events(out / "events.jsonl")[-1]
    assert isinstance(stopped, Stopped)
    assert 1 <= stopped.epoch < 3
    assert main(["fit", "--resume", str(out)]) == 0
    assert (out / "best.safetensors").read_bytes() == (run / "best.safetensors").read_bytes()


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
        command(*TINY, *data, "--out", out),
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
    arguments = ["fit", *TINY, *data, "--start-size", "224", "--batch-size", "32", "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 1, done.stderr
    assert failure(out).kind == "out_of_memory"
    assert "smaller batch_size" in done.stderr


def test_a_run_is_never_overwritten_nor_finished_twice(run, data, capsys):
    assert main(["fit", *TINY, *data, "--out", str(run)]) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert main(["fit", "--resume", str(run)]) == 1
    assert "is finished" in capsys.readouterr().err
    assert main(["fit", *TINY, *data]) == 2


def test_two_processes_train_as_one(busi, tmp_path):
    """The same global batches, augmented the same; without batch norm, whose statistics a CPU cannot share."""
    settings = [
        "fit", "--model", "vit", "--init", "random", "--data", f"busi={busi}", "--epochs", "2", "--batch-size", "8",
        "--start-size", "64", "--noise", "0.02", "--gamma", "1.2",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name, launcher in (
        ("one", []),
        ("two", ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]),
    ):
        launched = [sys.executable, *launcher, "-m", "train", *settings, "--out", str(tmp_path / name)]
        done = subprocess.run(launched, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    one, two = (
        [e for e in read_events(tmp_path / name / "events.jsonl") if isinstance(e, Epoch)] for name in ("one", "two")
    )
    assert len(one) == len(two) == 2
    for alone, together in zip(one, two, strict=True):
        for figure in ("loss", "accuracy", "validation_loss", "validation_accuracy", "validation_auc"):
            assert getattr(together, figure) == pytest.approx(getattr(alone, figure), abs=1e-3), figure
    assert read_events(tmp_path / "two" / "events.jsonl")[0].processes == 2
    files = [{p.name for p in (tmp_path / name).iterdir()} for name in ("one", "two")]
    assert files[0] == files[1]


def test_a_share_of_the_batch_keeps_mixups_pairs_together():
    class Two:
        num_processes = 2
        device = torch.device("cpu")

        def __init__(self, index: int):
            self.process_index = index

    first, second = (share_of(8, Two(k)) for k in (0, 1))
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(8))
    for share in (first, second):
        assert (share + share.flip(0) == 7).all()


def test_evaluate_and_ship_make_what_the_app_loads(run, tmp_path, capsys):
    out = copied(run, tmp_path / "run")
    (out / "evaluation.json").unlink()
    assert main(["evaluate", str(out)]) == 0
    assert (out / "evaluation.json").read_bytes() == (run / "evaluation.json").read_bytes()
    card = ship(out, tmp_path / "weights")
    assert (tmp_path / "weights" / "mobilenetv2.safetensors").stat().st_size < 1.2 * 2 * MODELS[
        "mobilenetv2"
    ].parameters
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert (card.temperature, card.threshold) == (evaluation["temperature"], evaluation["threshold"])
    assert card.validation[0].auc == evaluation["sets"][0]["figures"]["auc"]["value"]
    assert "DIR" in card.training_command
    assert "--epochs 3" in card.training_command
    if card.answers:
        assert load_checkpoint("mobilenetv2", tmp_path / "weights")[1] == card
    else:
        with pytest.raises(NotTrained):
            load_checkpoint("mobilenetv2", tmp_path / "weights")
    (out / "evaluation.json").write_text((out / "evaluation.json").read_text().replace(card.sha256, "0" * 64))
    with pytest.raises(DatasetError, match="is of other weights"):
        ship(out, tmp_path / "weights")


def test_an_external_test_leaves_out_what_the_run_knows(run, busi, tmp_path, capsys):
    place = tmp_path / "clinic"
    for name in ("benign", "malignant"):
        (place / name).mkdir(parents=True)
    from train.phantoms import write_dataset

    write_dataset(tmp_path / "new", 4, seed=8)
    for path in (tmp_path / "new").rglob("*).png"):
        shutil.copy(path, place / path.parent.name)
    shutil.copy(busi / "benign" / "benign (2).png", place / "benign" / "seen.png")
    out = copied(run, tmp_path / "run")
    assert main(["evaluate", str(out), "--data", f"folder={place}"]) == 0
    assert "Left out: clinic/benign/seen.png: the run knows it, or a near-copy of it" in capsys.readouterr().out
    folder = out / "external" / "clinic"
    rows = read_predictions(folder / "predictions.csv")
    assert len(rows) == 8
    assert "seen" not in " ".join(row.id for row in rows)
    inside = json.loads((out / "evaluation.json").read_text())
    outside = json.loads((folder / "evaluation.json").read_text())
    assert (outside["threshold"], outside["temperature"]) == (inside["threshold"], inside["temperature"])
    assert outside["left_out"] == ["clinic/benign/seen.png: the run knows it, or a near-copy of it"]
    assert "nothing was chosen here" in outside["sets"][0]["role"]
    with pytest.raises(DatasetError, match="was used in training"):
        evaluate_elsewhere(out, [("busi", str(busi))])


def test_bundled_weights_are_evaluated_too(busi, tmp_path, capsys):
    assert main(["evaluate", "rcdnet", "--data", f"busi={busi}"]) == 1
    assert "Give one with --out" in capsys.readouterr().err
    assert main(["evaluate", "rcdnet", "--data", f"busi={busi}", "--out", str(tmp_path / "e")]) == 0
    file = ROOT / "assets" / "weights" / "rcdnet.safetensors"
    assert main(["evaluate", str(file), "--data", f"busi={busi}", "--out", str(tmp_path / "f")]) == 0
    assert (tmp_path / "e" / "predictions.csv").read_bytes() == (tmp_path / "f" / "predictions.csv").read_bytes()
    assert "was not checked" in json.loads((tmp_path / "e" / "evaluation.json").read_text())["sets"][0]["role"]


def test_compare_prints_runs_and_their_test(run, tmp_path, capsys):
    other = copied(run, tmp_path / "other")
    assert main(["compare", str(run), str(other)]) == 0
    printed = capsys.readouterr().out
    assert "| whole | mobilenetv2 |" in printed
    assert "| other | mobilenetv2 |" in printed
    assert "difference +0.000 [+0.000, +0.000], p = 1.000" in printed
    assert main(["compare", str(tmp_path)]) == 1
    assert "python -m train evaluate RUN" in capsys.readouterr().err


def test_evaluating_an_unfinished_run_says_how_to_go_on(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "holds no weights yet" in capsys.readouterr().err


def test_runs_start_from_the_weights_that_were_asked_for(run, tmp_path):
    trained = load_file(run / "best.safetensors")
    model = starting_model("mobilenetv2", str(run / "best.safetensors"))
    assert all(torch.equal(value, trained[key]) for key, value in model.state_dict().items())
    bundled = starting_model("rcdnet", "bundled")
    card_weights = load_checkpoint("rcdnet")[0].state_dict()
    assert all(torch.equal(value, card_weights[key]) for key, value in bundled.state_dict().items())
    assert all(p.requires_grad for p in bundled.parameters())
    assert bundled.training
    with pytest.raises(NotTrained):
        starting_model("resnet50", "bundled")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ConfigError, match="cannot be read as safetensors"):
        starting_model("vit", str(tmp_path / "text.safetensors"))
    with pytest.raises(ConfigError, match="fits neither ViT nor timm's vit_tiny"):
        starting_model("vit", str(run / "best.safetensors"))


def test_imagenet_weights_that_cannot_be_fetched_say_what_to_do(data, tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    out = tmp_path / "run"
    done = subprocess.run(
        command(*TINY, *data, "--init", "imagenet", "--out", out),
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--init random" in done.stderr
    assert failure(out).kind == "config"


def test_a_table_of_images_trains_without_masks_and_a_run_may_use_all_of_them(busi, tmp_path):
    table = tmp_path / "mine.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([[str(p), p.parent.name] for p in sorted(busi.rglob("*).png"))])
    out = tmp_path / "run"
    arguments = [*TINY, "--data", f"folder={table}", "--epochs", "1", "--full-size-epochs", "0", "--split", "all"]
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
    smaller = TrainConfig(**{**vars(config), "epochs": 1, "full_size_epochs": 0, "batch_size": 4})
    start(smaller, tmp_path / "run", split=tmp_path / "split.json", say=lambda text: None)
    given = Split.read(tmp_path / "run" / "split.json")
    assert (given.train, given.validation, given.rule) == (other.train, other.validation, "given: turned around")
    missing = Split((*split.train, "busi/gone"), split.validation, (), split.groups, "")
    missing.write(tmp_path / "missing.json")
    with pytest.raises(RunFailed, match="busi/gone first"):
        start(smaller, tmp_path / "run2", split=tmp_path / "missing.json", say=lambda text: None)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_the_lesion_decoder(name):
    net = Supervised(create_model(name), 224, decoder=True, birads=True).train()
    logits, pixels, category = net(torch.randn(2, 1, 128, 128))
    assert logits.shape == (2, 2)
    assert pixels.shape[:2] == (2, 3)
    lesions = torch.zeros(2, 2, 128, 128)
    lesions[0, 0] = lesions[1, 1] = 1
    (logits.sum() + category.sum() + lesion_loss(pixels, lesions, torch.tensor([True, True]))).backward()
    assert next(net.model.parameters()).grad.abs().sum() > 0


def test_lesion_loss_is_small_for_the_right_pixels_and_large_for_the_wrong_class():
    lesions = torch.zeros(1, 2, 32, 32)
    lesions[:, 1, 8:24, 8:24] = 1
    logits = 20 * torch.stack([1 - lesions[0, 1], torch.zeros(32, 32), lesions[0, 1]])[None]
    known = torch.tensor([True])
    assert lesion_loss(logits, lesions, known) < 0.01
    assert lesion_loss(logits, lesions.flip(1), known) > 1
    assert lesion_loss(logits, lesions.flip(1), torch.tensor([False])) == 0
    both = lesion_loss(logits.repeat(2, 1, 1, 1), torch.cat([lesions, lesions.flip(1)]), torch.tensor([True, False]))
    assert both == lesion_loss(logits, lesions, known)


def test_birads_counts_where_it_is_known():
    logits = torch.tensor([10.0, -10.0, 10.0])
    suspicion = torch.tensor([1.0, 0.0, 0.0])
    assert birads_loss(logits, suspicion, torch.tensor([True, True, False])) < 0.001
    assert birads_loss(logits, suspicion, torch.tensor([False, False, True])) > 9
    assert birads_loss(logits, suspicion, torch.tensor([False] * 3)) == 0


def test_the_decoder_keeps_the_finest_maps_size():
    maps = [torch.randn(1, c, s, s) for c, s in ((8, 32), (16, 16), (24, 8), (32, 4))]
    assert LesionDecoder([8, 16, 24, 32])(maps).shape == (1, 3, 32, 32)


def test_augmentation_moves_image_and_mask_together_and_never_upside_down():
    config = TrainConfig(init="random", crop=0.8, rotation=11, scale=0.2, gamma=1.5, gain=0.2, noise=0.03, softened=1.0)
    moves = draw_moves(config, 64, 64, torch.Generator().manual_seed(0), np.random.default_rng(0))
    canvases = torch.zeros(64, 96, 96, dtype=torch.uint8)
    canvases[:, 24:40, 40:60] = 200
    grey, lesions = augment(canvases, (canvases > 0).to(torch.uint8), 64, moves)
    assert grey.shape == lesions.shape == (64, 1, 64, 64)
    assert grey.min() >= 0
    assert grey.max() <= 1
    for picture, lesion in zip(grey, lesions, strict=True):
        assert picture[lesion > 0].mean() > picture[lesion == 0].mean() + 0.3
        assert torch.nonzero(lesion[0])[:, 0].float().mean() < 32  # what lies in the upper half stays there
    assert len({round(float(p.mean()), 4) for p in grey}) > 50
    some = torch.tensor([3, 40])
    part, _ = augment(canvases[some], None, 64, moves.of(some))
    torch.testing.assert_close(part, grey[some])


def test_without_augmentation_an_image_stays_as_it_is():
    config = TrainConfig(init="random", crop=1.0, rotation=0, scale=0, flip=0)
    moves = draw_moves(config, 2, 64, torch.Generator().manual_seed(0), np.random.default_rng(0))
    canvases = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    grey, lesions = augment(canvases, None, 64, moves)
    torch.testing.assert_close(grey[:, 0], canvases / 255, atol=1e-4, rtol=0)
    assert lesions is None


def test_bf16_is_refused_where_there_is_none(data, tmp_path, capsys):
    if Accelerator().device.type == "cuda":
        pytest.skip("this machine has bf16")
    assert main(["fit", *TINY, *data, "--precision", "bf16", "--out", str(tmp_path / "run")]) == 1
    assert "no device here has" in capsys.readouterr().err


def test_a_file_of_timms_weights_starts_the_trunk(tmp_path):
    trunk = timm.create_model("efficientnet_b0", in_chans=3)
    save_file(trunk.state_dict(), tmp_path / "b0.safetensors")
    model = starting_model("rcdnet", str(tmp_path / "b0.safetensors"))
    torch.testing.assert_close(model.trunk.blocks[3][1].conv_pw.weight, trunk.blocks[3][1].conv_pw.weight)
    summed = trunk.conv_stem.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(model.trunk.conv_stem.weight, summed)  # three colours become one grey


def test_a_restored_optimiser_lies_in_memory_as_its_parameters_do(tmp_path):
    """Fused optimisers refuse moments that are laid out otherwise, which a CPU would not notice."""
    config = TrainConfig(model="resnet50", init="random", batch_size=2)

    def engine() -> Engine:
        torch.manual_seed(0)
        return Engine(config, create_model("resnet50"), 1, accelerator_for(config))

    first, second = engine(), engine()
    grey = torch.rand(2, 1, 64, 64)
    batch = Images(
        torch.zeros(2, 64, 64, dtype=torch.uint8),
        None,
        torch.tensor([0, 1]),
        torch.zeros(2, dtype=torch.bool),
        torch.full((2,), torch.nan),
    )
    first.step(0, grey.clone(), None, batch)
    save_state(tmp_path, "resnet50", Progress(epoch=1), first.raw, first.kept, first.optimiser)
    restore_state(tmp_path, "resnet50", second.raw, second.kept, second.optimiser)
    moments = [(p, v) for p, state in second.optimiser.state.items() for v in state.values() if v.shape == p.shape]
    assert len(moments) == 2 * len(list(second.raw.parameters()))
    assert all(p.stride() == v.stride() for p, v in moments)
    for number in (1, 2):
        torch.testing.assert_close(
            first.step(number, grey.clone(), None, batch),
            second.step(number, grey.clone(), None, batch),
            rtol=0,
            atol=0,
        )


def test_best_weights_that_are_not_the_runs_own_are_refused(run, tmp_path, capsys):
    out = copied(run, tmp_path / "run")
    about = json.loads((out / "best.json").read_text())
    (out / "best.json").write_text(json.dumps(about | {"epoch": about["epoch"] + 1}))
    assert main(["evaluate", str(out)]) == 1
    assert "are not those of epoch" in capsys.readouterr().err
    (out / "best.json").write_text(json.dumps(about | {"preprocessing": "another"}))
    assert main(["evaluate", str(out), "--ship"]) == 1
    assert "was made for preprocessing another" in capsys.readouterr().err
    (out / "best.json").write_text(json.dumps(about))
    (out / "predictions.csv").write_bytes((out / "predictions.csv").read_bytes()[:-30])
    assert main(["compare", str(out), str(run)]) == 1
    assert "python -m train evaluate RUN" in capsys.readouterr().err


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
    with pytest.raises(RunFailed, match="validation images trained the weights"):
        start(again, tmp_path / "b", say=lambda text: None)


def test_a_resumed_run_keeps_its_settings_and_needs_its_starting_weights_no_more(run, tmp_path, capsys):
    assert main(["fit", "--resume", str(run), "--epochs", "60"]) == 2
    assert "give --resume alone" in capsys.readouterr().err
    out = copied(run, tmp_path / "moved")
    lines = (out / "events.jsonl").read_text().splitlines(keepends=True)
    (out / "events.jsonl").write_text("".join(lines[:-1]))
    settings = json.loads((out / "config.json").read_text()) | {"init": str(tmp_path / "gone.safetensors")}
    (out / "config.json").write_text(json.dumps(settings))
    assert main(["fit", "--resume", str(out)]) == 0


def test_writing_survives_what_a_kill_or_a_full_disk_leaves(tmp_path):
    path = tmp_path / "lines"
    append_line(path, "one é\n")
    with path.open("ab") as file:
        file.write("half a line é".encode()[:-1])  # killed in the middle of a letter
    assert whole_lines(path) == ["one é"]
    append_line(path, "two\n")
    assert whole_lines(path) == ["one é", "two"]
    assert whole_lines(tmp_path / "none") == []
    write_whole(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["lines"]
