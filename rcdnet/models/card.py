"""The model card: what weights are, how good they are and on what, and for which input they hold. JSON beside the weight file."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from rcdnet.models.calibration import BOX, Calibration
from rcdnet.models.verdict import ConformalThresholds, VerdictCounts, VerdictThresholds
from rcdnet.safe_read import (
    MB,
    Count,
    Share,
    Unreadable,
    Within,
    nan_as_null,
    parse_as,
    parse_json,
    quoted,
    read_regular,
)

MINIMUM_AUC = 0.75  # on validation; below it a model's answer would mislead more than it helps
LIMIT = MB  # of a card's file
Known = Annotated[float, Within(-1e-6, 1 + 1e-6, null=math.nan)]  # a share, as far as it is defined


@dataclass(frozen=True)
class Figures:
    """How a model did on one set of images that it was not trained on.

    data: which images. role: what else they were used for. auc_interval: 95 %, as `train.metrics.intervals` gives it.
    ece: expected calibration error. sensitivity, specificity: at the card's threshold.
    results: where the evaluation lies below `assets/results`. predictions_sha256: of its predictions; others, other figures.
    """

    data: str
    role: str
    images: Count
    malignant: Count
    groups: Count
    auc: Share
    auc_interval: tuple[Share, Share]
    auc_by_group: Share
    sensitivity: Share
    specificity: Share
    ece: Known = math.nan
    results: str = ""
    predictions_sha256: str = ""


@dataclass(frozen=True)
class Subgroup:
    """Some images of a validation set. auc: nan where too few are of one class; sensitivity, specificity where none is."""

    data: str
    name: str
    images: Count
    malignant: Count
    auc: Known
    sensitivity: Known
    specificity: Known


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold is worth on the images that the card's own threshold was chosen on.

    ppv, npv: at the share of malignant lesions among those images, not that of a clinic.
    """

    threshold: Share
    sensitivity: Known
    specificity: Known
    ppv: Known
    npv: Known


@dataclass(frozen=True, eq=False)
class ModelCard:
    """What must be known about a weight file to use it and to judge it.

    classes: in the order of the outputs. threshold: of the malignant probability, at or above which the call is malignant.
    threshold_rule: how the threshold was chosen, as the end of a sentence.
    validation: the first entry is the one the threshold was chosen on.
    sha256: of the weight file, checked at load.
    calibration: from the evidence to the probability.
    verdict, conformal: thresholds of the three answers and of conformal sets; None for weights of before there were any.
    verdict_counts: what validation images were told by thresholds that they did not choose.
    folds: the same as `validation` for each run that it is made of. seeds: the same as `validation` for runs of the same recipe
    from other seeds. cross_site: trained on one data set, tested on the other.
    recipe: every setting of the training. run: where the record of the training lies below `assets/results`.
    """

    model: str
    classes: tuple[str, ...]
    input_size: int
    preprocessing: str
    threshold: float
    threshold_rule: str
    validation: tuple[Figures, ...]
    trained_on: str
    training_command: str
    split_sha256: str
    date: str
    known_failures: tuple[str, ...]
    sha256: str
    calibration: Calibration = field(default_factory=Calibration)
    verdict: VerdictThresholds | None = None
    conformal: ConformalThresholds | None = None
    verdict_counts: tuple[VerdictCounts, ...] = ()
    folds: tuple[Figures, ...] = ()
    seeds: tuple[Figures, ...] = ()
    cross_site: tuple[Figures, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
    operating_points: tuple[OperatingPoint, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    licence: str = ""
    citations: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        """Whether another card says the same. Field by field, as dataclasses do from Python 3.13 on, no undefined figure is its own."""
        return isinstance(other, ModelCard) and self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    @property
    def measured_itself(self) -> bool:
        """Whether `validation` is of these very weights, not of runs of their recipe that left those images out."""
        return all(f.results == self.run for f in self.validation)

    @property
    def answers(self) -> bool:
        """Whether the model is good enough on validation to be shown."""
        return self.validation[0].auc >= MINIMUM_AUC

    def to_json(self) -> str:
        return json.dumps(nan_as_null(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @staticmethod
    def parse(path: Path) -> "ModelCard":
        """The card in a file; raises as `from_json`, or because it is no file."""
        return ModelCard.from_json(read_regular(path, LIMIT))

    @staticmethod
    def from_json(content: bytes) -> "ModelCard":
        """The card in a JSON text.

        Raises:
            Unreadable: it is none: a field is missing, too many, of another type or out of its range; the message says which.
        """
        given = parse_json(content)
        if not isinstance(given, dict):
            raise Unreadable("it is no object")
        hints = get_type_hints(ModelCard, include_extras=True)
        if unknown := given.keys() - hints.keys():
            raise Unreadable(f"{quoted(min(unknown))} is no field of a card")
        found: dict[str, Any] = {}
        for f in fields(ModelCard):
            if f.name in given:
                try:
                    found[f.name] = (_recipe if f.name == "recipe" else partial(parse_as, hints[f.name]))(given[f.name])
                except Unreadable as error:
                    raise Unreadable(f"{f.name}: {error}") from error
            elif f.default is MISSING and f.default_factory is MISSING:
                raise Unreadable(f"{f.name} is missing")
        card = ModelCard(**found)
        _check(card)
        return card


def _recipe(value: Any) -> dict[str, Any]:
    """Settings as a run has them: numbers, texts, true or false, and lists of texts."""
    if not isinstance(value, dict):
        raise Unreadable(f"{quoted(value)} is not an object")
    for name, setting in value.items():
        for one in setting if isinstance(setting, list) else [setting]:
            if isinstance(one, dict | list):
                raise Unreadable(f"{name}: {quoted(setting)} is no setting")
    return value


def _check(card: ModelCard) -> None:
    """What no single field tells; `Unreadable` if it does not hold."""
    if not 0 < card.threshold < 1:
        raise Unreadable(f"threshold: {card.threshold:g} is not between 0 and 1")
    if card.verdict and card.verdict.low > card.verdict.high:
        raise Unreadable(
            f"verdict: low suspicion ends at {card.verdict.low:g}, above the {card.verdict.high:g} where high begins"
        )
    if not card.validation:
        raise Unreadable("validation: it is empty, so nothing says how good the weights are")
    if len(card.calibration.box) not in (0, BOX):
        raise Unreadable(f"calibration: box has {len(card.calibration.box)} numbers, not {BOX}")
    if not re.fullmatch(r"[0-9a-f]{64}", card.sha256):
        raise Unreadable(f"sha256: {quoted(card.sha256)} is no SHA-256")
    for f in (*card.validation, *card.folds, *card.seeds, *card.cross_site):
        if not f.malignant < f.images or f.groups > f.images:
            raise Unreadable(f"{f.malignant} malignant and {f.groups} groups of {f.images} images cannot be")
        if f.auc_interval[0] > f.auc_interval[1]:
            raise Unreadable("auc_interval: its first end lies above the second")
