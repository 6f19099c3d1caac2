"""How often a call changes, and how far the AUC moves, when a scan is mirrored, cropped, framed, marked or compressed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rcdnet.errors import DatasetError
from rcdnet.models.registry import MODELS
from rcdnet.reading.inference import classify
from train.crash_safe_files import write_atomic
from train.data.load_images import read_lesion, read_pixels
from train.data.sample import Sample
from train.evaluate.evaluation_record import Estimate
from train.metrics.bootstrap import resamples
from train.metrics.delong import Comparison, compare_auc_by_group
from train.metrics.intervals import MINIMUM_GROUPS, resampled_interval, share_interval
from train.studies.held_out import StudyInput
from train.studies.perturbations import PERTURBATIONS, Box
from train.studies.row_files import append_rows, header_of, parse_rows, rows_text

ROWS_FILE = "steadiness.csv"
AS_IT_IS = "as it is"


@dataclass(frozen=True)
class PerturbedRow:
    """What weights say of one image after one change of it.

    weights: a run's name, or a bundled model's. sha256: of the weights. group: patient or near-duplicate group. change: a name in
    `PERTURBATIONS`, or `AS_IT_IS`. probability: of malignancy, which is compared with `threshold`.
    """

    weights: str
    sha256: str
    model: str
    seen: bool
    source: str
    id: str
    group: int
    label: int
    threshold: float
    change: str
    probability: float


@dataclass(frozen=True)
class Steadiness:
    """What one change does to one set. flips: share of images whose call changes, with a 95 % interval over patients or groups.

    auc: with the images as they are against with the change, by group means and DeLong's test; None where a class has under two groups.
    """

    weights: str
    model: str
    source: str
    seen: bool
    change: str
    images: int
    flips: Estimate
    auc: Comparison | None


def measure_steadiness(weights: Sequence[StudyInput], out: Path) -> list[PerturbedRow]:
    """Read every image as it is and after every change; goes on with what `out` holds of these weights.

    Raises:
        DatasetError: an image is damaged, two weights share a name, or `out` holds rows of other weights by one of these names.
    """
    names = [w.name for w in weights]
    if len(set(names)) < len(names):
        raise DatasetError(
            "Two of the weights share a name, so their rows could not be told apart. Rename their folders."
        )
    out.mkdir(parents=True, exist_ok=True)
    path = out / ROWS_FILE
    rows, digests = _whole_images(path), {w.name: w.classifier.card.sha256 for w in weights}
    if any(digests.get(row.weights, row.sha256) != row.sha256 for row in rows):
        raise DatasetError(f"{path} holds rows of other weights. Give another folder as --out.")
    done = {(row.weights, row.id) for row in rows}
    with tqdm(total=sum(len(w.samples) for w in weights), unit=" images", initial=len(done), smoothing=0.1) as bar:
        for w in weights:
            for sample, group in zip(w.samples, w.groups, strict=True):
                if (w.name, sample.id) in done:
                    continue
                bar.set_description(w.name)
                made = _of_image(w, sample, group)
                append_rows(path, made)
                rows += made
                bar.update()
    return rows


def steadiness(rows: Iterable[PerturbedRow]) -> list[Steadiness]:
    """What each change does to each set, by the weights' models in the registry's order."""
    parts: dict[tuple[str, str], dict[str, list[PerturbedRow]]] = {}
    for row in rows:
        parts.setdefault((row.weights, row.source), {}).setdefault(row.change, []).append(row)
    order = list(MODELS)
    found = [
        _compared(by_change[AS_IT_IS], by_change[change])
        for by_change in parts.values()
        for change in PERTURBATIONS
        if change in by_change
    ]
    return sorted(found, key=lambda s: (order.index(s.model), s.weights))


def _of_image(w: StudyInput, sample: Sample, group: int) -> list[PerturbedRow]:
    pixels = read_pixels(sample)
    box = _box_of(read_lesion(sample, pixels.shape))
    changed = {AS_IT_IS: pixels} | {name: change(pixels, box) for name, change in PERTURBATIONS.items()}
    card = w.classifier.card
    return [
        PerturbedRow(
            w.name, card.sha256, w.classifier.spec.name, w.seen, sample.source, sample.id, group, sample.label, card.threshold,
            name, classify(scan, [w.classifier])[0].p_malignant,
        )
        for name, scan in changed.items()
    ]  # fmt: skip


def _box_of(lesion: np.ndarray) -> Box | None:
    """x, y, width and height of a lesion, bool (H, W); None where it is not known."""
    if not lesion.any():
        return None
    rows, columns = np.flatnonzero(lesion.any(axis=1)), np.flatnonzero(lesion.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)


def _compared(before: Sequence[PerturbedRow], after: Sequence[PerturbedRow]) -> Steadiness:
    first = before[0]
    plain, changed = (np.array([row.probability for row in rows]) for rows in (before, after))
    labels, groups = np.array([row.label for row in before]), np.array([row.group for row in before])
    flipped = (plain >= first.threshold) != (changed >= first.threshold)
    auc = compare_auc_by_group(labels, groups, plain, changed)
    return Steadiness(
        first.weights, first.model, first.source, first.seen, after[0].change, len(before), _share(flipped, groups), auc
    )  # fmt: skip


def _share(flipped: np.ndarray, groups: np.ndarray) -> Estimate:
    """A share of images with its interval by bootstrap over groups; Wilson's over groups where it is 0 or 1."""
    unique, group = np.unique(groups, return_inverse=True)
    share = float(flipped.mean())
    if share in (0, 1):
        return Estimate(
            share, *(share_interval(share, len(unique)) if len(unique) >= MINIMUM_GROUPS else (math.nan, math.nan))
        )
    counts = resamples(len(unique))
    of_group, size = np.bincount(group, weights=flipped), np.bincount(group)
    return Estimate(share, *resampled_interval((counts @ of_group) / (counts @ size), groups=len(unique)))


def _whole_images(path: Path) -> list[PerturbedRow]:
    """The rows of images that have every change; the file is left with these alone. `DatasetError` if it is damaged."""
    try:
        rows = parse_rows(path, PerturbedRow)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} holds no rows of steadiness ({error}). Give another folder as --out.") from error
    changes: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        changes.setdefault((row.weights, row.id), set()).add(row.change)
    whole = [row for row in rows if changes[row.weights, row.id] >= {AS_IT_IS, *PERTURBATIONS}]
    if len(whole) < len(rows):
        write_atomic(path, (header_of(PerturbedRow) + rows_text(whole)).encode())
    return whole
