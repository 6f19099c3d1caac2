"""The weights a run starts from: random numbers, ImageNet's, the app's, another run's."""

import shutil
from dataclasses import replace

import pytest
import timm
import torch
from conftest import TINY
from safetensors.torch import load_file, save_file
from timm.layers import DropPath

from rcdnet.errors import ConfigError
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, load_checkpoint
from rcdnet.models.registry import CLASSES, MODELS
from train.__main__ import main
from train.config import TrainConfig
from train.evaluate.predictions import read_predictions
from train.fit.engine import Engine, accelerator_for
from train.fit.events import read_events
from train.fit.initial_weights import IMAGENET_TRUNKS, starting_model
from train.publish.ship import ship


def test_runs_start_from_the_weights_that_were_asked_for(run, tmp_path):
    trained = load_file(run / "best.safetensors")
    model = starting_model("mobilenetv2", str(run / "best.safetensors")).network
    assert all(torch.equal(value, trained[key]) for key, value in model.state_dict().items())
    for name in MODELS:
        fresh, decoder = starting_model(name, "random", drop_path=0.1)
        assert decoder is None
        assert not fresh.get_classifier().weight.any()
        assert not fresh.get_classifier().bias.any()
        assert any(isinstance(module, DropPath) and module.drop_prob for module in fresh.modules())
    bundled, _ = starting_model("rcdnet", "bundled")
    card_weights = load_checkpoint("rcdnet")[0].state_dict()
    assert all(torch.equal(value, card_weights[key]) for key, value in bundled.state_dict().items())
    assert all(p.requires_grad for p in bundled.parameters())
    assert bundled.training
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ConfigError, match="cannot be read as safetensors"):
        starting_model("vit", str(tmp_path / "text.safetensors"))
    with pytest.raises(ConfigError, match="fits neither ViT nor timm's vit_tiny"):
        starting_model("vit", str(run / "best.safetensors"))


@pytest.mark.parametrize("init", ["bundled", "file"])
def test_a_lesion_decoder_goes_on_learning_where_its_weights_left_off(init):
    """Fine-tuning the app's RcdNet began with a decoder of random numbers, and the outline was lost."""
    config = TrainConfig(model="rcdnet", mask_weight=2.0)
    file = str(WEIGHTS_FOLDER / "rcdnet.safetensors")
    network, decoder = starting_model("rcdnet", init if init == "bundled" else file)
    engine = Engine(config, network, 1, accelerator_for(config), decoder)
    trained = {k.removeprefix("decoder."): v for k, v in load_file(file).items() if k.startswith("decoder.")}
    assert trained
    assert all(torch.equal(value.half(), trained[key].half()) for key, value in engine.raw.decoder.state_dict().items())
    assert all(p.requires_grad for p in engine.raw.parameters())
    without_masks = Engine(replace(config, mask_weight=0.0), network, 1, accelerator_for(config), decoder)
    assert without_masks.raw.decoder is None


def test_a_file_of_timms_weights_starts_the_trunk(tmp_path):
    trunk = timm.create_model("tf_efficientnet_lite0", in_chans=3)
    save_file(trunk.state_dict(), tmp_path / "lite0.safetensors")
    model = starting_model("rcdnet", str(tmp_path / "lite0.safetensors")).network
    torch.testing.assert_close(model.trunk.blocks[3][1].conv_pw.weight, trunk.blocks[3][1].conv_pw.weight)
    summed = trunk.conv_stem.weight.sum(dim=1, keepdim=True)
    torch.testing.assert_close(model.trunk.conv_stem.weight, summed)  # three colours become one grey


def test_imagenet_weights_of_rcdnet_need_no_network():
    """The whole trunk is the file's, and nothing comes before it but a classifier that says 0.5 to everything."""
    model = starting_model("rcdnet", "imagenet").network.eval()
    published = load_file(IMAGENET_TRUNKS["rcdnet"])
    assert model.trunk.state_dict().keys() == published.keys()
    assert all(torch.equal(value, published[name]) for name, value in model.trunk.state_dict().items())
    assert (model.trunk.bn1.running_var != 1).all()  # it has seen images
    assert not model(torch.rand(1, 1, 64, 64)).any()


def test_imagenet_weights_of_mobilenetv2_need_no_network():
    """Every tensor is the file's, its first convolution summed over the colours, but the classifier, which says 0.5 to everything."""
    model = starting_model("mobilenetv2", "imagenet").network.eval()
    published = load_file(IMAGENET_TRUNKS["mobilenetv2"])
    published["conv_stem.weight"] = published["conv_stem.weight"].sum(dim=1, keepdim=True)
    ours = {name: value for name, value in model.state_dict().items() if not name.startswith("classifier.")}
    assert ours.keys() == published.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, published[name])
    assert (model.bn1.running_var != 1).all()  # it has seen images
    assert not model(torch.rand(1, 1, 64, 64)).any()


@pytest.mark.parametrize("masked", [(), ("malignant",)])
def test_without_lesion_masks_of_both_classes_no_outline_is_learnt(busi, tmp_path, masked):
    """A decoder of random numbers, or one that had never seen a benign lesion, drew outlines and had a say in the call."""
    for label in CLASSES:
        (tmp_path / "scans" / label).mkdir(parents=True)
        for image in (busi / label).glob("*.png" if label in masked else "*).png"):
            shutil.copy(image, tmp_path / "scans" / label)
    run = tmp_path / "run"
    assert main(["fit", *TINY, "--epochs", "1", "--data", f"folder={tmp_path / 'scans'}", "--out", str(run)]) == 0
    log = (run / "log.txt").read_text()
    assert "No outline is learnt" in log
    assert "No training image has a BI-RADS category" in log
    # What was asked for stays, so that runs of one recipe are known as such whatever their images know.
    config = TrainConfig.read(run / "config.json")
    assert (config.mask_weight, config.evidence_weight, config.birads_weight) == (1, 0.5, 0.5)
    started = read_events(run / "events.jsonl")[0]
    assert started.untaught == ("mask_weight", "evidence_weight", "birads_weight")
    card = ship(run, weights_folder=tmp_path / "weights", results_folder=tmp_path / "results")
    assert card.trained_on.endswith("from random weights")
    assert not [name for name in load_file(run / "best.safetensors") if name.startswith("decoder.")]
    assert all(row.vote == row.score == 0 for row in read_predictions(run / "predictions.csv"))
