"""From weights to the files of an evaluation: the run's own validation images, a set from elsewhere, the card for the app."""

import hashlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save
from torch import nn

from rcdnet import preprocessing
from rcdnet.checkpoint import WEIGHTS_FOLDER, Figures, ModelCard, read_card, write_checkpoint
from rcdnet.errors import DatasetError
from rcdnet.registry import CLASSES, MODELS, create_model, spec_of
from train.config import TrainConfig
from train.decode import Decoded, decode
from train.duplicates import near_duplicate_pairs
from train.evaluation import (
    Evaluation,
    SetFigures,
    figures_by_source,
    operating_point,
    read_evaluation,
    write_evaluation,
)
from train.loop import logits_of
from train.predictions import predictions, write_predictions
from train.sources import read_sources
from train.splits import Split, grouped
from train.state import read_progress

TITLES = {"busbra": "BUS-BRA", "busi": "BUSI"}
KNOWN_FAILURES = (
    "Normal breasts and implants were not in the training data; a call on them means nothing.",
    "The probability is calibrated on the validation images alone. It is no risk for a patient.",
    "One still image is read: no patient history, no other view, no prior examination.",
    "Calipers and text burned into a scan may sway the call.",
    "Scanners other than those of the data sets shift the threshold.",
)


def evaluate_run(out: Path, config: TrainConfig, decoded: Decoded, split: Split) -> Evaluation:
    """Score a run's best weights on its validation images; writes `predictions.csv` and `evaluation.json` into `out`.

    The weights are rounded to half precision first, as the app holds them.
    """
    network, digest = _network(config.model, (out / "best.safetensors").read_bytes())
    held_out = decoded.rows_of(split.validation)
    logits = _log_odds(network, decoded.canvases[held_out])
    samples = [decoded.samples[row] for row in held_out]
    training = [decoded.samples[row] for row in decoded.rows_of(split.train)]
    groups = [split.groups[sample.id] for sample in samples]
    sources = np.array([sample.source for sample in samples])
    temperature, threshold, rule = operating_point(decoded.labels[held_out], logits, sources)
    rows = predictions(samples, groups, logits, temperature, training)
    evaluation = Evaluation(
        model=config.model,
        weights_sha256=digest,
        epoch=read_progress(out).best_epoch,
        temperature=temperature,
        threshold=threshold,
        threshold_rule=rule,
        left_out=(),
        sets=figures_by_source(
            rows,
            threshold,
            lambda source: (
                "validation: epoch and temperature were chosen here, "
                + ("and the threshold too" if source == sources[0] else "the threshold was only applied")
            ),
        ),
    )
    write_predictions(out / "predictions.csv", rows)
    write_evaluation(out / "evaluation.json", evaluation)
    return evaluation


def evaluate_again(out: Path) -> Evaluation:
    """Score a finished run anew; `DatasetError` if it has no weights yet, or nothing validates."""
    if not (out / "best.safetensors").exists():
        raise DatasetError(f"{out} holds no weights yet. Go on with: python -m train fit --resume {out}")
    config, split = TrainConfig.read(out / "config.json"), Split.read(out / "split.json")
    if not split.validation:
        raise DatasetError(
            f"Every image of {out} trained, so none is left to evaluate on. Give other data with --data."
        )
    samples = read_sources(config.data)
    return evaluate_run(out, config, _decoded(config, samples), split)


def evaluate_elsewhere(weights: Path | str, data: Sequence[tuple[str, str]], out: Path | None = None) -> Evaluation:
    """An external test: weights on data that nothing was chosen on, with the threshold and temperature they came with.

    Images that a run trained on or validated with, and near-copies of them, are left out and listed.

    Args:
        weights: a run's folder; or the name of a bundled model, or a weight file with its card beside it, whose training images
            are not known here.
        out: folder for `predictions.csv` and `evaluation.json`; a run has one of its own, `external/NAME`.

    Raises:
        DatasetError: nothing is left to evaluate on, or `out` is missing.
    """
    run = Path(weights)
    if (run.suffix == ".safetensors" or str(weights) in MODELS) and not (run / "config.json").exists():
        if out is None:
            raise DatasetError("Weights outside a run have no folder of their own. Give one with --out.")
        folder = run.parent if run.suffix else WEIGHTS_FOLDER
        card = read_card(run.stem, folder)
        content = (folder / f"{run.stem}.safetensors").read_bytes()
        model, own, epoch = card.model, None, None
        temperature, threshold, rule = card.temperature, card.threshold, card.threshold_rule
    else:
        own = TrainConfig.read(run / "config.json")
        content = (run / "best.safetensors").read_bytes()
        before = read_evaluation(run / "evaluation.json")
        model, epoch = own.model, before.epoch
        temperature, threshold, rule = before.temperature, before.threshold, before.threshold_rule
    decoded = decode(read_sources(data), spec_of(model).input_size)
    left_out = _known(decoded, own, run) if own else set()
    keep = np.array([sample.id not in left_out for sample in decoded.samples], bool)
    if not keep.any():
        raise DatasetError("Every one of these images, or a near-copy of it, was used in training. Give other data.")
    network, digest = _network(model, content)
    samples = [sample for sample, kept in zip(decoded.samples, keep, strict=True) if kept]
    groups = grouped(decoded.samples, decoded.fingerprints)[keep]
    rows = predictions(samples, groups.tolist(), _log_odds(network, decoded.canvases[keep]), temperature, ())
    role = "external: nothing was chosen here" if own else (
        "external: nothing was chosen here, but whether these images were in training was not checked"
    )  # fmt: skip
    evaluation = Evaluation(
        model, digest, epoch, temperature, threshold, rule, tuple(sorted(left_out)),
        figures_by_source(rows, threshold, lambda source: role),
    )  # fmt: skip
    place = out or run / "external" / "+".join(dict.fromkeys(row.source for row in rows))
    place.mkdir(parents=True, exist_ok=True)
    write_predictions(place / "predictions.csv", rows)
    write_evaluation(place / "evaluation.json", evaluation)
    return evaluation


