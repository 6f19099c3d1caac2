"""Weights, and images to study them on: a run's own validation images, or those given for a bundled model."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rcdnet.errors import DatasetError
from rcdnet.models.checkpoint import build
from rcdnet.models.registry import spec_of
from rcdnet.reading.inference import Classifier, load_classifier
from train.config import TrainConfig
from train.data.dataset_readers import read_sources
from train.data.duplicates import Fingerprint, fingerprint
from train.data.labels import NO_LESION
from train.data.load_images import iterate_pixels
from train.data.sample import Sample
from train.data.splits import Split, group_samples
from train.evaluate.internal_validation import has_unknown_pretraining
from train.publish.ship import ship


@dataclass(frozen=True)
class StudyInput:
    """Weights, and the images with a lesion that they are studied on.

    name: of the run or the bundled model. groups: patient or near-duplicate group of each sample. seen: whether the images may
    have trained the weights.
    """

    name: str
    classifier: Classifier
    samples: tuple[Sample, ...]
    groups: tuple[int, ...]
    seen: bool


def study_input(weights: str, data: Sequence[tuple[str, str]] = (), *, located: bool = False) -> StudyInput:
    """What to measure.

    Args:
        weights: a finished, evaluated run's folder, of which only the validation images are taken; or a bundled model's name.
        data: pairs of source and place; by default where the run says.
        located: take only images whose lesion has a mask or a box.

    Raises:
        DatasetError: there is no such image, or no data was given for a bundled model.
        NotTrained, CheckpointError: the weights cannot answer.
    """

    def usable(sample: Sample) -> bool:
        return sample.label != NO_LESION and bool(sample.masks or sample.box or not located)

    run = Path(weights)
    if (run / "config.json").exists():
        config = TrainConfig.read(run / "config.json")
        samples = read_sources(data or config.data)
        split = Split.read(run / "split.json")
        held_out = set(split.validation)
        kept = [s for s in samples if s.id in held_out and usable(s)]
        found = StudyInput(
            run.name,
            _of_run(run),
            tuple(kept),
            tuple(split.groups[s.id] for s in kept),
            has_unknown_pretraining(config),
        )
    else:
        classifier = load_classifier(weights)
        if not data:
            raise DatasetError(f"{weights} came with the app and names no images. Give some with --data SOURCE=DIR.")
        samples = read_sources(data)
        groups, conflicts = group_samples(samples, [_fingerprint(*read) for read in iterate_pixels(samples)])
        rows = [
            (s, int(group))
            for s, group, conflict in zip(samples, groups, conflicts, strict=True)
            if not conflict and usable(s)
        ]
        found = StudyInput(weights, classifier, tuple(s for s, _ in rows), tuple(g for _, g in rows), seen=True)
    if not found.samples:
        raise DatasetError(
            f"None of the images for {weights} has a lesion mask or a box. Give images with one."
            if located
            else f"None of the images for {weights} is labelled benign or malignant. Give images that are."
        )
    return found


def _fingerprint(sample: Sample, pixels: np.ndarray | DatasetError) -> Fingerprint:
    if isinstance(pixels, DatasetError):
        raise pixels
    return fingerprint(pixels)


def _of_run(run: Path) -> Classifier:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        card = ship(run, weights_folder=folder, results_folder=folder / "results")
        # Not by the app's own reading, which refuses weights too weak to answer: their maps may be looked at.
        network, decoder = build(card.model, (folder / f"{card.model}.safetensors").read_bytes())
    network = network.requires_grad_(False).to(memory_format=torch.channels_last)
    return Classifier(spec_of(card.model), card, network, decoder, own=run.name)
