"""What stands on the Results page: one model on one set of images, and all that came with the app."""

from dataclasses import dataclass

from rcdnet.models.card import ModelCard
from rcdnet.models.lesion_presence import PresenceCards
from rcdnet.models.verdict import VerdictCounts
from rcdnet.reading.input_check import InputCheckCard
from train.evaluate.evaluation_record import SetMetrics
from train.evaluate.predictions import PredictionRow
from train.fit.events import Epoch
from train.studies.heatmap_records import MapFigures

EXTERNAL = ", external test"  # ends the name of the images of one


@dataclass(frozen=True)
class Result:
    """One model on one set of images that it was not trained on, with the predictions behind the figures.

    name: whose result, as beside an axis. images: which images, as a phrase. rule: how the threshold was chosen.
    external: a user's test on other data, which the model may have seen for all that is known. chosen: these images chose the
    threshold. left_out: images that were not scored, each with its reason. remarks: what was warned of while they were read.
    verdicts: what the three answers told these images, by thresholds that others chose; None where they chose them.
    """

    name: str
    model: str
    images: str
    figures: SetMetrics
    rows: tuple[PredictionRow, ...]
    rule: str
    external: bool = False
    chosen: bool = False
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    verdicts: VerdictCounts | None = None


@dataclass(frozen=True)
class Bundle:
    """What came with the app, in the registry's order; every figure traced to its predictions.

    cards: by model. validation: of each model. folds: of each run that `validation` is made of. seeds: as `validation`, from
    other seeds. cross_site: trained on one data set, tested on another. runs: the epochs of each recorded training, by the name
    of its run, by model. heatmaps: figures of the validation runs' maps. missing: why a model's figures are not shown and which
    command makes them, by model. input_check: how the check before the models fared; None where it cannot be read.
    lesion_presence: how each model tells scans without a lesion; None where that was not taught.
    """

    cards: dict[str, ModelCard]
    validation: tuple[Result, ...]
    folds: tuple[Result, ...]
    seeds: tuple[Result, ...]
    cross_site: tuple[Result, ...]
    runs: dict[str, dict[str, tuple[Epoch, ...]]]
    missing: dict[str, str]
    heatmaps: tuple[MapFigures, ...] = ()
    input_check: InputCheckCard | None = None
    lesion_presence: PresenceCards | None = None
