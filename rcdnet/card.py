"""The model card: what weights are, how good they are and on what, and for which input they hold. JSON beside the weight file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rcdnet.calibration import Calibration

MINIMUM_AUC = 0.75  # on validation; below it a model's answer would mislead more than it helps


@dataclass(frozen=True)
class Figures:
    """How a model did on one set of images that it was not trained on.

    data: which images. role: what else they were used for. auc_interval: 95 %, bootstrap over patients or groups.
    ece: expected calibration error. sensitivity, specificity: at the card's threshold.
    results: where the evaluation lies below `assets/results`. predictions_sha256: of its predictions; others, other figures.
    """

    data: str
    role: str
    images: int
    malignant: int
    groups: int
    auc: float
    auc_interval: tuple[float, float]
    auc_by_group: float
    sensitivity: float
    specificity: float
    ece: float = math.nan
    results: str = ""
    predictions_sha256: str = ""


@dataclass(frozen=True)
class Subgroup:
    """Some images of a validation set. auc: nan where too few are of one class; sensitivity, specificity where none is."""

    data: str
    name: str
    images: int
    malignant: int
    auc: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold is worth on the images that the card's own threshold was chosen on.

    ppv, npv: at the share of malignant lesions among those images, not that of a clinic.
    """

    threshold: float
    sensitivity: float
    specificity: float
    ppv: float
    npv: float


@dataclass(frozen=True)
class ModelCard:
    """What must be known about a weight file to use it and to judge it.

    classes: in the order of the outputs. threshold: of the malignant probability, at or above which the call is malignant.
    threshold_rule: how the threshold was chosen, as the end of a sentence.
    validation: the first entry is the one the threshold was chosen on.
    sha256: of the weight file, checked at load.
    calibration: from the evidence to the probability.
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
    folds: tuple[Figures, ...] = ()
    seeds: tuple[Figures, ...] = ()
    cross_site: tuple[Figures, ...] = ()
    subgroups: tuple[Subgroup, ...] = ()
    operating_points: tuple[OperatingPoint, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    licence: str = ""
    citations: tuple[str, ...] = ()

    @property
    def measured_itself(self) -> bool:
        """Whether `validation` is of these very weights, not of runs of their recipe that left those images out."""
        return all(f.results == self.run for f in self.validation)

    @property
    def answers(self) -> bool:
        """Whether the model is good enough on validation to be shown."""
        return self.validation[0].auc >= MINIMUM_AUC

    def to_json(self) -> str:
        return json.dumps(nan_as_null(asdict(self)), indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def parse(path: Path) -> "ModelCard":
        """The card in `path`; `ValueError`, `TypeError` or `KeyError` if it is not one."""
        data = json.loads(path.read_text(encoding="utf-8"))
        for key in ("validation", "folds", "seeds", "cross_site"):
            data[key] = tuple(
                Figures(**null_as_nan(f) | {"auc_interval": tuple(f["auc_interval"])}) for f in data.get(key, ())
            )
        for key, kind in (("subgroups", Subgroup), ("operating_points", OperatingPoint)):
            data[key] = tuple(kind(**null_as_nan(entry)) for entry in data.get(key, ()))
        calibration = data.get("calibration", {})
        data["calibration"] = Calibration(**calibration | {"box": tuple(calibration.get("box", ()))})
        return ModelCard(**data | {key: tuple(data.get(key, ())) for key in ("classes", "known_failures", "citations")})


def nan_as_null(value: Any) -> Any:
    """For JSON, which has no nan."""
    if isinstance(value, dict):
        return {key: nan_as_null(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [nan_as_null(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def null_as_nan(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in entry.items()}