def ship(out: Path, folder: Path = WEIGHTS_FOLDER) -> ModelCard:
    """Put an evaluated run's best weights, in half precision, and their card where the app looks for them."""
    config, split = TrainConfig.read(out / "config.json"), Split.read(out / "split.json")
    evaluation = read_evaluation(out / "evaluation.json")
    weights = _halved((out / "best.safetensors").read_bytes())
    if hashlib.sha256(weights).hexdigest() != evaluation.weights_sha256:
        raise DatasetError(f"The evaluation in {out} is of other weights. Make it anew: python -m train evaluate {out}")
    counts = {source: sum(i.startswith(f"{source}/") for i in split.train) for source, _ in config.data}
    card = ModelCard(
        model=config.model,
        classes=CLASSES,
        input_size=spec_of(config.model).input_size,
        preprocessing=preprocessing.VERSION,
        threshold=evaluation.threshold,
        threshold_rule=evaluation.threshold_rule,
        validation=tuple(_card_figures(figures, config) for figures in evaluation.sets),
        trained_on=" and ".join(f"{count} images of {TITLES.get(source, source)}" for source, count in counts.items())
        + f", from {config.init} weights"
        + (", with lesion masks as supervision" if config.mask_weight else ""),
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
    defaults = TrainConfig(config.model)
    changed = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in vars(config).items()
        if name not in ("model", "data") and value != getattr(defaults, name)
    ]
    sources = [f"--data {name}=DIR" for name, _ in config.data]
    return " ".join(
        ["python -m train fit", f"--model {config.model}", *sources, f"--out runs/{config.model}", *changed]
    )


def _card_figures(s: SetFigures, config: TrainConfig) -> Figures:
    title = TITLES.get(s.name, s.name)
    part = {
        "official": f"official fold {config.fold}" if s.name == "busbra" else f"one of {config.folds} parts held out",
        "k-fold": f"part {config.fold} of {config.folds}",
        "7:3": "three tenths held out",
    }[config.split]
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


def _known(decoded: Decoded, config: TrainConfig, run: Path) -> set[str]:
    """Ids among `decoded` that the run used, or that are near-copies of images it used."""
    split = Split.read(run / "split.json")
    used = {*split.train, *split.validation, *split.conflicts}
    its_own = _decoded(config, [s for s in read_sources(config.data) if s.id in used])
    pairs = near_duplicate_pairs(decoded.fingerprints, its_own.fingerprints)
    return {decoded.samples[row].id for row in np.unique(pairs[:, 0])} | {s.id for s in decoded.samples if s.id in used}


def _decoded(config: TrainConfig, samples: Sequence) -> Decoded:
    return decode(samples, spec_of(config.model).input_size, skip_broken=config.broken == "skip")


def _halved(content: bytes) -> bytes:
    return save({k: v.half() if v.is_floating_point() else v for k, v in load(content).items()})


def _network(name: str, content: bytes) -> tuple[nn.Module, str]:
    """The network with the weights as the app would hold them, and the digest of that file."""
    halved = _halved(content)
    network = create_model(name)
    network.load_state_dict(load(halved))
    return network.float().eval(), hashlib.sha256(halved).hexdigest()


def _log_odds(network: nn.Module, canvases: np.ndarray) -> np.ndarray:
    """Log-odds of malignancy, float64 (N,)."""
    logits = logits_of(network, torch.from_numpy(canvases)).double()
    return (logits[:, 1] - logits[:, 0]).numpy()
