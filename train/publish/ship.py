"""Weights and their card, put where the app looks for them, with the records of the runs that say how good they are."""

import hashlib
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import date
from pathlib import Path

from rcdnet.errors import DatasetError
from rcdnet.models.card import Figures, ModelCard, Subgroup
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, read_card, write_checkpoint
from rcdnet.models.registry import CLASSES, spec_of
from rcdnet.scans import preprocessing
from train.config import TrainConfig
from train.data.public_datasets import PUBLIC_DATASETS, TITLES
from train.data.splits import Split, describe_split
from train.fit.checkpoints import read_best, read_progress, to_half_precision
from train.folders import RESULTS_FOLDER
from train.publish.card_metrics import (
    figures,
    of_external_tests,
    of_fold,
    operating_points,
    verified_evaluation,
    which,
)
from train.publish.pool_folds import config_of, pool, recipe_of, untaught_in
from train.publish.published_records import publish

KNOWN_FAILURES = (
    "Normal breasts and implants were not in the training data; a call on them means nothing.",
    "The probability is calibrated on the validation images alone. It is not an individual patient's risk.",
    "One still image is read: no patient history, no other view, no prior examination.",
    "Calipers and text burned into a scan may sway the call.",
    "Scanners other than those of the data sets shift the threshold.",
)


def ship(
    run: Path,
    folds: Sequence[Path] = (),
    cross_site: Sequence[Path] = (),
    *,
    weights_folder: Path = WEIGHTS_FOLDER,
    results_folder: Path = RESULTS_FOLDER,
) -> ModelCard:
    """Put a run's weights, in half precision, with their card where the app looks for them, and the records of all runs beside.

    Args:
        folds: runs of the same recipe on other parts of the same data. Their validation images, pooled, choose calibration and
            threshold and give the card's figures; without any, the run's own do. Those from another seed than the run's, pooled by
            themselves, say how far the figures hang on it; their pool alone is recorded.
        cross_site: runs of the same recipe on one data set, tested on another, from any seed.

    Raises:
        DatasetError: a run is not finished, not evaluated, or on other weights; recipes, data or validation images differ.
        CheckpointError: a run has no weights, or not those it says.
    """
    # The last part of a path names the record; "." has none, and resolve() would take a link's from it.
    run, *judging = (Path(os.path.abspath(path)) for path in (run, *folds, *cross_site))  # noqa: PTH100
    folds, cross_site = judging[: len(folds)], judging[len(folds) :]
    config, split = config_of(run), Split.read(run / "split.json")
    evaluated_runs = [run, *folds, *cross_site]
    if len({evaluated_run.name for evaluated_run in evaluated_runs}) < len(evaluated_runs):
        raise DatasetError("Two of these runs have the same name. Rename the folder of one.")
    for evaluated_run in evaluated_runs:
        _check_finished(evaluated_run)
    for evaluated_run in folds:
        _check_fold(config, split, evaluated_run)
    for evaluated_run in cross_site:
        # One of two data sets may not know the BI-RADS category, as BUSI does not
        unknown = {"birads_weight"} & {
            *untaught_in(run),
            *untaught_in(evaluated_run),
        }
        _check_recipe(config, evaluated_run, ("split", "folds", "sources", *unknown))
    weights = to_half_precision(read_best(run))
    own, others = _by_seed(folds, config.seed)
    with tempfile.TemporaryDirectory() as place:
        pooled = Path(place) / f"{run.name}-folds"
        evidence = pooled if own else run
        evaluation = pool(own, pooled) if own else verified_evaluation(run)
        seeds: tuple[Figures, ...] = ()
        for seed, runs in others.items():
            _check_same_folds(own, runs, seed)
            again = Path(place) / f"{run.name}-seed{seed}-folds"
            found = figures(pool(runs, again), again.name, lambda s: which(s, own))
            seeds += tuple(replace(f, data=f"{f.data}, seed {seed}") for f in found)
        card = ModelCard(
            model=config.model,
            classes=CLASSES,
            input_size=spec_of(config.model).input_size,
            preprocessing=preprocessing.VERSION,
            threshold=evaluation.threshold,
            threshold_rule=evaluation.threshold_rule,
            validation=figures(evaluation, evidence.name, lambda s: which(s, own or [run])),
            trained_on=_trained_on(config, split),
            training_command=command_of(TrainConfig.read(run / "config.json"), split),
            split_sha256=split.digest,
            date=date.today().isoformat(),
            known_failures=KNOWN_FAILURES,
            sha256=hashlib.sha256(weights).hexdigest(),
            calibration=evaluation.calibration,
            verdict=evaluation.verdict,
            conformal=evaluation.conformal,
            verdict_counts=evaluation.verdict_counts,
            folds=tuple(found for fold in own for found in of_fold(fold)),
            seeds=seeds,
            cross_site=tuple(found for evaluated_run in cross_site for found in of_external_tests(evaluated_run, config.seed)),
            subgroups=tuple(
                Subgroup(
                    TITLES.get(s.name, s.name), g.name, g.images, g.malignant, g.auc.value if g.auc else math.nan,
                    g.sensitivity.value, g.specificity.value,
                )
                for s in evaluation.sets
                for g in s.subgroups
            ),
            operating_points=operating_points(evidence, evaluation),
            recipe=recipe_of(config) | {"seed": config.seed},
            run=run.name,
            licence=" ".join(_licences(config)),
            citations=_citations(config),
        )  # fmt: skip
        write_checkpoint(weights, card, weights_folder)
        # Ids and patients of a clinic's own images stay where they are.
        if all(
            source in TITLES
            for evaluated_run in evaluated_runs
            for source, _ in TrainConfig.read(evaluated_run / "config.json").data
        ):
            for evaluated_run in [run, *own, *cross_site]:
                publish(evaluated_run, results_folder, external=evaluated_run in cross_site)
            for several in Path(place).iterdir():
                publish(several, results_folder)
    return card


