"""predictions.csv and evaluation.json of an evaluation: written together, and read only where they belong together."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rcdnet.errors import DatasetError
from rcdnet.models.verdict import VerdictCounts
from train.evaluate.evaluation_record import Evaluation, SetMetrics, write_evaluation
from train.evaluate.predictions import PredictionRow, read_with_sha256, write_predictions
from train.metrics.calibration_and_threshold import OperatingPoint

EVALUATION = ("predictions.csv", "evaluation.json")


def verified_predictions(folder: Path, evaluation: Evaluation) -> list[PredictionRow]:
    """The predictions in `folder`; `DatasetError` if its evaluation was made from others."""
    path = folder / "predictions.csv"
    rows, digest = read_with_sha256(path, evaluation.predictions_sha256)
    counts = {s.name: [row.label for row in rows if row.source == s.name] for s in evaluation.sets}
    same = all((s.images, s.malignant) == (len(counts[s.name]), sum(counts[s.name])) for s in evaluation.sets)
    if digest != evaluation.predictions_sha256 or not same:
        raise DatasetError(
            f"{path} is not the file its evaluation was made from. Make both again: python -m train evaluate RUN"
        )
    return rows


def write_results(
    place: Path,
    model: str,
    digest: str,
    epoch: int | None,
    point: OperatingPoint,
    left_out: Iterable[str],
    remarks: tuple[str, ...],
    rows: Sequence[PredictionRow],
    sets: tuple[SetMetrics, ...],
    counts: tuple[VerdictCounts, ...] = (),
) -> Evaluation:
    """Write both files into `place`, which is there; `digest` is the SHA-256 of the weights."""
    written = write_predictions(place / "predictions.csv", rows)
    evaluation = Evaluation(
        model=model,
        weights_sha256=(digest,),
        epoch=epoch,
        calibration=point.calibration,
        threshold=point.threshold,
        threshold_rule=point.rule,
        chosen_on=point.chosen_on,
        predictions_sha256=written,
        left_out=tuple(left_out),
        sets=sets,
        remarks=remarks,
        verdict=point.verdict,
        conformal=point.conformal,
        verdict_counts=counts,
    )
    write_evaluation(place / "evaluation.json", evaluation)
    return evaluation


def one_class_notes(rows: Sequence[PredictionRow], sets: Sequence[SetMetrics]) -> list[str]:
    """A sentence for each source without figures."""
    missing = {row.source for row in rows} - {s.name for s in sets}
    return [f"{source}: its images are all of one class, so it has no figures" for source in sorted(missing)]
