"""Teach each model of the app to say whether a scan shows a lesion, `rcdnet.models.lesion_presence`, and try it on other scans."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedGroupKFold

from rcdnet.errors import DatasetError
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, write_pinned
from rcdnet.models.lesion_presence import (
    NAME,
    PresenceCard,
    PresenceCards,
    PresenceCounts,
    presence_features,
)
from rcdnet.models.registry import MODELS
from rcdnet.reading.inference import Classifier, load_classifier
from rcdnet.scans.preprocessing import Letterbox
from train.data.dataset_readers import read_sources
from train.data.labels import NO_LESION
from train.data.load_images import Decoded, decode
from train.data.public_datasets import TITLES
from train.data.sample import Say, ignore_message
from train.data.splits import group_samples
from train.fit.loop import as_input

SHARE_SEEN = 0.98  # of the lesions of each data set
FOLDS = 5
PENALTY = 3000.0  # of the ridge, of 300, 1000 and 3000, tried by fold with a network that had not seen BUSI
_BATCH = 32


@dataclass(frozen=True, eq=False)
class ScanFeatures:
    """features: float32 (N, 2, D), of a scan and of its mirror image. lesion: bool (N,). sources: names (N,). groups: int (N,), patients
    or near-copies."""

    features: np.ndarray
    lesion: np.ndarray
    sources: np.ndarray
    groups: np.ndarray

    def of(self, rows: np.ndarray) -> "ScanFeatures":
        return ScanFeatures(self.features[rows], self.lesion[rows], self.sources[rows], self.groups[rows])


def publish_lesion_presence(
    data: Sequence[tuple[str, str]],
    *,
    models: Sequence[str] = tuple(MODELS),
    folder: Path = WEIGHTS_FOLDER,
    say: Say = ignore_message,
) -> PresenceCards:
    """Teach each bundled model on all data sets, and write what the app reads.

    Raises:
        DatasetError: no data set has scans both with and without a lesion, or one cannot be read.
        NotTrained, CheckpointError: a model has no weights.
    """
    decoded = decode(read_sources(data, say), MODELS[models[0]].input_size)  # one size for all
    groups, conflict = group_samples(decoded.samples, decoded.fingerprints)
    lesion = decoded.labels != NO_LESION
    sources = np.array([sample.source for sample in decoded.samples])
    scans = ScanFeatures(np.zeros((len(lesion), 2, 0), np.float32), lesion, sources, groups).of(~conflict)
    if not any(_teaches(scans.of(scans.sources == name)) for name in set(sources.tolist())):
        raise DatasetError(
            "No data set has enough scans both with and without a lesion. Between two of one kind each, a model could tell the data sets "
            "apart instead. Add BUSI, which has both."
        )
    found: list[PresenceCard] = []
    arrays: dict[str, np.ndarray] = {}
    for name in models:
        classifier = load_classifier(name)
        seen = replace(scans, features=_features(classifier, decoded)[~conflict])
        weight, bias, card = teach(seen, PresenceCard(name, classifier.card.sha256, 0.0, (), ()))
        # In C order, which safetensors takes for granted (findings/safetensors-fortran-order.sh).
        arrays |= {f"{name}.weight": np.ascontiguousarray(weight), f"{name}.bias": np.array([bias], np.float32)}
        found.append(card)
        say(f"{classifier.title}: {'; '.join(map(_in_words, card.left_out))}")
    content = save(arrays)
    titles = tuple(TITLES.get(source, source) for source in dict.fromkeys(sources.tolist()))
    cards = PresenceCards(
        tuple(found), SHARE_SEEN, titles, date.today().isoformat(), hashlib.sha256(content).hexdigest()
    )
    text = json.dumps(asdict(cards), indent=1, allow_nan=False) + "\n"
    write_pinned({f"{NAME}.safetensors": content}, f"{NAME}.json", text.encode(), folder)
    return cards


def _in_words(counts: PresenceCounts) -> str:
    normals = f", none on {counts.passed} of {counts.normals} normal scans" if counts.normals else ""
    return f"without {counts.data}, a lesion seen on {counts.seen} of {counts.lesions} of its scans with one{normals}"


@torch.no_grad()
def _features(classifier: Classifier, decoded: Decoded) -> np.ndarray:
    """float32 (N, 2, D)."""
    found = []
    for rows in np.array_split(np.arange(len(decoded.samples)), max(1, len(decoded.samples) // _BATCH)):
        x = as_input(torch.from_numpy(decoded.canvases[rows]))
        both = []
        for mirrored in (False, True):
            _, maps = classifier.network.forward_intermediates((x.flip(3) if mirrored else x).contiguous())
            frames = [_mirrored(decoded.frames[row]) if mirrored else decoded.frames[row] for row in rows]
            both.append([presence_features([level[k] for level in maps], frame) for k, frame in enumerate(frames)])
        found.append(np.array(both).swapaxes(0, 1))
    return np.concatenate(found)


def _mirrored(frame: Letterbox) -> Letterbox:
    return replace(frame, left=frame.size - frame.left - frame.width)


def teach(scans: ScanFeatures, card: PresenceCard) -> tuple[np.ndarray, float, PresenceCard]:
    """Weight float32 (D,), bias, and the card with its bar and its figures."""
    folds = _folds(scans)
    scores = _out_of_fold(scans, folds)
    # Each fold by the bar of the others.
    bars = np.empty(len(scores))
    for fold in range(FOLDS):
        bars[folds == fold] = _bar(scans.of(folds != fold), scores[folds != fold])
    by_fold = [_counts(scans, scores >= bars, source) for source in dict.fromkeys(scans.sources.tolist())]
    left_out = []
    for source in dict.fromkeys(scans.sources.tolist()):
        mine = scans.sources == source
        others, own = scans.of(~mine & ~np.isin(scans.groups, scans.groups[mine])), scans.of(mine)
        if _teaches(others):
            weight, bias = _fit(others)
            bar = _bar(others, _out_of_fold(others, _folds(others)))
            left_out.append(_counts(own, own.features[:, 0] @ weight + bias >= bar, source))
    weight, bias = _fit(scans)
    return weight, bias, replace(card, bar=_bar(scans, scores), by_fold=tuple(by_fold), left_out=tuple(left_out))


def _teaches(scans: ScanFeatures) -> bool:
    """Whether both kinds remain, whichever fold is left out."""
    folds = _folds(scans) if len(scans.lesion) >= FOLDS else np.zeros(len(scans.lesion), int)
    return all(len(np.unique(scans.lesion[folds != fold])) == 2 for fold in range(FOLDS))


def _folds(scans: ScanFeatures) -> np.ndarray:
    """int (N,): sources and kinds in proportion, as far as there are enough, and groups whole."""
    names = np.array([f"{s} {y}" for s, y in zip(scans.sources, scans.lesion, strict=True)])
    rare = np.isin(names, [name for name in np.unique(names) if (names == name).sum() < FOLDS])
    kinds = np.unique(np.where(rare, scans.lesion.astype(str), names), return_inverse=True)[1]
    folds = np.empty(len(kinds), int)
    parts = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(kinds, kinds, scans.groups)
    for fold, (_, held_out) in enumerate(parts):
        folds[held_out] = fold
    return folds


def _out_of_fold(scans: ScanFeatures, folds: np.ndarray) -> np.ndarray:
    scores = np.empty(len(folds))
    for fold in range(FOLDS):
        weight, bias = _fit(scans.of(folds != fold))
        scores[folds == fold] = scans.features[folds == fold, 0] @ weight + bias
    return scores


def _bar(scans: ScanFeatures, scores: np.ndarray) -> float:
    """The score that `SHARE_SEEN` of the lesions of every data set reach."""
    return min(
        float(np.quantile(scores[scans.lesion & (scans.sources == source)], 1 - SHARE_SEEN, method="lower"))
        for source in set(scans.sources[scans.lesion].tolist())
    )


def _fit(scans: ScanFeatures) -> tuple[np.ndarray, float]:
    """A ridge classifier of scans and their mirror images. Lesions and normal scans count alike, and so do the lesions of each site."""
    features = scans.features.reshape(-1, scans.features.shape[2])
    labels, sources = np.repeat(scans.lesion, 2), np.repeat(scans.sources, 2)
    counts = np.where(labels, 0.0, 1 / (~labels).sum())
    of_sites = [labels & (sources == source) for source in np.unique(sources[labels])]
    for rows in of_sites:
        counts[rows] = 1 / rows.sum() / len(of_sites)
    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-3
    fitted = RidgeClassifier(alpha=PENALTY).fit(
        (features - centre) / scale, labels, sample_weight=counts * len(labels) / 2
    )
    weight = np.ravel(fitted.coef_).astype(np.float64) / scale
    return weight.astype(np.float32), float(np.ravel(fitted.intercept_)[0] - weight @ centre)


def _counts(scans: ScanFeatures, seen: np.ndarray, source: str) -> PresenceCounts:
    mine = scans.sources == source
    lesions, normals = mine & scans.lesion, mine & ~scans.lesion
    return PresenceCounts(
        TITLES.get(source, source),
        int(lesions.sum()),
        int((seen & lesions).sum()),
        int(normals.sum()),
        int((~seen & normals).sum()),
    )
