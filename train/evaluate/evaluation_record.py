"""What weights are worth on images they were not trained on. Every figure is computed from `predictions.csv` alone."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np

from rcdnet.errors import DatasetError
from rcdnet.models.calibration import Calibration
from rcdnet.models.registry import MODELS
from rcdnet.models.verdict import ConformalThresholds, VerdictCounts, VerdictThresholds
from rcdnet.safe_read import LARGEST, MB, Count, Share, Unreadable, Within, nan_as_null, parse_as, quoted, read_json
from train.crash_safe_files import write_atomic
from train.evaluate.predictions import PredictionRow
from train.metrics.bootstrap import bootstrap
from train.metrics.classification import (
    Confusion,
    area_under_roc,
    calibration_error,
    confusion,
    figures_of,
    figures_of_samples,
    group_means,
    rates,
)
from train.metrics.intervals import interval_of_auc, intervals, share_interval

LIMIT = 16 * MB  # of evaluation.json
Figure = Annotated[float, Within(-LARGEST, LARGEST, null=math.nan)]
BOTH_AT_LEAST = 10  # images of each class, below which a subgroup's AUC says nothing


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, as `train.metrics.intervals` gives it; nan where undefined.

    The calibration error has no interval: resampling adds to it, and would put it outside its own.
    """

    value: Figure
    low: Figure
    high: Figure


@dataclass(frozen=True)
class Subgroup:
    """Some images of a set.

    sensitivity, specificity: at the set's threshold, with `train.metrics.intervals.share_interval` by image; nan without
    images of that class.
    """

    name: str
    images: Count
    malignant: Count
    sensitivity: Estimate
    specificity: Estimate
    auc: Estimate | None


@dataclass(frozen=True)
class Reference:
    """AUC of another reader, and of the model, on the images that this reader covers."""

    images: Count
    auc: Estimate
    model_auc: Estimate


@dataclass(frozen=True)
class SetMetrics:
    """Figures of one set of images. role: what else the set was used for. auc_by_group: of the mean score of each group.

    figures: `train.metrics.classification.figures_of`; `ece`, the calibration error; `pointing`, the share of lesions that the true
    class's map points at, and `dice`, the mean overlap of the predicted outline, nan without masks. references: other readers of
    the same images, as far as the data has them.
    held_out: of pooled runs, `auc`, `auc_by_group`, `ece`, `sensitivity` and `specificity` with what was chosen on the other runs alone.
    """

    name: str
    role: str
    images: Count
    malignant: Count
    groups: Count
    threshold: Share
    figures: dict[str, Estimate]
    auc_by_group: Estimate
    confusion: Confusion
    subgroups: tuple[Subgroup, ...]
    references: dict[str, Reference]
    held_out: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Everything that `evaluation.json` holds.

    weights_sha256: of the files that were evaluated; other weights, other figures. predictions_sha256: of the predictions.csv
    beside it. left_out: images that were not scored, each with its reason. chosen_on: sources the threshold was chosen on.
    remarks: what was warned of while the images were read. verdict, conformal: thresholds of the three answers and of conformal sets,
    chosen on the same validation images; None in an evaluation of before there were any. verdict_counts: what rows were told by
    thresholds that they did not choose, if there are such.
    """

    model: str
    weights_sha256: tuple[str, ...]
    epoch: Count | None
    calibration: Calibration
    threshold: Share
    threshold_rule: str
    chosen_on: tuple[str, ...]
    predictions_sha256: str
    left_out: tuple[str, ...]
    sets: tuple[SetMetrics, ...]
    remarks: tuple[str, ...] = ()
    verdict: VerdictThresholds | None = None
    conformal: ConformalThresholds | None = None
    verdict_counts: tuple[VerdictCounts, ...] = ()


def metrics_by_source(
    rows: Sequence[PredictionRow], threshold: float, role: Callable[[str], str]
) -> tuple[SetMetrics, ...]:
    """Figures of each source in its order; `role` says of a source what else it was used for.

    Raises:
        DatasetError: no source has images of both classes.
    """
    sources = list(dict.fromkeys(row.source for row in rows))
    sets = [(name, [row for row in rows if row.source == name]) for name in sources]
    usable = [(name, members) for name, members in sets if len({row.label for row in members}) == 2]
    if not usable:
        raise DatasetError("No source has images of both classes, so there is nothing to compute. Add images.")
    return tuple(set_figures(name, role(name), members, threshold) for name, members in usable)


def set_figures(name: str, role: str, rows: Sequence[PredictionRow], threshold: float) -> SetMetrics:
    """Figures of one set, which must have both classes."""
    labels, groups = np.array([r.label for r in rows]), np.array([r.group for r in rows])
    scores = np.array([r.probability for r in rows])
    where = {
        "pointing": np.array([math.nan if r.pointing is None else r.pointing for r in rows], float),
        "dice": np.array([r.dice for r in rows]),
    }

    def figures(samples: np.ndarray) -> dict[str, np.ndarray]:
        known = {key: _means(v, samples) for key, v in where.items()}
        return figures_of_samples(labels, scores, threshold, samples) | known

    values = {key: float(v[0]) for key, v in figures(np.ones((1, len(rows)))).items()}
    ranges = intervals(
        values,
        lambda: figures(bootstrap(groups, labels)),
        labels,
        scores >= threshold,
        groups,
        ~np.isnan(where["pointing"]),
    )
    by_group = group_means(labels, scores, groups)
    return SetMetrics(
        name=name,
        role=role,
        images=len(rows),
        malignant=int(labels.sum()),
        groups=len(np.unique(groups)),
        threshold=threshold,
        figures={key: Estimate(value, *ranges[key]) for key, value in values.items()}
        # Without an interval: the error of a resample is larger than that of what it is drawn from.
        | {"ece": Estimate(calibration_error(labels, scores), math.nan, math.nan)},
        auc_by_group=_auc(*by_group, np.arange(len(by_group[0]))),
        confusion=confusion(labels, scores, threshold),
        subgroups=_subgroups(rows, threshold),
        references=_references(rows),
    )


def _means(values: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """The mean of what is known in each sample, nan where nothing is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: np.ndarray = samples[:, known] @ values[known] / samples[:, known].sum(axis=1)
    return means


