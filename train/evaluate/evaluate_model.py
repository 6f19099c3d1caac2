"""From weights to the files of an evaluation: a run's own validation images, or a set from elsewhere."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from rcdnet.errors import CheckpointError, DatasetError
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, build, load_checkpoint
from rcdnet.models.lesion_decoder import LesionDecoder, read_outline, shape_score
from rcdnet.models.registry import MODELS, spec_of
from train.config import TrainConfig
from train.data.custom_dataset import source_name
from train.data.data_manifest import verify_files, verify_manifest
from train.data.dataset_readers import read_sources
from train.data.decode import Decoded, decode
from train.data.duplicates import near_duplicate_pairs
from train.data.labels import NO_LESION
from train.data.sample import Say, ignore_message
from train.data.splits import Split, group_samples
from train.evaluate.box_baseline import fit_box_coefficients
from train.evaluate.calibrate import OperatingPoint, operating_point
from train.evaluate.evaluation import (
    Evaluation,
    metrics_by_source,
    read_evaluation,
    write_evaluation,
)
from train.evaluate.external_test_paths import check_same_images, external_test_folder
from train.evaluate.predictions import NetworkOutputs, predictions, write_predictions
from train.fit.auxiliary_supervision import class_evidence
from train.fit.loop import as_input
from train.fit.state import check_settings, read_best, read_progress, to_half_precision
from train.folders import BUNDLED, RUNS_FOLDER

BATCH = 64


def evaluate_run(out: Path, config: TrainConfig, decoded: Decoded, split: Split) -> Evaluation:
    """Score a run's best weights on its validation images; writes `predictions.csv` and `evaluation.json` into `out`.

    The weights are rounded to half precision first, as the app holds them.
    """
    (network, decoder), digest = _network(config.model, read_best(out))
    held_out = decoded.rows_of_lesions(split.validation)
    box = fit_box_coefficients([decoded.samples[row] for row in decoded.rows_of(split.train)])
    scores = _scores(network, decoder, decoded, held_out, box)
    samples = [decoded.samples[row] for row in held_out]
    groups = [split.groups[sample.id] for sample in samples]
    sources = np.array([sample.source for sample in samples])
    point = operating_point(decoded.labels[held_out], scores.evidence, sources, box)
    rows = predictions(samples, groups, scores, point.calibration)

    def role(source: str) -> str:
        return f"validation: {selection_note(config, threshold=source in point.chosen_on)}"

    sets = metrics_by_source(rows, point.threshold, role)
    progress = read_progress(out)
    left_out = _one_class(rows, sets)
    return _written(out, config.model, digest, progress.best_epoch, point, left_out, decoded.remarks, rows, sets)


def selection_note(config: TrainConfig, *, threshold: bool) -> str:
    """What a run's validation images were used for beside measuring, as the end of a sentence."""
    chosen = "calibration was" if config.keep == "last" else "epoch and calibration were"
    point = "and the threshold too" if threshold else "the threshold was only applied"
    return f"{chosen} chosen here, {point}{_of_the_start(config)}"


def has_unknown_pretraining(config: TrainConfig) -> bool:
    """Whether a run started from weights that trained on images which the run itself does not list."""
    return config.init not in ("random", "imagenet")


def _of_the_start(config: TrainConfig) -> str:
    return "; the weights it started from may have seen these images" if has_unknown_pretraining(config) else ""


def reevaluate_run(out: Path, say: Say = ignore_message) -> Evaluation:
    """Score a run anew; `say` hears what of its data was passed over.

    Raises:
        DatasetError, CheckpointError: it has no weights yet, nothing validates, or its data changed since it began.
        ConfigError: its settings did.
    """
    read_best(out)
    config, split = TrainConfig.read(out / "config.json"), Split.read(out / "split.json")
    check_settings(out, config)
    if not split.validation:
        raise DatasetError(
            f"Every image of {out} trained, so none is left to evaluate on. Give other data with --data."
        )
    decoded = decode(read_sources(config.data, say), config.input_size, skip_broken=config.broken == "skip")
    verify_manifest(out, split, decoded)
    return evaluate_run(out, config, decoded, split)


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
        point = OperatingPoint(card.calibration, card.threshold, card.threshold_rule, ())
        own, role = None, "external: nothing was chosen here, but whether these images were in training was not checked"
    else:
        own = TrainConfig.read(run / "config.json")
        check_settings(run, own)
        (network, decoder), digest = _network(own.model, read_best(run))
        before = read_evaluation(run / "evaluation.json")
        if before.weights_sha256 != (digest,):
            raise DatasetError(
                f"The evaluation in {run} is of other weights. Make it anew: python -m train evaluate {run}"
            )
        model, epoch = own.model, before.epoch
        role = f"external: nothing was chosen here{_of_the_start(own)}"
        point = OperatingPoint(before.calibration, before.threshold, before.threshold_rule, before.chosen_on)
    decoded = decode(read_sources(data, say), spec_of(model).input_size)
    reasons = _known(decoded, data, own, run) if own else {}
    groups, conflicts = group_samples(decoded.samples, decoded.fingerprints)
    for row in np.flatnonzero(conflicts):
        reasons.setdefault(decoded.samples[row].id, "a near-copy of it has the other label")
    lesions = decoded.labels != NO_LESION  # as `Decoded.rows_of_lesions`
    if not lesions.any():
        raise DatasetError(
            "None of these scans is labelled as one with a lesion, so there is no call to measure. Give other data."
        )
    keep = lesions & np.array([sample.id not in reasons for sample in decoded.samples], bool)
    if not keep.any():
        raise DatasetError("Every one of these images, or a near-copy of it, was used in training. Give other data.")
    samples = [sample for sample, kept in zip(decoded.samples, keep, strict=True) if kept]
    scores = _scores(network, decoder, decoded, np.flatnonzero(keep), point.calibration.box)
    rows = predictions(samples, groups[keep].tolist(), scores, point.calibration)
    sets = metrics_by_source(rows, point.threshold, lambda source: role)
    left_out = (*(f"{i}: {reason}" for i, reason in sorted(reasons.items())), *_one_class(rows, sets))
    home = run if own else RUNS_FOLDER / f"{BUNDLED}{model}"
    place = out or external_test_folder(home, dict.fromkeys(row.source for row in rows))
    check_same_images(place, digest, rows)
    place.mkdir(parents=True, exist_ok=True)
    return _written(place, model, digest, epoch, point, left_out, decoded.remarks, rows, sets)


