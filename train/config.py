"""The settings of one training run, as one value; the command line, the page and `config.json` all show this one."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from rcdnet.errors import ConfigError, UnknownModel
from rcdnet.models.registry import MODELS, spec_of
from rcdnet.safe_read import KB, Unreadable, quoted, read_json
from train.data.dataset_readers import READERS

INITS = ("random", "imagenet", "bundled")
LIMIT = 256 * KB  # of config.json
_KIND_NAMES = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}


def setting(default: Any, meaning: str, *, low: float | None = None, high: float | None = None, choices=()) -> Any:
    """A field with its meaning and its limits, both inclusive."""
    return field(default=default, metadata={"meaning": meaning, "low": low, "high": high, "choices": tuple(choices)})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run. The defaults are the paper's recipe (sections 2.2 to 2.4).

    What the paper names without a figure (crop, rotation, scale, Mixup, label smoothing) has the customary one.
    A value out of its limits is a `ConfigError` that lists every mistake at once.
    """

    model: str = setting("rcdnet", "which of the six models", choices=MODELS)
    data: tuple[tuple[str, str], ...] = field(
        default=(), metadata={"meaning": "pairs of source (busi, busbra, breast or folder) and its location"}
    )
    init: str = setting(
        "imagenet",
        "weights to start from: imagenet (assumed for the paper's pre-trained ones; RcdNet's and MobileNetV2's come with the "
        "app, the others are downloaded once), bundled (the app's), random, or a safetensors file",
    )
    split: str = setting(
        "7:3",
        "how the validation images are chosen: 7:3 as in the paper; official: the data set's own folds; k-fold; all: every image "
        "trains and none validates; auto: official folds where a data set has them, else k-fold, or 7:3 where a class has few patients",
        choices=("auto", "7:3", "official", "k-fold", "all"),
    )
    fold: int = setting(1, "the fold used for validation, counted from 1 (official and k-fold)", low=1, high=20)
    folds: int = setting(5, "number of folds (k-fold, and sources without official folds)", low=2, high=20)
    broken: str = setting(
        "stop", "what to do with a file that cannot be read: stop the run, or skip the file", choices=("stop", "skip")
    )
    epochs: int = setting(30, "passes over the training images", low=1, high=5000)
    min_steps: int = setting(
        0,
        "minimum number of updates; an epoch of a small data set repeats its images as often as needed",
        low=0,
        high=1_000_000,
    )
    batch_size: int = setting(
        32, "images per step, over all devices together; an even number, because Mixup pairs them", low=2, high=4096
    )
    optimizer: str = setting(
        "adam", "adam as in the paper, or adamw with decoupled weight decay", choices=("adam", "adamw")
    )
    learning_rate: float = setting(1e-3, "peak of the cosine schedule", low=1e-8, high=1.0)
    warmup_epochs: int = setting(0, "epochs over which the learning rate rises to its peak", low=0, high=1000)
    weight_decay: float = setting(1e-4, "pull of the weights towards zero", low=0.0, high=1.0)
    label_smoothing: float = setting(
        0.1, "share of each label that is spread evenly over both classes", low=0.0, high=0.5
    )
    mixup: float = setting(0.2, "alpha of Mixup; 0 turns it off", low=0.0, high=8.0)
    ema: float = setting(
        0.0,
        "decay of the moving average of the weights, which is kept; it begins as a plain mean; 0 keeps the last weights",
        low=0.0,
        high=0.99999,
    )
    keep: str = setting(
        "best",
        "which weights are kept: best, from the epoch with the highest validation AUC; or last, so that nothing is chosen on "
        "the validation images",
        choices=("best", "last"),
    )
    validate_every: int = setting(
        1, "number of epochs from one validation to the next; the last epoch is always validated", low=1, high=5000
    )
    start_size: int = setting(224, "side of the training images in pixels at first", low=32, high=224)
    end_size: int = setting(
        224, "side of the training images in pixels at the end; it rises in steps of 32", low=32, high=224
    )
    crop: float = setting(
        0.875, "smallest side of the random crop, as a share of the canvas; 1 turns it off", low=0.3, high=1.0
    )
    flip: float = setting(
        0.5, "chance of a mirror image, left to right; never upside down, because the skin is on top", low=0.0, high=1.0
    )
    rotation: float = setting(10.0, "largest turn in degrees, either way", low=0.0, high=45.0)
    scale: float = setting(0.1, "largest change of size, as a share, either way", low=0.0, high=0.5)
    gamma: float = setting(1.0, "largest change of dynamic range, as an exponent; 1 turns it off", low=1.0, high=3.0)
    gain: float = setting(0.0, "largest change of brightness, as a share, either way", low=0.0, high=0.9)
    noise: float = setting(0.0, "largest electronic noise, in units of full scale", low=0.0, high=0.5)
    softened: float = setting(0.0, "share of the batches shown at a coarser resolution", low=0.0, high=1.0)
    erase: float = setting(
        0.0, "chance that a rectangle of an image, a tenth to a third of each side, is painted over", low=0.0, high=1.0
    )
    stretch: float = setting(0.0, "largest change of width against height, as a share, either way", low=0.0, high=0.5)
    framed: float = setting(
        0.0, "chance that a scan is shown small, inside the frame of a viewer or a screenshot", low=0.0, high=1.0
    )
    marked: float = setting(0.0, "chance that measuring marks are drawn on a scan", low=0.0, high=1.0)
    windows: float = setting(
        0.0,
        "chance that only a part of a scan is shown, where its mask is known: equally often with the whole lesion and without any of it",
        low=0.0,
        high=1.0,
    )
    drop_path: float = setting(
        0.0,
        "chance that a training step skips a residual block; highest for the last block",
        low=0.0,
        high=0.9,
    )
    mask_weight: float = setting(
        0.0, "weight of the lesion masks as supervision, where there are any; 0 turns it off", low=0.0, high=100.0
    )
    evidence_weight: float = setting(
        0.0,
        "weight of the lesion masks on the heatmap: inside the lesion each place supports its class, outside neither class; "
        "0 turns it off",
        low=0.0,
        high=100.0,
    )
    birads_weight: float = setting(
        0.0,
        "weight of the radiologist's BI-RADS category as a second target, where it is known; 0 turns it off",
        low=0.0,
        high=100.0,
    )
    precision: str = setting(
        "auto",
        "auto is bf16 on a GPU that has it and fp32 elsewhere; bf16 also works on a CPU that has it",
        choices=("auto", "fp32", "bf16"),
    )
    compile: bool = field(
        default=False, metadata={"meaning": "compile the model first; worth it for long runs on a GPU"}
    )
    seed: int = setting(0, "random seed for weights, split, order and augmentation", low=0, high=2**31 - 1)

    def __post_init__(self):
        mistakes = self._wrong_types()
        if not mistakes:
            object.__setattr__(self, "data", tuple((source, place) for source, place in self.data))
            mistakes = self._wrong_values()
        if mistakes:
            raise ConfigError(" ".join(mistakes.values()), mistakes)

    def _wrong_types(self) -> dict[str, str]:
        mistakes = {}
        for f in fields(self):
            value, kind = getattr(self, f.name), kind_of(f.name)
            if f.name == "data":
                pairs = isinstance(value, list | tuple) and all(
                    isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
                    for pair in value
                )
                if not pairs:
                    mistakes["data"] = f"data is {quoted(value)}; expected pairs of a source and a place."
            elif not (type(value) is kind or (kind is float and type(value) is int)):
                mistakes[f.name] = f"{f.name} is {quoted(value)}; expected {_KIND_NAMES[kind]}."
        return mistakes

    def _wrong_values(self) -> dict[str, str]:
        mistakes = {}
        for f in fields(self):
            value, limits = getattr(self, f.name), f.metadata
            if f.name == "model":
                try:
                    spec_of(value)
                except UnknownModel as error:
                    mistakes["model"] = str(error)
            elif (choices := limits.get("choices")) and value not in choices:
                mistakes[f.name] = f"{f.name} is {value!r}; expected one of {', '.join(choices)}."
            elif limits.get("low") is not None and not limits["low"] <= value <= limits["high"]:
                mistakes[f.name] = f"{f.name} is {value}; expected {limits['low']:g} to {limits['high']:g}."
        if unknown := [s for s, _ in self.data if s not in READERS]:
            mistakes["data"] = f"The source is {unknown[0]!r}; expected one of {', '.join(READERS)}."
        together = (
            ("batch_size", self.batch_size % 2, "an even number"),
            ("start_size", self.start_size % 32, "a multiple of 32"),
            ("warmup_epochs", self.warmup_epochs >= self.epochs, f"less than epochs, {self.epochs}"),
            ("end_size", self.end_size % 32, "a multiple of 32"),
            ("end_size", self.end_size < self.start_size, f"at least start_size, {self.start_size}"),
            ("fold", self.split == "k-fold" and self.fold > self.folds, f"at most folds, {self.folds}"),
            ("windows", self.windows and not self.mask_weight + self.evidence_weight, "0 without lesion masks"),
            (
                "init",
                self.init not in INITS and not self.init.endswith(".safetensors"),
                f"one of {', '.join(INITS)}, or a safetensors file",
            ),
        )
        for name, wrong, expected in together:
            if wrong:
                mistakes.setdefault(name, f"{name} is {getattr(self, name)!r}; expected {expected}.")
        return mistakes

    @property
    def input_size(self) -> int:
        """Side of the square that the model reads, in pixels."""
        return spec_of(self.model).input_size

    def passes(self, images: int) -> int:
        """How often an epoch passes over so many training images: once, or more where `min_steps` would not be reached."""
        return max(1, math.ceil(self.min_steps / (self.epochs * max(1, images // self.batch_size))))

    def size_at(self, epoch: int) -> int:
        """Side of the training images in pixels in `epoch`, counted from 0 (progressive learning, arXiv:2104.00298).

        Each size has the same share of the epochs. Validation always sees the model's own size: a network reads images best a
        little larger than those it was trained on, for random crops enlarge (arXiv:1906.06423).
        """
        sizes = range(self.start_size, self.end_size + 1, 32)
        return sizes[epoch * len(sizes) // self.epochs]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def read(path: Path) -> "TrainConfig":
        """The settings in `path`; `ConfigError` if the file is missing or holds something else."""
        try:
            settings = read_json(path, LIMIT)
            if not isinstance(settings, dict):
                raise Unreadable("it is no object")
            return TrainConfig(**settings)
        except (Unreadable, TypeError) as error:
            raise ConfigError(
                f"{path} holds no settings of a run ({error}). Expected the config.json of a run."
            ) from error


def kind_of(name: str) -> type:
    """The type of a setting that a form or a command line asks for: int, float, str or bool."""
    kind = TrainConfig.__annotations__[name]
    return (get_args(kind) or (kind,))[0]
