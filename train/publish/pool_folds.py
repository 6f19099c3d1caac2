"""Runs that validate on different images, as the folds of a cross-validation do, taken together as one evaluation."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from rcdnet.errors import DatasetError
from rcdnet.models.verdict import VerdictCounts
from train.config import TrainConfig
from train.evaluate.evaluation_files import verified_predictions
from train.evaluate.evaluation_record import Evaluation, metrics_by_source, read_evaluation, write_evaluation
from train.evaluate.internal_validation import selection_note
from train.evaluate.predictions import PredictionRow, write_predictions
from train.evaluate.verdicts import count_verdicts
from train.fit.events import Started, read_events
from train.metrics.calibration_and_threshold import OperatingPoint, operating_point
from train.metrics.classification import calibration_error, confusion, group_means, rates

APART = ("data", "fold", "seed")  # what may differ between runs of one recipe


def pool(runs: Sequence[Path], out: Path) -> Evaluation:
    """Every validation image of the runs once, each scored by weights that never saw it; writes the files of an evaluation.

    One calibration and one threshold for all, from all: those that weights trained alike on every image can be given. In the
    calibration of several runs each data set counts alike, for a scan to come is no likelier to be like those of the larger one; a
    run that stands alone, with few images of the smaller, keeps its own. What they
    would have been worth if chosen without the run they are applied to is `SetMetrics.held_out`.

    Raises:
        DatasetError: the runs are not of one recipe, are not evaluated, or share an image.
    """
    evaluations = [read_evaluation(run / "evaluation.json") for run in runs]
    configs = [config_of(run) for run in runs]
    recipes = [recipe_of(config) for config in configs]
    for run, recipe in zip(runs, recipes, strict=True):
        if recipe != recipes[0]:
            differing = ", ".join(name for name, value in recipe.items() if value != recipes[0][name])
            raise DatasetError(f"{run} differs from {runs[0]} in {differing}. Runs of one recipe are expected.")
    # Group numbers mean something only inside a run.
    parts = [
        [replace(row, group=row.group * len(runs) + k) for row in verified_predictions(run, evaluation)]
        for k, (run, evaluation) in enumerate(zip(runs, evaluations, strict=True))
    ]
    rows = [row for part in parts for row in part]
    if twice := len(rows) - len({row.id for row in rows}):
        raise DatasetError(f"{twice} images validate in more than one of these runs. Give runs that share none.")
    boxes = [evaluation.calibration.box for evaluation in evaluations]
    # Linear models of one recipe: their mean is what a model of all the images is taken to be.
    box = tuple(np.mean(boxes, axis=0).tolist()) if all(boxes) else ()
    if not box:  # then no outline's shape can be scored by the weights to come
        parts = [[replace(row, score=0.0) for row in part] for part in parts]
        rows = [row for part in parts for row in part]
    point = _point(rows, box, alike=len(runs) > 1)
    rows = [replace(row, probability=float(point.calibration.probability(*_evidence(row)))) for row in rows]
    sets = metrics_by_source(
        rows, point.threshold, lambda source: _role(configs[0], source in point.chosen_on, len(runs))
    )
    counts: tuple[VerdictCounts, ...] = ()
    if len(runs) > 1:
        judged = cross_fitted(parts)
        sets = tuple(replace(s, held_out=_held_out(judged, s.name)) for s in sets)
        counts = count_verdicts(judged, "validation: calibration and thresholds were chosen on the other runs")
    out.mkdir(parents=True, exist_ok=True)
    epochs = {evaluation.epoch for evaluation in evaluations}
    evaluation = Evaluation(
        model=evaluations[0].model,
        weights_sha256=tuple(digest for e in evaluations for digest in e.weights_sha256),
        epoch=epochs.pop() if len(epochs) == 1 else None,
        calibration=point.calibration,
        threshold=point.threshold,
        threshold_rule=point.rule,
        chosen_on=point.chosen_on,
        predictions_sha256=write_predictions(out / "predictions.csv", rows),
        left_out=tuple(sentence for e in evaluations for sentence in e.left_out),
        sets=sets,
        remarks=tuple(dict.fromkeys(remark for e in evaluations for remark in e.remarks)),
        verdict=point.verdict,
        conformal=point.conformal,
        verdict_counts=counts,
    )
    write_evaluation(out / "evaluation.json", evaluation)
    return evaluation


def config_of(run: Path) -> TrainConfig:
    """The settings of a run, with those off that its images could not teach: a run that learnt no outline is of another recipe."""
    off: dict[str, Any] = dict.fromkeys(untaught_in(run), 0.0)
    return replace(TrainConfig.read(run / "config.json"), **off)


def untaught_in(run: Path) -> tuple[str, ...]:
    """The settings of a run that asked for what its images could not teach, as `train.fit.events.Started` names them."""
    events = read_events(run / "events.jsonl")
    return next((event.untaught for event in reversed(events) if isinstance(event, Started)), ())


def recipe_of(config: TrainConfig) -> dict[str, object]:
    """The settings that runs of one recipe share, with the names of their sources."""
    settings = {name: value for name, value in asdict(config).items() if name not in APART}
    if config.init.endswith(".safetensors"):  # where it lay is nobody's business
        settings["init"] = Path(config.init).name
    return settings | {"sources": [source for source, _ in config.data]}


def _role(config: TrainConfig, chosen: bool, runs: int) -> str:
    whose = f"{runs} runs, each on images that it was not trained on; " if runs > 1 else ""
    alike = ", each data set counting alike in the calibration" if runs > 1 and len(config.data) > 1 else ""
    return f"validation: {whose}{selection_note(config, threshold=chosen)}{alike}"


def _evidence(row: PredictionRow) -> tuple[float, float, float]:
    return row.logit, row.vote, row.score


def _point(rows: Sequence[PredictionRow], box: tuple[float, ...] = (), *, alike: bool = True) -> OperatingPoint:
    labels, evidence = np.array([row.label for row in rows]), np.array([_evidence(row) for row in rows])
    return operating_point(labels, evidence, np.array([row.source for row in rows]), box, alike=alike)


def cross_fitted(parts: Sequence[Sequence[PredictionRow]]) -> list[tuple[PredictionRow, OperatingPoint]]:
    """The rows of several runs with the probability that the other runs' calibration gives them, and that point of the other runs."""
    judged = []
    for k, part in enumerate(parts):
        point = _point([row for j, other in enumerate(parts) if j != k for row in other])
        for row in part:
            probability = float(point.calibration.probability(*_evidence(row)))
            judged.append((replace(row, probability=probability), point))
    return judged


def _held_out(judged: Sequence[tuple[PredictionRow, OperatingPoint]], source: str) -> dict[str, float]:
    """Figures of a source with the calibration and threshold that the other runs would have chosen for each run."""
    rows, points = zip(*(pair for pair in judged if pair[0].source == source), strict=True)
    called = [row.probability >= point.threshold for row, point in zip(rows, points, strict=True)]
    labels, scores = np.array([row.label for row in rows]), np.array([row.probability for row in rows])
    at = rates(confusion(labels, np.array(called, float), 0.5))
    of_groups = group_means(labels, scores, np.array([row.group for row in rows]))
    return {
        "auc": float(roc_auc_score(labels, scores)),
        "auc_by_group": float(roc_auc_score(*of_groups)),
        "ece": calibration_error(labels, scores),
        "sensitivity": at["sensitivity"],
        "specificity": at["specificity"],
    }
