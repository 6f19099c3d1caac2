"""An evaluated run's weights and their card, put where the app looks for them."""

import hashlib
from dataclasses import fields
from datetime import date
from pathlib import Path

from rcdnet import preprocessing
from rcdnet.checkpoint import WEIGHTS_FOLDER, Figures, ModelCard, write_checkpoint
from rcdnet.errors import DatasetError
from rcdnet.registry import CLASSES, spec_of
from train.assess import halved
from train.config import TrainConfig
from train.evaluation import SetFigures, read_evaluation
from train.splits import Split, rule_of
from train.state import read_best

TITLES = {"busbra": "BUS-BRA", "busi": "BUSI"}
KNOWN_FAILURES = (
    "Normal breasts and implants were not in the training data; a call on them means nothing.",
    "The probability is calibrated on the validation images alone. It is no risk for a patient.",
    "One still image is read: no patient history, no other view, no prior examination.",
    "Calipers and text burned into a scan may sway the call.",
    "Scanners other than those of the data sets shift the threshold.",
)


def ship(out: Path, folder: Path = WEIGHTS_FOLDER) -> ModelCard:
    """Put an evaluated run's best weights, in half precision, and their card where the app looks for them.

    Raises:
        DatasetError: the run is not evaluated, or its evaluation is of other weights.
        CheckpointError: it has no weights, or not those it says.
    """
    config, split = TrainConfig.read(out / "config.json"), Split.read(out / "split.json")
    evaluation = read_evaluation(out / "evaluation.json")
    weights = halved(read_best(out))
    if hashlib.sha256(weights).hexdigest() != evaluation.weights_sha256:
        raise DatasetError(f"The evaluation in {out} is of other weights. Make it anew: python -m train evaluate {out}")
    card = ModelCard(
        model=config.model,
        classes=CLASSES,
        input_size=spec_of(config.model).input_size,
        preprocessing=preprocessing.VERSION,
        threshold=evaluation.threshold,
        threshold_rule=evaluation.threshold_rule,
        validation=tuple(_card_figures(figures, config, split) for figures in evaluation.sets),
        trained_on=_trained_on(config, split),
        training_command=command_of(config),
        split_sha256=split.digest,
        date=date.today().isoformat(),
        known_failures=KNOWN_FAILURES,
        sha256=evaluation.weights_sha256,
        temperature=evaluation.temperature,
    )
    write_checkpoint(weights, card, folder)
    return card


def command_of(config: TrainConfig) -> str:
    """The command that makes such a run, with the folders, which differ from machine to machine, left open."""
    sources = [f"--data {name}=DIR" for name, _ in config.data]
    changed = []
    for setting in fields(TrainConfig):
        name, value = setting.name, getattr(config, setting.name)
        option = name.replace("_", "-")
        if name in ("model", "data") or value == setting.default:
            continue
        if name == "init" and value.endswith(".safetensors"):
            value = "FILE"
        changed.append(
            f"--{option}" if value is True else f"--no-{option}" if value is False else f"--{option} {value}"
        )
    return " ".join(
        ["python -m train fit", f"--model {config.model}", *sources, f"--out runs/{config.model}", *changed]
    )


def _trained_on(config: TrainConfig, split: Split) -> str:
    counts: dict[str, int] = {}
    for i in split.train:
        source = i.partition("/")[0]
        counts[source] = counts.get(source, 0) + 1
    images = " and ".join(f"{count} images of {TITLES.get(source, source)}" for source, count in counts.items())
    helpers = [
        word for word, weight in (("lesion masks", config.mask_weight), ("BI-RADS", config.birads_weight)) if weight
    ]
    start = (
        "a file's" if config.init.endswith(".safetensors") else {"imagenet": "ImageNet"}.get(config.init, config.init)
    )
    return f"{images}, from {start} weights" + (f", with {' and '.join(helpers)} as supervision" if helpers else "")


def _card_figures(s: SetFigures, config: TrainConfig, split: Split) -> Figures:
    title = TITLES.get(s.name, s.name)
    part = {
        "official": f"official fold {config.fold}" if s.name == "busbra" else f"one of {config.folds} parts held out",
        "k-fold": f"part {config.fold} of {config.folds}",
        "7:3": "three tenths held out",
    }[config.split]
    if split.rule != rule_of(config):  # the run was given a split
        part = "the part that its split file held out"
    auc = s.figures["auc"]
    return Figures(
        data=f"{title}, {part}",
        role=s.role.removeprefix("validation: "),
        images=s.images,
        malignant=s.malignant,
        groups=s.groups,
        auc=auc.value,
        auc_interval=(auc.low, auc.high),
        auc_by_group=s.auc_by_group,
        sensitivity=s.figures["sensitivity"].value,
        specificity=s.figures["specificity"].value,
    )
