"""A run from the command line to weights that the app would load, and one cut short that goes on."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from test_train_data import write_busbra, write_busi

from rcdnet.checkpoint import load_checkpoint
from rcdnet.errors import DatasetError, NotTrained
from rcdnet.registry import MODELS, create_model
from train.__main__ import main
from train.augment import augment
from train.config import TrainConfig
from train.decoder import LesionDecoder, lesion_loss
from train.loop import Supervised, fit
from train.metrics import auc_interval, group_means, sensitivity_specificity, threshold_at_sensitivity

TINY = ["--epochs", "2", "--fine-epochs", "1", "--coarse-size", "64", "--batch-size", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("data")
    busi, busbra = write_busi(folder / "busi", 5), write_busbra(folder / "busbra", 8)
    return ["--data", f"busbra={busbra}", "--data", f"busi={busi}"]


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["fit", "--model", "mobilenetv2", *data, "--out", str(out), *TINY]) == 0
    return out


def test_the_files_of_a_run(run):
    assert {p.name for p in run.iterdir()} >= {
        "config.json", "split.json", "events.jsonl", "state.safetensors", "model.safetensors",
    }  # fmt: skip
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [(e["epoch"], e["size"]) for e in events] == [(1, 64), (2, 224)]
    assert events[0]["validation_auc"] == {}
    assert set(events[1]["validation_auc"]) == {"busi", "busbra"}
    weights = load_file(run / "model.safetensors")
    assert {k: v.shape for k, v in weights.items()} == {
        k: v.shape for k, v in create_model("mobilenetv2").state_dict().items()
    }
    assert {v.dtype for v in weights.values()} == {torch.float16, torch.int64}


def test_evaluate_writes_predictions_and_a_card_that_agrees_with_them(run, tmp_path, monkeypatch, capsys):
    from train import evaluation

    card = evaluation.evaluate(run, ship=True, folder=tmp_path)
    rows = np.genfromtxt(run / "predictions.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    busbra = rows[rows["source"] == "busbra"]
    figures = card.validation[0]
    assert figures.images == len(busbra)
    assert figures.auc == pytest.approx(roc_auc_score(busbra["label"], busbra["p_malignant"]), abs=1e-9)
    found = busbra["p_malignant"][busbra["label"] == 1] >= card.threshold
    assert found.mean() == figures.sensitivity >= 0.95
    if card.answers:
        assert load_checkpoint("mobilenetv2", tmp_path)[1] == card
    else:
        with pytest.raises(NotTrained):
            load_checkpoint("mobilenetv2", tmp_path)
    assert "DIR" in card.training_command
    assert "--epochs 2" in card.training_command


def test_a_killed_run_goes_on_and_ends_as_if_never_killed(run, data, tmp_path):
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "train", "fit", "--model", "mobilenetv2", *data, "--out", str(out), *TINY]
    process = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + 120
    while not (out / "events.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (out / "model.safetensors").exists()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    whole, resumed = load_file(run / "model.safetensors"), load_file(out / "model.safetensors")
    for key in whole:
        torch.testing.assert_close(resumed[key].float(), whole[key].float(), atol=1e-3, rtol=1e-3)


def test_other_settings_for_a_begun_run_are_refused(run, data, capsys):
    assert main(["fit", "--model", "mobilenetv2", *data, "--out", str(run), *TINY, "--fold", "3"]) == 1
    assert "other settings" in capsys.readouterr().err


def test_settings_that_do_not_fit_are_named(data, tmp_path, capsys):
    assert main(["fit", "--model", "vit", *data, "--out", str(tmp_path), "--epochs", "3", "--fine-epochs", "9"]) == 1
    assert "fine_epochs is 9; expected 0 to 3" in capsys.readouterr().err


def test_evaluating_an_unfinished_run_says_how_to_go_on(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "holds no finished run" in capsys.readouterr().err


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_the_lesion_decoder(name):
    net = Supervised(create_model(name), 224).train()
    logits, pixels = net(torch.randn(2, 1, 128, 128))
    assert logits.shape == (2, 2)
    assert pixels.shape[:2] == (2, 3)
    (logits.sum() + lesion_loss(pixels, torch.ones(2, 1, 128, 128), torch.tensor([0, 1]))).backward()
    assert next(net.model.parameters()).grad.abs().sum() > 0


def test_lesion_loss_is_small_for_the_right_pixels_and_large_for_the_wrong_class():
    lesions = torch.zeros(1, 1, 32, 32)
    lesions[..., 8:24, 8:24] = 1
    right = torch.stack([10 * (1 - lesions[0, 0]), torch.zeros(32, 32), 10 * lesions[0, 0]])[None]
    assert lesion_loss(right, lesions, torch.tensor([1])) < 0.01
    assert lesion_loss(right, lesions, torch.tensor([0])) > 1


def test_the_decoder_keeps_the_finest_maps_size():
    maps = [torch.randn(1, c, s, s) for c, s in ((8, 32), (16, 16), (24, 8), (32, 4))]
    assert LesionDecoder([8, 16, 24, 32])(maps).shape == (1, 3, 32, 32)


def test_augmentation_moves_image_and_mask_together_and_never_upside_down():
    generator = torch.Generator().manual_seed(0)
    canvases = torch.zeros(64, 96, 96, dtype=torch.uint8)
    canvases[:, 20:40, 40:60] = 200
    grey, lesions = augment(canvases, (canvases > 0).to(torch.uint8), 64, generator)
    assert grey.shape == lesions.shape == (64, 1, 64, 64)
    assert grey.min() >= 0
    assert grey.max() <= 1
    for picture, lesion in zip(grey, lesions, strict=True):
        assert picture[lesion > 0].mean() > picture[lesion == 0].mean() + 0.3
        rows = torch.nonzero(lesion[0])[:, 0].float()
        assert rows.mean() < 32  # what lies in the upper half stays there
    assert len({round(float(p.mean()), 4) for p in grey}) > 50


def test_sizes_rise_evenly_to_the_models_own():
    config = TrainConfig("rcdnet", epochs=8, fine_epochs=2)
    assert [config.size_at(e) for e in range(8)] == [128, 128, 160, 160, 192, 192, 224, 224]
    assert TrainConfig("rcdnet", epochs=3, fine_epochs=3).size_at(0) == 224


def test_figures_on_arrays_worked_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    scores = np.array([0.1, 0.2, 0.6, 0.3, 0.7, 0.8, 0.9, 0.4])
    assert threshold_at_sensitivity(labels, scores, 0.75) == pytest.approx(0.65)
    assert threshold_at_sensitivity(labels, scores, 0.95) == pytest.approx(0.25)
    assert sensitivity_specificity(labels, scores, 0.3) == (1.0, 0.5)
    groups = np.array([0, 0, 1, 2, 2, 3, 4, 5])
    grouped_labels, grouped_scores = group_means(labels, scores, groups)
    assert grouped_labels.tolist() == [0, 0, 1, 1, 1, 0]
    assert grouped_scores == pytest.approx([0.15, 0.6, 0.5, 0.8, 0.9, 0.4])
    low, high = auc_interval(labels, scores, groups)
    assert low < roc_auc_score(labels, scores) <= high == 1.0


def test_too_few_images_are_named_before_any_training(data, tmp_path):
    folders = dict(argument.split("=", 1) for argument in data if "=" in argument)
    with pytest.raises(DatasetError, match="at least 10 are needed"):
        fit(TrainConfig("mobilenetv2", folders, epochs=1, fine_epochs=0), tmp_path)
