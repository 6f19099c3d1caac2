"""`maps.csv`: what each heatmap of a whole set of images is worth, and the figures that follow from it."""

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rcdnet.errors import DatasetError
from rcdnet.models.registry import MODELS
from rcdnet.safe_read import KB, Unreadable, nan_as_null, null_as_nan, parse_as, read_json
from train.crash_safe_files import write_atomic
from train.data.public_datasets import TITLES
from train.evaluate.evaluation_record import Estimate
from train.metrics.bootstrap import resamples
from train.metrics.intervals import MINIMUM_GROUPS, resampled_interval, share_interval
from train.studies.row_files import append_rows, parse_rows

FIGURES = {
    # where the map lies
    "pointing": "pointing game",
    "chance": "pointing by chance",
    "ratio": "energy inside over chance",
    "iou": "IoU at half",
    "dice": "Dice at half",
    "best_iou": "IoU at best",
    "best_dice": "Dice at best",
    # whether the model uses what it shows
    "insertion": "insertion",
    "deletion": "deletion",
    "road": "ROAD",
    "alike": "likeness to drawn weights",
}
CENTRE = (
    "image centre"  # always the middle of the scan: what a map that knows nothing but where lesions are put would give
)


@dataclass(frozen=True)
class MapRow:
    """The map of one method for the true class of one image.

    weights: a run's name, or a bundled model's. seen: whether these images may have trained the weights. probability: of
    malignancy. The figures from `pointing` to `best_dice` are those of `rcdnet.explain.localisation.Localisation`; the last four those of
    `rcdnet.explain.faithfulness.FaithfulnessResult`, nan for an image that was not drawn for that.
    """

    weights: str
    model: str
    seen: bool
    source: str
    id: str
    group: int
    label: int
    probability: float
    method: str
    pointing: bool
    chance: float
    energy: float
    ratio: float
    iou: float
    dice: float
    best_iou: float
    best_dice: float
    insertion: float = math.nan
    deletion: float = math.nan
    road: float = math.nan
    alike: float = math.nan


@dataclass(frozen=True)
class MapFigures:
    """Means over a set, with 95 % intervals by bootstrap over patients or near-duplicate groups, by the keys of `FIGURES`; nan as
    interval where there are fewer than `MINIMUM_GROUPS`. `pointing` that is 0 or 1 has Wilson's.

    images: maps on lesions. examined: of these, those with figures of `rcdnet.explain.faithfulness`.
    """

    model: str
    source: str
    method: str
    seen: bool
    images: int
    examined: int
    figures: dict[str, Estimate]


@dataclass(frozen=True)
class Settings:
    """What `study.json` says. weights: SHA-256 of each, by name. methods: names in `rcdnet.reading.heatmaps`."""

    weights: dict[str, str]
    methods: tuple[str, ...] = ()


MAPS_FILE, FIGURES_FILE, SETTINGS_FILE = "maps.csv", "figures.json", "study.json"
PUBLISHED = "heatmaps"  # below the results that come with the app
SETTINGS_LIMIT = 256 * KB
REMAKE_HINT = "Make them with: python -m train heatmaps --models RUN"


def add_rows(path: Path, rows: Sequence[MapRow]) -> None:
    """Add the rows of one image to the file; floats keep six digits."""
    append_rows(path, rows, digits=6)


def read_rows(path: Path) -> list[MapRow]:
    """The rows of a maps file, none where there is no file; `DatasetError` if it is damaged.

    A line that a kill cut off is passed over.
    """
    try:
        return parse_rows(path, MapRow)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} holds no figures of heatmaps ({error}). {REMAKE_HINT}") from error


def figures(rows: Iterable[MapRow]) -> list[MapFigures]:
    """Figures of each model, set and method, models as in `MODELS`; the runs of a cross-validation are taken together.

    Raises:
        DatasetError: two weights of one model were measured on the same image.
    """
    parts: dict[tuple[str, str, str], list[MapRow]] = {}
    for row in rows:
        parts.setdefault((row.model, row.source, row.method), []).append(row)
    for (model, _, _), members in parts.items():
        if len({row.id for row in members}) < len(members):
            raise DatasetError(
                f"Several weights of {MODELS[model].title} were measured on the same images. Give each a folder of its own as --out."
            )
    order = list(MODELS)
    return [_figures(*key, parts[key]) for key in sorted(parts, key=lambda key: order.index(key[0]))]