def command_of(config: TrainConfig, split: Split) -> str:
    """The command that makes such a run, with the folders, which differ from machine to machine, left open."""
    sources = [f"--data {name}=DIR" for name, _ in config.data]
    changed = ["--split-file FILE"] if split.rule != describe_split(config) else []
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


def _by_seed(folds: Sequence[Path], seed: int) -> tuple[list[Path], dict[int, list[Path]]]:
    """The runs from `seed`, and those from each other one; `DatasetError` if there are only others."""
    found: dict[int, list[Path]] = {}
    for fold in folds:
        found.setdefault(TrainConfig.read(fold / "config.json").seed, []).append(fold)
    own = found.pop(seed, [])
    if found and not own:
        raise DatasetError(
            f"No fold has the seed of the weights to be shipped, {seed}. Give the folds of that seed too."
        )
    return own, found


def _check_same_folds(own: Sequence[Path], runs: Sequence[Path], seed: int) -> None:
    """Seeds may only be compared where each left out the same images, and on the weights that lie there."""
    left_out = [{frozenset(Split.read(run / "split.json").validation) for run in side} for side in (own, runs)]
    if left_out[0] != left_out[1]:
        raise DatasetError(
            f"The folds of seed {seed} leave out other images than {own[0].name} and its sibling folds. Train each with --split-file "
            "on the split.json of its counterpart, and give all of them."
        )
    for run in runs:
        verified_evaluation(run)


def _check_finished(run: Path) -> None:
    epochs, done = TrainConfig.read(run / "config.json").epochs, read_progress(run).epoch
    if done < epochs:
        raise DatasetError(f"{run} has {done} of {epochs} epochs. Resume it with: python -m train fit --resume {run}")


def _check_fold(config: TrainConfig, split: Split, fold: Path) -> None:
    """A fold stands for the shipped run on images that it trained on, so only who validates may differ."""
    _check_recipe(config, fold, ("split", "folds"))
    if config.keep != "last":
        raise DatasetError(
            f"{fold} kept the epoch that was best on its own validation images, which the weights to be shipped cannot do. "
            "Train all of them with --keep last."
        )
    if _images(split) != _images(Split.read(fold / "split.json")):
        raise DatasetError(
            f"{fold} was trained on other images than the weights to be shipped. Give runs on the same data."
        )


def _check_recipe(config: TrainConfig, evaluated_run: Path, free: Sequence[str]) -> None:
    own, other = recipe_of(config), recipe_of(config_of(evaluated_run))
    if differing := [name for name in own if own[name] != other[name] and name not in free]:
        raise DatasetError(
            f"{evaluated_run} was trained with other settings than the weights to be shipped ({', '.join(differing)}), so it does not "
            "say how good they are. Give runs of the same recipe."
        )


def _images(split: Split) -> set[str]:
    return {*split.train, *split.validation, *split.conflicts}


def _trained_on(config: TrainConfig, split: Split) -> str:
    counts: dict[str, int] = {}
    for i in split.train:
        source = i.partition("/")[0]
        counts[source] = counts.get(source, 0) + 1
    images = " and ".join(f"{count} images of {TITLES.get(source, source)}" for source, count in counts.items())
    masks = config.mask_weight or config.evidence_weight
    helpers = [word for word, weight in (("lesion masks", masks), ("BI-RADS", config.birads_weight)) if weight]
    start = (
        "a file's" if config.init.endswith(".safetensors") else {"imagenet": "ImageNet"}.get(config.init, config.init)
    )
    return f"{images}, from {start} weights" + (f", with {' and '.join(helpers)} as supervision" if helpers else "")


def _licences(config: TrainConfig) -> list[str]:
    """A sentence for each of the data sets and of the weights that a run started from, whose own duties it inherits."""
    found = [PUBLIC_DATASETS[source].licence_of_weights for source, _ in config.data if source in PUBLIC_DATASETS]
    if config.init == "imagenet":
        found.append(f"The ImageNet weights it started from: {spec_of(config.model).licence}.")
    elif before := _run_before(config):
        found += _licences(before)
    elif card := _card_before(config):
        found += [f"{sentence.rstrip('.')}." for sentence in card.licence.split(". ")]
    elif config.init != "random":
        found.append(f"The weights it started from, {Path(config.init).name}: not known.")
    return list(dict.fromkeys(found))


def _citations(config: TrainConfig) -> tuple[str, ...]:
    found = [PUBLIC_DATASETS[source].citation for source, _ in config.data if source in PUBLIC_DATASETS]
    if before := _run_before(config):
        found += _citations(before)
    elif card := _card_before(config):
        found += card.citations
    return tuple(dict.fromkeys(found))


def _run_before(config: TrainConfig) -> TrainConfig | None:
    """The settings of the run whose weights a run started from, if it did."""
    settings = Path(config.init).with_name("config.json")
    return TrainConfig.read(settings) if config.init.endswith(".safetensors") and settings.exists() else None


def _card_before(config: TrainConfig) -> ModelCard | None:
    """The card of the weights that a run started from, if they have one."""
    if config.init in ("random", "imagenet"):
        return None
    weights = WEIGHTS_FOLDER / f"{config.model}.safetensors" if config.init == "bundled" else Path(config.init)
    return read_card(weights.stem, weights.parent) if weights.with_suffix(".json").exists() else None
