"""One contract for all six models."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from rcdnet.errors import UnknownModel
from rcdnet.models.registry import MODELS, create_model, spec_of

NAMES = ("rcdnet", "resnet50", "mobilenetv2", "regnet", "vit", "resnext")


def test_the_six_models_of_the_paper_rcdnet_first():
    assert tuple(MODELS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_contract(name, classifiers):
    spec, network = MODELS[name], classifiers[name].network
    x = torch.randn(2, 1, spec.input_size, spec.input_size)
    with torch.no_grad():
        features = network.forward_features(x)
        logits = network(x)
        torch.testing.assert_close(network.forward_head(features.clone()), logits)
        last, maps = network.forward_intermediates(x)
    assert logits.shape == (2, 2)
    torch.testing.assert_close(last, features)
    assert len(maps) >= 4
    assert sum(p.numel() for p in network.parameters()) == spec.parameters
    assert network.get_submodule(spec.target_layer) is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_head_leaves_its_input_alone_and_gradient_reaches_it(name, classifiers):
    """An in-place activation in a head would change the very maps that Grad-CAM weighs."""
    network = classifiers[name].network
    with torch.no_grad():
        features = network.forward_features(torch.randn(1, 1, 224, 224))
    leaf = features.clone().requires_grad_()
    network.forward_head(leaf)[0, 1].backward()
    assert torch.equal(leaf.detach(), features)
    assert leaf.grad.abs().sum() > 0


def test_six_fp16_files_stay_under_130_mb(classifiers):
    values = sum(t.numel() for c in classifiers.values() for t in c.network.state_dict().values())
    assert values * 2 < 130e6


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownModel, match="Did you mean resnext"):
        spec_of("resnexxt")
    with pytest.raises(UnknownModel, match="The models are rcdnet, resnet50"):
        spec_of("alexnet")


def test_rcdnet_takes_imagenet_weights_for_its_trunk(tmp_path):
    imagenet_like = timm.create_model("tf_efficientnet_lite0")  # three channels, 1000 classes, as timm publishes it
    save_file(imagenet_like.state_dict(), tmp_path / "lite0.safetensors")
    network = create_model("rcdnet", pretrained=True, weights_file=tmp_path / "lite0.safetensors")
    theirs = imagenet_like.state_dict()
    ours = network.trunk.state_dict()
    torch.testing.assert_close(ours["conv_stem.weight"], theirs["conv_stem.weight"].sum(dim=1, keepdim=True))
    shared = [key for key in ours if key != "conv_stem.weight"]
    assert len(shared) == 287
    assert all(torch.equal(ours[key], theirs[key]) for key in shared)


def test_a_baseline_takes_imagenet_weights_too(tmp_path):
    imagenet_like = timm.create_model("vit_tiny_patch16_224")
    save_file(imagenet_like.state_dict(), tmp_path / "vit.safetensors")
    network = create_model("vit", pretrained=True, weights_file=tmp_path / "vit.safetensors")
    assert torch.equal(network.norm.weight, imagenet_like.norm.weight)
    assert torch.equal(network.pos_embed, imagenet_like.pos_embed)
