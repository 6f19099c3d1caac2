"""The engine of training: decoder, losses, augmentation, optimiser, several processes."""

import copy
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from conftest import ROOT, TINY

from rcdnet.errors import CheckpointError
from rcdnet.models.lesion_decoder import LesionDecoder, decoder_for
from rcdnet.models.registry import MODELS, create_model
from rcdnet.reading.heatmaps import logits_and_maps
from train.__main__ import main
from train.config import TrainConfig
from train.data.labels import NO_LESION
from train.fit.augment import Views
from train.fit.auxiliary_supervision import MultiTaskModel, birads_loss, evidence_loss, evidence_of, lesion_loss
from train.fit.checkpoints import Progress, restore_state, save_state
from train.fit.engine import Engine, Images, accelerator_for, share_of
from train.fit.events import Epoch, read_events


def test_two_processes_train_as_one(busi, tmp_path):
    """The same global batches, augmented the same; without batch norm, whose statistics a CPU cannot share."""
    settings = [
        "fit", "--model", "vit", "--init", "random", "--data", f"busi={busi}", "--epochs", "2", "--batch-size", "8",
        "--start-size", "64", "--end-size", "96", "--noise", "0.02", "--gamma", "1.2",
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


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_the_lesion_decoder(name):
    network = create_model(name)
    net = MultiTaskModel(network, 224, decoder=decoder_for(network, 224), birads=True, evidence=True).train()
    logits, pixels, category, evidence = net(torch.randn(2, 1, 128, 128))
    assert logits.shape == (2, 2)
    assert pixels.shape[:2] == (2, 3)
    assert evidence.shape == ((2, 8, 8) if name in ("rcdnet", "vit") else (2, 4, 4))
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


@pytest.mark.parametrize("name", MODELS)
def test_the_evidence_pools_to_the_logits_and_is_what_grad_cam_shows(name, classifiers):
    network = classifiers[name].network
    x = torch.randn(1, 1, 224, 224, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        evidence = evidence_of(network, network.forward_features(x))[0]
        logits = network(x)[0]
    bias = network.get_classifier().bias
    assert evidence.mean() + bias[1] - bias[0] == pytest.approx(float(logits[1] - logits[0]), rel=1e-3, abs=1e-3)
    opposite = copy.deepcopy(network)  # as a classifier that started from zeros
    opposite.get_classifier().weight[0] = -opposite.get_classifier().weight[1]
    with torch.no_grad():
        features = opposite.forward_features(x)
        evidence = evidence_of(opposite, features)[0]
    maps = logits_and_maps(opposite, features)[1]
    for shown, expected in zip(maps, (-evidence.clamp(max=0), evidence.clamp(min=0)), strict=True):
        np.testing.assert_allclose(2 * evidence.numel() * shown, expected, rtol=1e-3, atol=1e-3)


def test_evidence_loss_wants_the_class_inside_and_nothing_outside():
    lesions = torch.zeros(1, 2, 64, 64)
    lesions[:, 1, :32, :32] = 1
    known = torch.tensor([True])
    right = torch.zeros(1, 4, 4)
    right[:, :2, :2] = 9
    assert evidence_loss(right, lesions, known) < 0.001
    assert evidence_loss(-right, lesions, known) > 8
    assert evidence_loss(right + 1, lesions, known) == pytest.approx(0.5, abs=0.01)
    beside = right.clone()
    beside[:, 2, :2] = 12  # left free, the places next to the lesion took the peak
    misplaced = np.log(4 * np.exp(9) + 2 * np.exp(12) + 10) - np.log(4 * np.exp(9))
    assert evidence_loss(beside, lesions, known) == pytest.approx(2 * 11.5 / 12 + 0.3 * misplaced, abs=0.01)
    gone = torch.zeros(1, 2, 64, 64)  # cropped away: the evidence ought to be 0, wherever its peak is
    assert evidence_loss(right, gone, known) == pytest.approx(4 * 8.5 / 16)
    assert evidence_loss(-right, lesions.flip(1), known) < 0.001
    assert evidence_loss(-right, lesions, torch.tensor([False])) == 0


def test_birads_counts_where_it_is_known():
    logits = torch.tensor([10.0, -10.0, 10.0])
    suspicion = torch.tensor([1.0, 0.0, 0.0])
    assert birads_loss(logits, suspicion, torch.tensor([True, True, False])) < 0.001
    assert birads_loss(logits, suspicion, torch.tensor([False, False, True])) > 9
    assert birads_loss(logits, suspicion, torch.tensor([False] * 3)) == 0


def test_the_decoder_keeps_the_finest_maps_size():
    maps = [torch.randn(1, c, s, s) for c, s in ((8, 32), (16, 16), (24, 8), (32, 4))]
    assert LesionDecoder([8, 16, 24, 32])(maps).shape == (1, 3, 32, 32)


def test_bf16_is_refused_where_there_is_none(data, tmp_path, capsys, monkeypatch):
    if Accelerator().device.type == "cuda":
        pytest.skip("this machine has bf16")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert main(["fit", *TINY, *data, "--precision", "bf16", "--out", str(tmp_path / "run")]) == 1
    assert "no device here has" in capsys.readouterr().err


def test_bf16_is_taken_on_a_cpu_that_has_it(monkeypatch):
    if Accelerator().device.type == "cuda":
        pytest.skip("this machine trains on its GPU")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    config = TrainConfig(init="random", precision="bf16")
    for precision, expected in (("bf16", "bf16"), ("auto", "no")):
        AcceleratorState._reset_state()  # a process has one precision
        assert accelerator_for(replace(config, precision=precision)).mixed_precision == expected


def test_the_averaged_weights_begin_as_a_plain_mean():
    """A decay that reaches back 500 steps would otherwise be made of random numbers in a short run."""
    config = TrainConfig(model="mobilenetv2", init="random", batch_size=2, ema=0.998)
    engine = Engine(config, create_model("mobilenetv2"), 8, accelerator_for(config))
    grey, nothing = torch.rand(2, 1, 64, 64), torch.zeros(2)
    batch = Images(torch.zeros(2, 64, 64, dtype=torch.uint8), None, torch.tensor([0, 1]), nothing.bool(), nothing)
    seen = []
    for number in range(5):
        engine.step(number, Views(grey.clone(), None, torch.ones(2)), batch)
        seen.append(copy.deepcopy(engine.raw.model.conv_stem.weight.detach()))
    torch.testing.assert_close(engine.averaged.model.conv_stem.weight, torch.stack(seen[1:]).mean(dim=0))
    assert not torch.equal(engine.averaged.model.conv_stem.weight, seen[-1])


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
    first.step(0, Views(grey.clone(), None, torch.ones(2)), batch)
    save_state(tmp_path, "resnet50", Progress(epoch=1), first.raw, first.averaged, first.optimiser)
    restore_state(tmp_path, "resnet50", second.raw, second.averaged, second.optimiser)
    other = Engine(replace(config, mask_weight=1.0), create_model("resnet50"), 1, accelerator_for(config))
    with pytest.raises(CheckpointError, match="holds other parts than this run trains: lesion masks"):
        restore_state(tmp_path, "resnet50", other.raw, other.averaged, other.optimiser)
    moments = [(p, v) for p, state in second.optimiser.state.items() for v in state.values() if v.shape == p.shape]
    assert len(moments) == 2 * len(list(second.raw.parameters()))
    assert all(p.stride() == v.stride() for p, v in moments)
    for number in (1, 2):
        torch.testing.assert_close(
            first.step(number, Views(grey.clone(), None, torch.ones(2)), batch),
            second.step(number, Views(grey.clone(), None, torch.ones(2)), batch),
            rtol=0,
            atol=0,
        )


def test_a_scan_without_a_lesion_teaches_where_none_is_and_no_class():
    """Its logits get no gradient; its pixels and its heatmap do."""
    config = TrainConfig(model="rcdnet", init="random", batch_size=2, mixup=0.0, mask_weight=1.0, evidence_weight=1.0)
    engine = Engine(config, create_model("rcdnet"), 1, accelerator_for(config))
    grey, empty = torch.rand(2, 1, 64, 64), torch.zeros(2, 1, 64, 64)
    nothing = Images(
        torch.zeros(2, 64, 64, dtype=torch.uint8),
        torch.zeros(2, 64, 64, dtype=torch.uint8),
        torch.tensor([NO_LESION, NO_LESION]),
        torch.ones(2, dtype=torch.bool),
        torch.full((2,), torch.nan),
    )
    class_loss, added, right, _ = engine.step(0, Views(grey, empty, torch.ones(2)), nothing)
    assert class_loss == 0
    assert right == 0
    assert added > 0


def test_a_view_that_lost_its_lesion_teaches_no_class():
    config = TrainConfig(model="mobilenetv2", init="random", batch_size=2, mixup=0.0)
    engine = Engine(config, create_model("mobilenetv2"), 1, accelerator_for(config))
    batch = Images(
        torch.zeros(2, 64, 64, dtype=torch.uint8),
        None,
        torch.tensor([0, 1]),
        torch.ones(2, dtype=torch.bool),
        torch.full((2,), torch.nan),
    )
    grey = torch.rand(2, 1, 64, 64)
    assert engine.step(0, Views(grey, None, torch.tensor([0.0, 0.2])), batch)[0] == 0
    assert engine.step(1, Views(grey, None, torch.tensor([0.0, 0.3])), batch)[0] > 0