def _subgroups(rows: Sequence[PredictionRow], threshold: float) -> tuple[Subgroup, ...]:
    """By BI-RADS category, scanner, burned-in marks as far as `train.data.burned_in_marks` finds them, and third of lesion size."""
    named: dict[str, list[PredictionRow]] = {}
    shares = [r.lesion_share for r in rows if not math.isnan(r.lesion_share)]
    small, large = np.quantile(shares, [1 / 3, 2 / 3]) if shares else (math.nan, math.nan)
    for row in rows:
        names = [
            f"BI-RADS {row.birads}" if row.birads is not None else None,
            f"scanner {row.device}" if row.device else None,
            {True: "with marks found by rule", False: "without marks found by rule", None: None}[row.marks],
        ]
        if not math.isnan(row.lesion_share):
            third = "small" if row.lesion_share <= small else "large" if row.lesion_share > large else "middle"
            names.append(f"lesion size: {third} third")
        for name in filter(None, names):
            named.setdefault(name, []).append(row)
    return tuple(_subgroup(name, named[name], threshold) for name in sorted(named))


def _subgroup(name: str, rows: Sequence[PredictionRow], threshold: float) -> Subgroup:
    labels, scores = np.array([r.label for r in rows]), np.array([r.probability for r in rows])
    at = rates(confusion(labels, scores, threshold))
    enough = min(labels.sum(), len(labels) - labels.sum()) >= BOTH_AT_LEAST
    auc = _auc(labels, scores, np.array([r.group for r in rows])) if enough else None
    sick = int(labels.sum())
    sensitivity, specificity = (
        Estimate(at[key], *share_interval(at[key], count))
        for key, count in (("sensitivity", sick), ("specificity", len(rows) - sick))
    )
    return Subgroup(name, len(rows), sick, sensitivity, specificity, auc)


def _references(rows: Sequence[PredictionRow]) -> dict[str, Reference]:
    """AUC of the lesion's box alone, of the radiologist's BI-RADS category, and of the network without its outline, where there
    are enough of them."""
    outlined = any(r.vote or r.score for r in rows)
    readers: dict[str, list[tuple[PredictionRow, float]]] = {
        "box geometry": [(r, r.box_score) for r in rows if not math.isnan(r.box_score)],
        "BI-RADS category": [(r, float(r.birads)) for r in rows if r.birads is not None],
        "the network without its outline": [(r, r.logit) for r in rows if outlined],
    }
    found = {}
    for name, pairs in readers.items():
        labels = np.array([r.label for r, _ in pairs], int)
        if pairs and min(labels.sum(), len(labels) - labels.sum()) >= BOTH_AT_LEAST:
            scores, groups = np.array([score for _, score in pairs]), np.array([r.group for r, _ in pairs])
            own = np.array([r.probability for r, _ in pairs])
            found[name] = Reference(len(pairs), _auc(labels, scores, groups), _auc(labels, own, groups))
    return found


def _auc(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> Estimate:
    return Estimate(area_under_roc(labels, scores), *interval_of_auc(labels, scores, groups))


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """As JSON, nan as null."""
    write_atomic(
        path,
        (json.dumps(nan_as_null(asdict(evaluation)), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    )


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in `path`; `DatasetError` says how to make one."""
    try:
        evaluation: Evaluation = parse_as(Evaluation, read_json(path, LIMIT))
        if evaluation.model not in MODELS:
            raise Unreadable(f"there is no model {quoted(evaluation.model)}")
        for s in evaluation.sets:
            if missing := [name for name in _figures_needed() if name not in s.figures]:
                raise Unreadable(f"{quoted(s.name)} has no {missing[0]}")
            if s.held_out and not {"sensitivity", "specificity"} <= s.held_out.keys():
                raise Unreadable(f"held_out of {quoted(s.name)} is not whole")
    except Unreadable as error:
        raise DatasetError(
            f"{path} holds no evaluation ({error}). Make one with: python -m train evaluate RUN"
        ) from error
    return evaluation


@cache
def _figures_needed() -> tuple[str, ...]:
    return (*figures_of(np.array([0, 1]), np.array([0.0, 1.0]), 0.5), "ece", "pointing", "dice")
