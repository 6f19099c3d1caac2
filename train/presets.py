"""The recipes that ship: the paper's, and those for some thousand images."""

from collections.abc import Mapping
from typing import Any

from rcdnet.errors import ConfigError
from train.config import TrainConfig

# For some thousand images and random weights, from which the paper's recipe learns little.
_SCRATCH: dict[str, Any] = {
    "init": "random",
    "split": "auto",
    "epochs": 40,
    "batch_size": 24,
    "start_size": 128,  # most is learned at a third of the cost
    "end_size": 192,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "warmup_epochs": 8,
    "weight_decay": 0.03,
    "label_smoothing": 0.05,
    "mixup": 0.0,  # it cost BUSI 0.04 of AUC
    "ema": 0.995,
    "keep": "last",
    "validate_every": 5,  # nothing is chosen by it, and on a CPU it costs a fifth of the time
    "crop": 0.8,
    "rotation": 15.0,  # a hand tilts the probe this far without becoming another view
    "scale": 0.25,  # depth setting; mild, for lesion size carries diagnostic information
    "gamma": 1.8,  # dynamic range setting
    "gain": 0.3,
    "noise": 0.04,
    "softened": 0.5,  # other scanners resolve less
    "erase": 0.3,
    "drop_path": 0.1,
    "mask_weight": 2.0,  # worth about 0.2 of AUC without ImageNet weights: it tells the trunk where to look
    "evidence_weight": 1.0,  # the heatmap then speaks of the lesion
}
# The paper's recipe, and what differs from it for a reason.
PRESETS: dict[str, Mapping[str, Any]] = {
    "paper": {},
    "scratch": _SCRATCH,
    # The same care from ImageNet weights, which know most of what the first half of the epochs would teach. They also learn the
    # images by heart sooner, hence the stronger augmentation and the slower average.
    "finetune": _SCRATCH
    | {
        "init": "imagenet",
        "epochs": 26,
        "min_steps": 900,
        "start_size": 160,
        "end_size": 224,
        "warmup_epochs": 2,
        "ema": 0.998,
        "crop": 0.65,
        "rotation": 25.0,
        "scale": 0.4,
        "gamma": 2.2,
        "gain": 0.5,
        "noise": 0.08,
        "softened": 0.6,
        "erase": 0.7,
    },
}


def preset(name: str, **changes: Any) -> TrainConfig:
    """The settings of a preset with `changes`; `ConfigError` lists every mistake in them."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}. The presets are {', '.join(PRESETS)}.")
    return TrainConfig(**{**PRESETS[name], **changes})
