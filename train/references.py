"""Two honest references for a model's figures: what the lesion's box alone tells, and what the radiologist said."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from train.decode import read_lesion
from train.sources import Sample


def box_geometry(samples: Sequence[Sample]) -> np.ndarray:
    """Eight numbers of each lesion's box, float (N, 8); nan where a sample has neither box nor mask.

    Logarithms of width, height, height over width and area, centre across, centre, top and bottom in depth; all as shares of
    the image. Somebody drew the box, so this is a reference and no way to read a scan.
    """
    return np.array([_numbers(sample) for sample in samples], float).reshape(-1, 8)


def box_scores(training: Sequence[Sample], held_out: Sequence[Sample]) -> np.ndarray:
    """Probability of malignancy by logistic regression on `box_geometry`, float (N,); nan where there is no box.

    Fitted on the training side alone; all nan where that has no boxes of both classes.
    """
    known, asked = box_geometry(training), box_geometry(held_out)
    labels = np.array([sample.label for sample in training], int)
    usable, askable = np.isfinite(known).all(axis=1), np.isfinite(asked).all(axis=1)
    scores = np.full(len(asked), np.nan)
    if len(np.unique(labels[usable])) == 2 and askable.any():
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(known[usable], labels[usable])
        scores[askable] = model.predict_proba(asked[askable])[:, 1]
    return scores


def lesion_share(sample: Sample) -> float:
    """The lesion's box as a share of the image's area; nan where there is none."""
    box = _box(sample)
    return box[2] * box[3] if box else float("nan")


def _numbers(sample: Sample) -> list[float]:
    box = _box(sample)
    if box is None:
        return [float("nan")] * 8
    x, y, width, height, aspect = box
    logs = np.log([width, height, aspect, width * height]).tolist()
    return [*logs, x + width / 2, y + height / 2, y, y + height]


def _box(sample: Sample) -> tuple[float, float, float, float, float] | None:
    """x, y, width and height as shares of the image, and height over width in pixels."""
    if sample.box is None and not sample.masks:
        return None
    with Image.open(sample.path) as image:
        columns, rows = image.size
    if sample.box is not None:
        x, y, width, height = sample.box
    else:
        where = np.argwhere(read_lesion(sample, (rows, columns)))
        if not len(where):
            return None
        (y, x), (bottom, right) = where.min(axis=0), where.max(axis=0) + 1
        width, height = right - x, bottom - y
    return x / columns, y / rows, width / columns, height / rows, height / width