def _written(place, model, digest, epoch, point, left_out, remarks, rows, sets) -> Evaluation:
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
    )
    write_evaluation(place / "evaluation.json", evaluation)
    return evaluation


def _one_class(rows, sets) -> list[str]:
    """A sentence for each source without figures."""
    missing = {row.source for row in rows} - {s.name for s in sets}
    return [f"{source}: its images are all of one class, so it has no figures" for source in sorted(missing)]


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
    # Patient ids mean the same person only inside one data set: BUS-BRA, or the very folder or table that the run read.
    places = {Path(place).resolve() for _, place in config.data}
    same = {"busbra"} | {source_name(Path(place)) for _, place in data if Path(place).resolve() in places}
    patients = {sample.patient for sample in its_own.samples if sample.patient}
    for sample in decoded.samples:
        if sample.patient in patients and sample.source in same:
            reasons[sample.id] = "the run knows its patient"
    for row in np.unique(near_duplicate_pairs(decoded.fingerprints, its_own.fingerprints)[:, 0]):
        reasons[decoded.samples[row].id] = "the run knows it, or a near-copy of it"
    return reasons


def _network(name: str, content: bytes) -> tuple[tuple[nn.Module, LesionDecoder | None], str]:
    """Network and decoder with the weights as the app would hold them, and the digest of that file."""
    weights = to_half_precision(content)
    return build(name, weights), hashlib.sha256(weights).hexdigest()


@torch.no_grad()
def _scores(
    network: nn.Module, decoder: LesionDecoder | None, decoded: Decoded, rows: np.ndarray, box: Sequence[float]
) -> NetworkOutputs:
    evidence: list[tuple[float, float, float]] = []
    pointing: list[bool | None] = []
    dice: list[float] = []
    for chosen in np.array_split(rows, max(1, len(rows) // BATCH)):
        features, maps = network.forward_intermediates(as_input(torch.from_numpy(decoded.canvases[chosen])))
        logits = network.forward_head(features).double()
        heats = class_evidence(network, features)[range(len(chosen)), decoded.labels[chosen]].numpy()
        outlines, votes = read_outline(decoder, maps) if decoder else (None, torch.zeros(len(chosen)))
        for k, row in enumerate(chosen):
            outline = None if outlines is None else outlines[k].numpy()
            score = 0.0 if outline is None else shape_score(outline, decoded.frames[row], box)
            evidence.append((float(logits[k, 1] - logits[k, 0]), float(votes[k]), score))
            lesion = decoded.lesions[row] if decoded.samples[row].masks and decoded.masked[row] else None
            pointing.append(None if lesion is None else pointing_game_hit(heats[k], lesion))
            dice.append(math.nan if lesion is None or outline is None else dice_score(outline, lesion))
    known = np.array(evidence).reshape(-1, 3)
    if not np.isfinite(known).all():
        raise CheckpointError(
            f"The weights give no number for {(~np.isfinite(known).all(axis=1)).sum()} of {len(rows)} images, so nothing can be said "
            "of them. They are damaged: take the file of another epoch, or train again."
        )
    return NetworkOutputs(known, tuple(pointing), np.array(dice))


def pointing_game_hit(evidence: np.ndarray, lesion: np.ndarray) -> bool:
    """The pointing game (Zhang et al. 2018, doi:10.1007/s11263-017-1059-x): whether a map's highest point lies in the lesion.

    The centre of the highest place of the coarse map, which interpolation would not move. A map that is positive nowhere points
    at nothing.

    Args:
        evidence: float (h, w). lesion: (S, S), not 0 inside.
    """
    row, column = np.unravel_index(evidence.argmax(), evidence.shape)
    y = int((row + 0.5) * lesion.shape[0] / evidence.shape[0])
    x = int((column + 0.5) * lesion.shape[1] / evidence.shape[1])
    return bool(evidence[row, column] > 0 and lesion[y, x])


def dice_score(outline: np.ndarray, lesion: np.ndarray) -> float:
    """Dice of where `outline`, probability float (h, w), is above a half, and the lesion, (S, S), not 0 inside."""
    fine = cv2.resize(outline.astype(np.float32), lesion.shape[::-1], interpolation=cv2.INTER_LINEAR)
    found, true = fine > 0.5, lesion > 0
    return float(2 * (found & true).sum() / max(1, found.sum() + true.sum()))
