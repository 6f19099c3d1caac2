"""What a finished run is worth, on the images it was not trained on; and the card that says so."""

import csv
import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from sklearn.metrics import roc_auc_score

from rcdnet import preprocessing
from rcdnet.checkpoint import WEIGHTS_FOLDER, Figures, ModelCard, write_checkpoint
from rcdnet.errors import DatasetError
from rcdnet.registry import CLASSES, create_model, spec_of
from train.config import TrainConfig
from train.loop import scores_of
from train.metrics import auc_interval, group_means, sensitivity_specificity, threshold_at_sensitivity
from train.sources import Sample, read_canvases, read_sources
from train.splits import Split

SENSITIVITY = 0.95
TITLES = {"busbra": "BUS-BRA", "busi": "BUSI"}
VALIDATION = {
    "busbra": "BUS-BRA, official fold {fold}",
    "busi": "BUSI, one fifth held out by near-duplicate group",
}
KNOWN_FAILURES = (
    "Normal breasts and implants were not in the training data; a call on them means nothing.",
    "A few BUSI training images show an axilla, and seven, all benign, carry a Doppler overlay: colour may sway a call.",
    "The probability is the network's own softmax. It is not calibrated, so it is no risk for a patient.",
    "One still image is read: no patient history, no other view, no prior examination.",
    "Calipers and text burned into a scan may sway the call; their effect was not measured for these weights.",
    "Scanners other than those of the two data sets shift the threshold.",
)


def evaluate(run: Path, *, ship: bool = False, folder: Path = WEIGHTS_FOLDER) -> ModelCard:
    """Score a finished run on its validation images; writes `predictions.csv` into the run.

    The threshold is chosen on the first source of the run; every other source is only measured.

    Args:
        run: a folder made by `train.loop.fit`.
        ship: also write weights and card into `folder`, for the app.

    Raises:
        DatasetError: the run is not finished, or its data is gone.
    """
    if not (run / "model.safetensors").exists():
        raise DatasetError(f"{run} holds no finished run. Go on with `python -m train fit` and the same --out.")
    config = TrainConfig.read(run / "config.json")
    split = Split.from_json((run / "split.json").read_text())
    weights = (run / "model.safetensors").read_bytes()
    by_id = {s.id: s for s in read_sources({name: Path(place) for name, place in config.data.items()})}
    samples = [by_id[i] for i in split.validation]
    scores = _scores(config.model, weights, samples)
    _write_predictions(run / "predictions.csv", samples, scores, split)

    labels = np.array([s.label for s in samples])
    groups = np.array([split.groups[s.id] for s in samples])
    sources = np.array([s.source for s in samples])
    first, *others = [source for source in config.data if source in sources]
    threshold = threshold_at_sensitivity(labels[sources == first], scores[sources == first], SENSITIVITY)

    def figures_on(source: str, role: str) -> Figures:
        rows = sources == source
        data = VALIDATION[source].format(fold=config.fold)
        return _figures(data, role, labels[rows], scores[rows], groups[rows], threshold)

    figures = (
        figures_on(first, "the threshold was chosen here"),
        *(figures_on(source, "the threshold was only applied here") for source in others),
    )
    train_counts = {s: sum(by_id[i].source == s for i in split.train) for s in config.data}
    card = ModelCard(
        model=config.model,
        classes=CLASSES,
        input_size=spec_of(config.model).input_size,
        preprocessing=preprocessing.VERSION,
        threshold=threshold,
        threshold_rule=f"the threshold that found {SENSITIVITY * 100:.0f} % of the cancers on validation",
        validation=figures,
        trained_on=" and ".join(f"{count} images of {TITLES[source]}" for source, count in train_counts.items())
        + ", from random weights, with lesion masks as supervision",
        training_command=_command(config),
        split_sha256=split.digest,
        date=date.today().isoformat(),
        known_failures=KNOWN_FAILURES,
        sha256=hashlib.sha256(weights).hexdigest(),
    )
    if ship:
        write_checkpoint(weights, card, folder)
    return card


def _scores(model: str, weights: bytes, samples: list[Sample]) -> np.ndarray:
    network = create_model(model)
    network.load_state_dict(load_tensors(weights))
    size = spec_of(model).input_size
    canvases = torch.from_numpy(read_canvases(samples, size)[0])
    return scores_of(network.float(), canvases, size).double().numpy()


def _figures(data, role, labels, scores, groups, threshold) -> Figures:
    sensitivity, specificity = sensitivity_specificity(labels, scores, threshold)
    return Figures(
        data=data,
        role=role,
        images=len(labels),
        malignant=int(labels.sum()),
        groups=len(np.unique(groups)),
        auc=float(roc_auc_score(labels, scores)),
        auc_interval=auc_interval(labels, scores, groups),
        auc_by_group=float(roc_auc_score(*group_means(labels, scores, groups))),
        sensitivity=sensitivity,
        specificity=specificity,
    )


def _write_predictions(path: Path, samples: list[Sample], scores: np.ndarray, split: Split) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "source", "group", "label", "p_malignant"])
        for sample, score in zip(samples, scores, strict=True):
            writer.writerow([sample.id, sample.source, split.groups[sample.id], sample.label, f"{score:.6f}"])


def _command(config: TrainConfig) -> str:
    """The command that made the run, with the folders, which differ from machine to machine, left open."""
    defaults = TrainConfig(config.model)
    changed = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in vars(config).items()
        if name not in ("model", "data") and value != getattr(defaults, name)
    ]
    sources = [f"--data {name}=DIR" for name in config.data]
    return " ".join(
        ["python -m train fit", f"--model {config.model}", *sources, f"--out runs/{config.model}", *changed]
    )
