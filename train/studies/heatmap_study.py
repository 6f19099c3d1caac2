"""Every heatmap of a whole set of images, measured; one image after another, so that a kill loses none that was done."""

import json
import math
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from zlib import crc32

import numpy as np
from tqdm import tqdm

from rcdnet.errors import DatasetError
from rcdnet.explain.faithfulness import evaluate_faithfulness, random_cam_prediction
from rcdnet.explain.localisation import localise
from rcdnet.models.registry import CLASSES
from rcdnet.reading.heatmaps import METHODS, SLOW_METHODS
from rcdnet.reading.inference import Prediction, classify
from train.crash_safe_files import write_atomic
from train.data.load_images import read_lesion, read_pixels
from train.data.sample import Sample
from train.studies.heatmap_records import CENTRE, MAPS_FILE, SETTINGS_FILE, MapRow, add_rows, read_rows, read_settings
from train.studies.held_out import StudyInput


def measure_heatmaps(weights: Sequence[StudyInput], out: Path, methods: Sequence[str], examined: int) -> list[MapRow]:
    """Measure the map of each method, and of two floors, for the true class of every image; goes on with what `out` holds, which
    may be maps of more weights than these.

    The floors: `rcdnet.reading.heatmaps.RANDOM_BASELINE`, channels weighed by chance, and `CENTRE`, a spot in the middle of the scan.

    Args:
        methods: names in `rcdnet.reading.heatmaps`. examined: how many images of each weights and source, drawn once, also get the figures
            of `rcdnet.explain.faithfulness`, which cost seconds a map. Those of before stay; where more are asked for, these are added.

    Raises:
        DatasetError: an image or mask is damaged, or `out` holds maps of other methods, or of other weights by one of these names.
    """
    for name in methods:
        if name not in METHODS | SLOW_METHODS:
            raise DatasetError(f"There is no method {name}. The methods are {', '.join(METHODS | SLOW_METHODS)}.")
    names = [w.name for w in weights]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DatasetError(
            f"Several weights are called {', '.join(sorted(twice))}, so their maps could not be told apart. Rename their folders."
        )
    out.mkdir(parents=True, exist_ok=True)
    _settle(out / SETTINGS_FILE, weights, methods)
    groups = {(w.name, s.id): group for w in weights for s, group in zip(w.samples, w.groups, strict=True)}
    rows = read_rows(out / MAPS_FILE)
    if any(groups.get((row.weights, row.id)) != row.group for row in rows if row.weights in names):
        raise DatasetError(f"{out} holds maps of other images than these. Give another folder as --out.")
    drawn = {(w.name, i) for w in weights for i in _drawn(w.samples, examined)}
    rows = _whole_images(out / MAPS_FILE, rows, len(methods) + 2, drawn)
    done = {(row.weights, row.id) for row in rows if row.weights in names}
    with tqdm(total=sum(len(w.samples) for w in weights), unit=" images", initial=len(done), smoothing=0.1) as bar:
        for w in weights:
            for sample, group in zip(w.samples, w.groups, strict=True):
                if (w.name, sample.id) in done:
                    continue
                bar.set_description(w.name)
                measured = _measured(w, sample, group, methods, (w.name, sample.id) in drawn)
                add_rows(out / MAPS_FILE, measured)
                rows += measured
                bar.update()
    return rows


def _measured(w: StudyInput, sample: Sample, group: int, methods: Sequence[str], examined: bool) -> list[MapRow]:
    pixels, true_class = read_pixels(sample), CLASSES[sample.label]
    lesion = read_lesion(sample, pixels.shape)
    if not lesion.any():
        raise DatasetError(f"The mask of {sample.id} is empty. Leave the pair out or repair it.")
    made = classify(pixels, [w.classifier], methods)
    maps = [
        *made,
        random_cam_prediction(pixels, w.classifier, made[0], seed=crc32(sample.id.encode())),
        centre_map(made[0]),
    ]
    trust = {e.method: e for e in evaluate_faithfulness(pixels, w.classifier, maps, true_class)} if examined else {}
    rows = []
    for p in maps:
        row = MapRow(
            w.name, w.classifier.spec.name, w.seen, sample.source, sample.id, group, sample.label, p.p_malignant, p.method,
            **asdict(localise(p.heat(true_class), lesion)),
        )  # fmt: skip
        if e := trust.get(p.method):
            f = e.faithfulness
            row = replace(row, insertion=f.insertion_area, deletion=f.deletion_area, road=f.road, alike=e.alike)
        rows.append(row)
    return rows


def centre_map(prediction: Prediction) -> Prediction:
    """In place of a prediction's maps a spot in the middle of the scan, whatever the scan shows."""
    along = np.linspace(-2, 2, 15, dtype=np.float32)
    spot = np.exp(-(along[:, None] ** 2 + along**2) / 2)
    return replace(prediction, method=CENTRE, maps=np.repeat(spot[None], len(CLASSES), axis=0))


def _drawn(samples: Sequence[Sample], count: int) -> set[str]:
    """Ids of `count` images of each source, the same again for the same images."""
    rng, found = np.random.default_rng(0), set()
    for source in dict.fromkeys(s.source for s in samples):
        ids = sorted(s.id for s in samples if s.source == source)
        found |= {ids[k] for k in rng.permutation(len(ids))[:count]}
    return found


def _settle(path: Path, weights: Sequence[StudyInput], methods: Sequence[str]) -> None:
    """Write what is measured, beside the weights of before; `DatasetError` if the two do not go together."""
    digests = {w.name: w.classifier.card.sha256 for w in weights}
    if path.exists():
        before = read_settings(path.parent)
        together = digests | before.weights
        if before.methods != tuple(methods) or not digests.items() <= together.items():
            raise DatasetError(f"{path.parent} holds maps of other weights or methods. Give another folder as --out.")
        digests = together
    write_atomic(path, (json.dumps({"weights": digests, "methods": list(methods)}, indent=1) + "\n").encode())


def _whole_images(path: Path, rows: list[MapRow], maps: int, drawn: Set[tuple[str, str]]) -> list[MapRow]:
    """The rows of images that have all their maps, and all their figures where they are `drawn`; the file is left with these alone."""
    count = Counter((row.weights, row.id) for row in rows)
    known = {(row.weights, row.id) for row in rows if not math.isnan(row.insertion)}
    lacking = drawn - known
    whole = [row for row in rows if count[row.weights, row.id] == maps and (row.weights, row.id) not in lacking]
    if len(whole) < len(rows):
        path.unlink()
        add_rows(path, whole)
    return whole
