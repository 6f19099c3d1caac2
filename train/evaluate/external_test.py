"""External tests: weights on images that nothing was chosen on, where they lie, and what they must not take the place of."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from rcdnet.errors import DatasetError
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, load_checkpoint
from rcdnet.models.registry import MODELS, spec_of
from train.config import TrainConfig
from train.data.custom_dataset import source_name
from train.data.data_manifest import verify_files
from train.data.dataset_readers import read_sources
from train.data.duplicates import near_duplicate_pairs
from train.data.labels import NO_LESION
from train.data.load_images import Decoded, decode
from train.data.public_datasets import TITLES
from train.data.sample import Say, ignore_message
from train.data.splits import Split, group_samples
from train.evaluate.evaluation_files import one_class_notes, write_results
from train.evaluate.evaluation_record import (
    Evaluation,
    metrics_by_source,
    read_evaluation,
)
from train.evaluate.internal_validation import start_caveat
from train.evaluate.network_outputs import load_network, network_outputs
from train.evaluate.predictions import PredictionRow, predictions, read_predictions
from train.evaluate.verdicts import count_verdicts
from train.fit.checkpoints import check_settings, read_best
from train.folders import BUNDLED, RUNS_FOLDER
from train.metrics.calibration_and_threshold import OperatingPoint

OPERATING_POINT = "operating_point.json"  # chosen on the scans of a test, beside it
LONGEST_NAME = 200  # bytes of a folder's name; file systems take 255


def evaluate_external(
    weights: Path | str, data: Sequence[tuple[str, str]], out: Path | None = None, say: Say = ignore_message
) -> Evaluation:
    """An external test: weights on data that nothing was chosen on, with the threshold and calibration they came with.

    Left out and listed are near-copies of images that a run trained on or validated with, images of its patients, and
    near-copies under two labels.

    Args:
        weights: a run's folder; or the name of a bundled model, or a weight file with its card beside it, whose training images
            are not known here.
        out: folder for `predictions.csv` and `evaluation.json`; by default `external/NAME` in the run, or in
            `runs/bundled-MODEL` for a bundled model.
        say: hears what of the data was passed over.

    Raises:
        DatasetError: nothing is left to evaluate on, `out` is missing or holds a test on other images, or the run is not evaluated
            yet.
        NotTrained, CheckpointError: the weights cannot be used.
    """
    run = Path(weights)
    if (run.suffix == ".safetensors" or str(weights) in MODELS) and not (run / "config.json").exists():
        if run.suffix and out is None:
            raise DatasetError("Weights outside a run have no folder of their own. Give one with --out.")
        network, card, decoder = load_checkpoint(run.stem, run.parent if run.suffix else WEIGHTS_FOLDER)
        model, digest, epoch = card.model, card.sha256, None
        point = OperatingPoint(card.calibration, card.threshold, card.threshold_rule, (), card.verdict, card.conformal)
        own, role = None, "external: nothing was chosen here, but whether these images were in training was not checked"
    else:
        own = TrainConfig.read(run / "config.json")
        check_settings(run, own)
        (network, decoder), digest = load_network(own.model, read_best(run))
        before = read_evaluation(run / "evaluation.json")
        if before.weights_sha256 != (digest,):
            raise DatasetError(
                f"The evaluation in {run} is of other weights. Make it again: python -m train evaluate {run}"
            )
        model, epoch = own.model, before.epoch
        role = f"external: nothing was chosen here{start_caveat(own)}"
        point = OperatingPoint(
            before.calibration,
            before.threshold,
            before.threshold_rule,
            before.chosen_on,
            before.verdict,
            before.conformal,
        )
    decoded = decode(read_sources(data, say), spec_of(model).input_size)
    reasons = _known(decoded, data, own, run) if own else {}
    groups, conflicts = group_samples(decoded.samples, decoded.fingerprints)
    for row in np.flatnonzero(conflicts):
        reasons.setdefault(decoded.samples[row].id, "a near-copy of it has the other label")
    lesions = decoded.labels != NO_LESION  # as `Decoded.rows_of_lesions`
    if not lesions.any():
        raise DatasetError(
            "None of these scans is labelled as having a lesion, so there is no call to measure. Give other data."
        )
    keep = lesions & np.array([sample.id not in reasons for sample in decoded.samples], bool)
    if not keep.any():
        raise DatasetError("Every one of these images, or a near-copy of it, was used in training. Give other data.")
    samples = [sample for sample, kept in zip(decoded.samples, keep, strict=True) if kept]
    scores = network_outputs(network, decoder, decoded, np.flatnonzero(keep), point.calibration.box)
    rows = predictions(samples, groups[keep].tolist(), scores, point.calibration)
    sets = metrics_by_source(rows, point.threshold, lambda source: role)
    left_out = (*(f"{i}: {reason}" for i, reason in sorted(reasons.items())), *one_class_notes(rows, sets))
    home = run if own else RUNS_FOLDER / f"{BUNDLED}{model}"
    place = out or external_test_folder(home, dict.fromkeys(row.source for row in rows))
    check_same_images(place, digest, rows)
    place.mkdir(parents=True, exist_ok=True)
    (place / OPERATING_POINT).unlink(missing_ok=True)  # it was chosen on the test that stood here before
    counts = count_verdicts([(row, point) for row in rows], role)
    return write_results(place, model, digest, epoch, point, left_out, decoded.remarks, rows, sets, counts)


def external_test_folder(home: Path, sources: Iterable[str]) -> Path:
    """Where a test on these sources lies: a folder of its own below `external`, and nowhere else."""
    name = "+".join(sources)
    if Path(name).name != name or name in ("", ".", "..") or len(name.encode()) > LONGEST_NAME:
        raise DatasetError(f"{name[:40]} cannot be the name of a folder. Give one for the figures with --out.")
    return home / "external" / name


def check_same_images(place: Path, digest: str, rows: Sequence[PredictionRow]) -> None:
    """Two folders of one name would take each other's place. The same weights say the same of the same image."""
    if not (place / "evaluation.json").exists() or read_evaluation(place / "evaluation.json").weights_sha256 != (
        digest,
    ):
        return
    before = {row.id: row.logit for row in read_predictions(place / "predictions.csv")}
    if not any(math.isclose(before.get(row.id, math.nan), row.logit, abs_tol=0.01) for row in rows):
        raise DatasetError(f"{place} holds a test on other images. Remove that folder, or give another one with --out.")


def _known(decoded: Decoded, data: Sequence[tuple[str, str]], config: TrainConfig, run: Path) -> dict[str, str]:
    """Of `decoded`, which was read from `data`, the ids that a run knows, each with the reason."""
    split = Split.read(run / "split.json")
    used = {*split.train, *split.validation, *split.conflicts}
    its_own = decode(
        [s for s in read_sources(config.data) if s.id in used],
        config.input_size,
        skip_broken=config.broken == "skip",
    )
    verify_files(run, its_own)
    reasons: dict[str, str] = {}
    # Patient ids mean the same person only inside one data set: a public one, or the very folder or table that the run read.
    places = {Path(place).resolve() for _, place in config.data}
    same = TITLES.keys() | {source_name(Path(place)) for _, place in data if Path(place).resolve() in places}
    patients = {sample.patient for sample in its_own.samples if sample.patient}
    for sample in decoded.samples:
        if sample.patient in patients and sample.source in same:
            reasons[sample.id] = "its patient is in the run's data"
    for row in np.unique(near_duplicate_pairs(decoded.fingerprints, its_own.fingerprints)[:, 0]):
        reasons[decoded.samples[row].id] = "it, or a near-copy of it, is in the run's data"
    return reasons
