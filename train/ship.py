"""Weights and their card, put where the app looks for them, with the records of the runs that say how good they are."""

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import date
from pathlib import Path

import numpy as np

from rcdnet import preprocessing
from rcdnet.card import Figures, ModelCard, OperatingPoint, Subgroup
from rcdnet.checkpoint import WEIGHTS_FOLDER, write_checkpoint
from rcdnet.errors import DatasetError
from rcdnet.registry import CLASSES, spec_of
from train.assess import halved
from train.compare import RESULTS_FOLDER, own_predictions
from train.config import TrainConfig
from train.evaluation import Evaluation, SetFigures, read_evaluation
from train.files import write_whole
from train.metrics import SENSITIVITIES, confusion, rates, threshold_at_sensitivity
from train.pool import pool, recipe_of
from train.splits import Split
from train.state import read_best

TITLES = {"busbra": "BUS-BRA", "busi": "BUSI"}
KNOWN_FAILURES = (
    "Normal breasts and implants were not in the training data; a call on them means nothing.",
    "The probability is calibrated on the validation images alone. It is no risk for a patient.",
    "One still image is read: no patient history, no other view, no prior examination.",
    "Calipers and text burned into a scan may sway the call.",
    "Scanners other than those of the data sets shift the threshold.",
)
LICENCE = "Derived from BUS-BRA (CC BY 4.0) and BUSI (no licence stated): whoever passes the weights on cites both."
CITATIONS = (
    "Gómez-Flores W, Gregorio-Calas MJ, Pereira WCA. Med Phys 2024;51:3110. doi:10.1002/mp.16812",
    "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Data in Brief 2020;28:104863. doi:10.1016/j.dib.2019.104863",
)
# Of a run, what its figures and curves come from; neither weights nor the places of its data.
RECORD = ("events.jsonl", "predictions.csv", "evaluation.json")


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
        folds: runs of the same recipe on other parts of the data. Their validation images, pooled, choose temperature and
            threshold and give the card's figures; without any, the run's own do.
        cross_site: runs of the same recipe on one data set, tested on another.

    Raises:
        DatasetError: a run is not evaluated, or on other weights; the recipes differ; nothing says how good the weights are.
        CheckpointError: the run has no weights, or not those it says.
    """
    config, split = TrainConfig.read(run / "config.json"), Split.read(run / "split.json")
    weights = halved(read_best(run))
    digest = hashlib.sha256(weights).hexdigest()
    judges = [run, *folds, *cross_site]
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise DatasetError("Two of these runs have the same name. Rename the folder of one.")
    for judge in folds:
        _check_recipe(config, judge, ("split", "folds"))
    for judge in cross_site:
        _check_recipe(config, judge, ("split", "folds", "sources"))
    if folds:
        place = results_folder / f"{run.name}-folds"
        evaluation = pool(folds, place)
    else:
        place, evaluation = run, read_evaluation(run / "evaluation.json")
        if evaluation.weights_sha256 != (digest,):
            raise DatasetError(
                f"The evaluation in {run} is of other weights. Make it anew: python -m train evaluate {run}"
            )
    card = ModelCard(
        model=config.model,
        classes=CLASSES,
        input_size=spec_of(config.model).input_size,
        preprocessing=preprocessing.VERSION,
        threshold=evaluation.threshold,
        threshold_rule=evaluation.threshold_rule,
        validation=tuple(_figures(s, _which(s, [TrainConfig.read(j / "config.json") for j in folds or [run]])) for s in evaluation.sets),
        trained_on=_trained_on(config, split),
        training_command=command_of(config),
        split_sha256=split.digest,
        date=date.today().isoformat(),
        known_failures=KNOWN_FAILURES,
        sha256=digest,
        temperature=evaluation.temperature,
        folds=tuple(figures for judge in folds for figures in _of_run(judge)),
        cross_site=tuple(figures for judge in cross_site for figures in _of_external_tests(judge)),
        subgroups=tuple(
            Subgroup(
                TITLES.get(s.name, s.name), g.name, g.images, g.malignant, g.auc.value if g.auc else math.nan,
                g.sensitivity, g.specificity,
            )
            for s in evaluation.sets
            for g in s.subgroups
        ),
        operating_points=_operating_points(place, evaluation),
        recipe=recipe_of(config) | {"seed": config.seed},
        licence=LICENCE,
        citations=CITATIONS,
        results=place.name,
        predictions_sha256=evaluation.predictions_sha256,
    )  # fmt: skip
    for judge in judges:
        _publish(judge, results_folder / judge.name)
    write_checkpoint(weights, card, weights_folder)
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


def _check_recipe(config: TrainConfig, judge: Path, free: Sequence[str]) -> None:
    """Only `free` settings may differ: these runs stand for the shipped one on images that it trained on."""
    own, other = recipe_of(config), recipe_of(TrainConfig.read(judge / "config.json"))
    if differing := [name for name in own if own[name] != other[name] and name not in free]:
        raise DatasetError(
            f"{judge} was trained with other settings than the weights to be shipped ({', '.join(differing)}), so it does not "
            "say how good they are. Give runs of the same recipe."
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


def _which(s: SetFigures, configs: Sequence[TrainConfig]) -> str:
    """Which images of a data set validated in runs with these settings."""
    title = TITLES.get(s.name, s.name)
    folds, parts = sorted({config.fold for config in configs}), configs[0].folds
    numbers = ", ".join(map(str, folds))
    match configs[0].split:
        case "official" if s.name == "busbra":
            return f"{title}, official fold{'s' if len(folds) > 1 else ''} {numbers}"
        case "official":
            return f"{title}, {len(folds)} of {parts} parts held out"
        case "k-fold":
            return f"{title}, part{'s' if len(folds) > 1 else ''} {numbers} of {parts}"
    return f"{title}, three tenths held out"


def _of_run(judge: Path) -> list[Figures]:
    evaluation, config = read_evaluation(judge / "evaluation.json"), TrainConfig.read(judge / "config.json")
    return [_figures(s, _which(s, [config])) for s in evaluation.sets]


def _of_external_tests(judge: Path) -> list[Figures]:
    """Figures of the external tests of a run; `DatasetError` if it has none."""
    tests = sorted((judge / "external").glob("*/evaluation.json"))
    if not tests:
        raise DatasetError(
            f"{judge} was not tested on other data. Do it with: python -m train evaluate {judge} --data SOURCE=DIR"
        )
    config = TrainConfig.read(judge / "config.json")
    trained = " and ".join(TITLES.get(source, source) for source, _ in config.data)
    return [
        _figures(s, f"trained on {trained}, tested on {TITLES.get(s.name, s.name)}")
        for test in tests
        for s in read_evaluation(test).sets
    ]


def _figures(s: SetFigures, data: str) -> Figures:
    auc = s.figures["auc"]
    return Figures(
        data=data,
        role=s.role.removeprefix("validation: ").removeprefix("external: "),
        images=s.images,
        malignant=s.malignant,
        groups=s.groups,
        auc=auc.value,
        auc_interval=(auc.low, auc.high),
        auc_by_group=s.auc_by_group.value,
        sensitivity=s.figures["sensitivity"].value,
        specificity=s.figures["specificity"].value,
        ece=s.figures["ece"].value,
    )


def _operating_points(place: Path, evaluation: Evaluation) -> tuple[OperatingPoint, ...]:
    rows = [row for row in own_predictions(place, evaluation) if row.source in evaluation.chosen_on]
    labels, scores = np.array([row.label for row in rows]), np.array([row.probability for row in rows])
    points = []
    for sensitivity in SENSITIVITIES:
        threshold = threshold_at_sensitivity(labels, scores, sensitivity)
        at = rates(confusion(labels, scores, threshold))
        points.append(
            OperatingPoint(threshold, at["sensitivity"], at["specificity"], at["precision"], at["precision_benign"])
        )
    return tuple(points)


def _publish(run: Path, place: Path) -> None:
    """The record of a run: what its figures and curves come from, and its settings without the places of its data."""
    config = TrainConfig.read(run / "config.json")
    settings = asdict(config) | {"data": [[source, "DIR"] for source, _ in config.data]}
    if config.init.endswith(".safetensors"):
        settings["init"] = Path(config.init).name
    place.mkdir(parents=True, exist_ok=True)
    write_whole(place / "config.json", (json.dumps(settings, indent=1) + "\n").encode())
    for source in [run / name for name in RECORD] + sorted((run / "external").glob("*/*")):
        if source.exists():
            target = place / source.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
