"""What the card of shipped weights says of each run that judges them: which images, and figures of what it said of them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rcdnet.errors import DatasetError
from rcdnet.models.card import Figures, OperatingPoint
from train.config import TrainConfig
from train.data.public_datasets import TITLES
from train.data.splits import Split, describe_split
from train.evaluate.evaluation_files import verified_predictions
from train.evaluate.evaluation_record import Evaluation, SetMetrics, read_evaluation
from train.fit.checkpoints import read_best, to_half_precision
from train.metrics.calibration_and_threshold import threshold_at_sensitivity
from train.metrics.classification import SENSITIVITIES, confusion, rates
from train.publish.published_records import public_tests


def verified_evaluation(run: Path, place: Path | None = None) -> Evaluation:
    """The evaluation in `place` or the run itself; `DatasetError` where it is not of the run's weights."""
    evaluation = read_evaluation((place or run) / "evaluation.json")
    if evaluation.weights_sha256 != (hashlib.sha256(to_half_precision(read_best(run))).hexdigest(),):
        again = f"python -m train evaluate {run}" + (" --data SOURCE=DIR" if place else "")
        raise DatasetError(f"The evaluation in {place or run} is of other weights. Make it again: {again}")
    verified_predictions(place or run, evaluation)
    return evaluation


def which(s: SetMetrics, runs: Sequence[Path]) -> str:
    """Which images of a data set validated in these runs."""
    title = TITLES.get(s.name, s.name)
    configs = [TrainConfig.read(run / "config.json") for run in runs]
    if any(Split.read(run / "split.json").rule != describe_split(c) for run, c in zip(runs, configs, strict=True)):
        return f"{title}, the part that a split file held out"
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


def of_fold(run: Path) -> tuple[Figures, ...]:
    """Figures of each data set that validated in a run; `DatasetError` where they are of other weights."""
    return figures(verified_evaluation(run), run.name, lambda s: which(s, [run]))


def of_external_tests(run: Path, seed: int) -> tuple[Figures, ...]:
    """Figures of the external tests of a run, which say its seed where it is not `seed`; `DatasetError` if it has none."""
    places = [place for place in public_tests(run) if (place / "evaluation.json").exists()]
    if not places:
        raise DatasetError(
            f"{run} was not tested on another public data set. Do it with: python -m train evaluate {run} --data SOURCE=DIR"
        )
    config = TrainConfig.read(run / "config.json")
    trained = " and ".join(TITLES.get(source, source) for source, _ in config.data)
    apart = f", seed {config.seed}" if config.seed != seed else ""
    found: tuple[Figures, ...] = ()
    for place in places:
        found += figures(
            verified_evaluation(run, place),
            f"{run.name}/external/{place.name}",
            lambda s: f"trained on {trained}, tested on {TITLES.get(s.name, s.name)}{apart}",
        )
    return found


def figures(evaluation: Evaluation, results: str, data: Callable[[SetMetrics], str]) -> tuple[Figures, ...]:
    """Of each set of an evaluation, what the card says; `data` says which images they are."""
    return tuple(
        Figures(
            data=data(s),
            role=s.role.removeprefix("validation: ").removeprefix("external: "),
            images=s.images,
            malignant=s.malignant,
            groups=s.groups,
            auc=s.figures["auc"].value,
            auc_interval=(s.figures["auc"].low, s.figures["auc"].high),
            auc_by_group=s.auc_by_group.value,
            sensitivity=s.figures["sensitivity"].value,
            specificity=s.figures["specificity"].value,
            ece=s.figures["ece"].value,
            results=results,
            predictions_sha256=evaluation.predictions_sha256,
        )
        for s in evaluation.sets
    )


def operating_points(place: Path, evaluation: Evaluation) -> tuple[OperatingPoint, ...]:
    """What thresholds for other shares of cancers found are worth, on the images that the threshold was chosen on."""
    rows = [row for row in verified_predictions(place, evaluation) if row.source in evaluation.chosen_on]
    labels, scores = np.array([row.label for row in rows]), np.array([row.probability for row in rows])
    points = []
    for sensitivity in SENSITIVITIES:
        threshold = threshold_at_sensitivity(labels, scores, sensitivity)
        at = rates(confusion(labels, scores, threshold))
        points.append(
            OperatingPoint(threshold, at["sensitivity"], at["specificity"], at["precision"], at["precision_benign"])
        )
    return tuple(points)
