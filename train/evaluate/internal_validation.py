"""A run measured on its own validation images."""

from pathlib import Path

import numpy as np

from rcdnet.errors import DatasetError
from train.config import TrainConfig
from train.data.data_manifest import verify_manifest
from train.data.dataset_readers import read_sources
from train.data.load_images import Decoded, decode
from train.data.sample import Say, ignore_message
from train.data.splits import Split
from train.evaluate.evaluation_files import one_class_notes, write_results
from train.evaluate.evaluation_record import (
    Evaluation,
    metrics_by_source,
)
from train.evaluate.lesion_box_classifier import fit_box_coefficients
from train.evaluate.network_outputs import load_network, network_outputs
from train.evaluate.predictions import predictions
from train.fit.checkpoints import check_settings, read_best, read_progress
from train.metrics.calibration_and_threshold import operating_point


def evaluate_run(out: Path, config: TrainConfig, decoded: Decoded, split: Split) -> Evaluation:
    """Score a run's best weights on its validation images; writes `predictions.csv` and `evaluation.json` into `out`.

    The weights are rounded to half precision first, as the app holds them.
    """
    (network, decoder), digest = load_network(config.model, read_best(out))
    held_out = decoded.rows_of_lesions(split.validation)
    box = fit_box_coefficients([decoded.samples[row] for row in decoded.rows_of(split.train)])
    scores = network_outputs(network, decoder, decoded, held_out, box)
    samples = [decoded.samples[row] for row in held_out]
    groups = [split.groups[sample.id] for sample in samples]
    sources = np.array([sample.source for sample in samples])
    point = operating_point(decoded.labels[held_out], scores.evidence, sources, box)
    rows = predictions(samples, groups, scores, point.calibration)

    def role(source: str) -> str:
        return f"validation: {selection_note(config, threshold=source in point.chosen_on)}"

    sets = metrics_by_source(rows, point.threshold, role)
    progress = read_progress(out)
    left_out = one_class_notes(rows, sets)
    return write_results(out, config.model, digest, progress.best_epoch, point, left_out, decoded.remarks, rows, sets)


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
            f"{out} was trained on every image, so none is left to evaluate on. Give other data with --data."
        )
    decoded = decode(read_sources(config.data, say), config.input_size, skip_broken=config.broken == "skip")
    verify_manifest(out, split, decoded)
    return evaluate_run(out, config, decoded, split)


def selection_note(config: TrainConfig, *, threshold: bool) -> str:
    """What a run's validation images were used for beside measuring, as the end of a sentence."""
    chosen = "calibration was" if config.keep == "last" else "epoch and calibration were"
    point = "and the threshold too" if threshold else "the threshold was only applied"
    return f"{chosen} chosen here, {point}{start_caveat(config)}"


def has_unknown_pretraining(config: TrainConfig) -> bool:
    """Whether a run started from weights that trained on images which the run itself does not list."""
    return config.init not in ("random", "imagenet")


def start_caveat(config: TrainConfig) -> str:
    return "; the weights it started from may have seen these images" if has_unknown_pretraining(config) else ""