def write_figures(path: Path) -> list[MapFigures]:
    """`figures` of a maps file, also written beside it as `figures.json` with the digest of the file."""
    found = figures(read_rows(path))
    content = {"maps_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "figures": [asdict(f) for f in found]}
    text = json.dumps(nan_as_null(content), indent=1, allow_nan=False) + "\n"
    write_atomic(path.with_name(FIGURES_FILE), text.encode())
    return found


def read_figures(folder: Path) -> list[MapFigures]:
    """What `write_figures` left in a folder; `DatasetError` if it is not of the maps file beside it."""
    try:
        content = json.loads((folder / FIGURES_FILE).read_text(encoding="utf-8"))
        if content["maps_sha256"] != hashlib.sha256((folder / MAPS_FILE).read_bytes()).hexdigest():
            raise ValueError("they are of another maps.csv than the one beside them")
        return [
            MapFigures(**f | {"figures": {k: Estimate(**null_as_nan(v)) for k, v in f["figures"].items()}})
            for f in content["figures"]
        ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"The figures of heatmaps in {folder} cannot be read: {error}. {REMAKE_HINT}") from error


def read_settings(folder: Path) -> Settings:
    """What a study measures; `DatasetError` if it does not say."""
    try:
        settings: Settings = parse_as(Settings, read_json(folder / SETTINGS_FILE, SETTINGS_LIMIT))
        return settings
    except Unreadable as error:
        raise DatasetError(
            f"{folder} does not say which weights it measured ({error}). {REMAKE_HINT}, or give another folder as --out."
        ) from error


def publish_maps(folder: Path, results: Path) -> None:
    """Put the figures of a study, no image, where the Results page finds them.

    Raises:
        DatasetError: it measured images that are not of the public data sets, or images that may have trained the weights.
    """
    rows = read_rows(folder / MAPS_FILE)
    if not {row.source for row in rows} <= TITLES.keys() or any(row.seen for row in rows):
        raise DatasetError(
            f"{folder} is not published: only validation images of {' and '.join(TITLES.values())} may be."
        )
    place = results / PUBLISHED
    place.mkdir(parents=True, exist_ok=True)
    for name in (MAPS_FILE, FIGURES_FILE, SETTINGS_FILE):
        shutil.copyfile(folder / name, place / name)


def _figures(model: str, source: str, method: str, rows: Sequence[MapRow]) -> MapFigures:
    values = np.array([[float(getattr(row, key)) for key in FIGURES] for row in rows])
    # Group numbers mean something only inside one run.
    _, groups = np.unique([f"{row.group} {row.weights}" for row in rows], return_inverse=True)
    sums, counts = np.zeros((2, groups.max() + 1, len(FIGURES)))
    np.add.at(sums, groups, np.nan_to_num(values))
    np.add.at(counts, groups, ~np.isnan(values))
    drawn = resamples(len(sums))
    with np.errstate(invalid="ignore"):
        means = sums.sum(axis=0) / counts.sum(axis=0)
        again = drawn @ sums / (drawn @ counts)
    known = (counts > 0).sum(axis=0)
    found = {
        key: Estimate(float(mean), *resampled_interval(column, groups=int(count)))
        for key, mean, column, count in zip(FIGURES, means, again.T, known, strict=True)
    }
    pointing = found["pointing"].value
    if pointing in (0, 1) and known[0] >= MINIMUM_GROUPS:
        found["pointing"] = Estimate(pointing, *share_interval(pointing, int(known[0])))
    examined = sum(not math.isnan(row.road) for row in rows)
    return MapFigures(model, source, method, any(row.seen for row in rows), len(rows), examined, found)
