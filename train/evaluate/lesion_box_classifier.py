"""What the lesion's box alone tells: a logistic regression on its geometry, to measure a model against."""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rcdnet.models.lesion_decoder import box_features
from train.data.load_images import read_lesion, read_pixels
from train.data.sample import Sample


def box_geometry_features(samples: Sequence[Sample]) -> np.ndarray:
    """Eight numbers of each lesion's box, float (N, 8); nan where a sample has neither box nor mask.

    Logarithms of width, height, height over width and area, centre across, centre, top and bottom in depth; all as shares of
    the image. Somebody drew the box, so this is a reference and no way to read a scan.
    """
    return np.array([_numbers(sample) for sample in samples], float).reshape(-1, 8)


def fit_box_coefficients(training: Sequence[Sample]) -> tuple[float, ...]:
    """A weight for each number of `box_geometry_features` and a constant, by logistic regression; their sum is the log likelihood ratio.

    Empty where the samples have no boxes of both classes.
    """
    known, labels = box_geometry_features(training), np.array([sample.label for sample in training], int)
    usable = np.isfinite(known).all(axis=1)
    known, labels = known[usable], labels[usable]
    if len(np.unique(labels)) < 2:
        return ()
    scale, regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(known, labels)
    weights = regression.coef_[0] / scale.scale_
    prior = np.log(labels.mean() / (1 - labels.mean()))
    return (*weights.tolist(), float(regression.intercept_[0] - weights @ scale.mean_ - prior))


def box_scores(weights: Sequence[float], held_out: Sequence[Sample]) -> np.ndarray:
    """Probability of malignancy by `fit_box_coefficients`, as if half of all were malignant, float (N,); nan where there is no box."""
    asked = box_geometry_features(held_out)
    if not weights:
        return np.full(len(asked), np.nan)
    return expit(asked @ np.array(weights[:-1]) + weights[-1])


def lesion_share(sample: Sample) -> float:
    """The lesion's box as a share of the image's area; nan where there is none."""
    box = _box(sample)
    return box[2] * box[3] if box else float("nan")


def _numbers(sample: Sample) -> list[float]:
    box = _box(sample)
    return [float("nan")] * 8 if box is None else box_features(*box)


def _box(sample: Sample) -> tuple[float, float, float, float, float] | None:
    """x, y, width and height as shares of the image, and height over width in pixels."""
    if sample.box is None and not sample.masks:
        return None
    rows, columns = read_pixels(sample).shape
    if sample.box is not None:
        x, y, width, height = sample.box
    else:
        where = np.argwhere(read_lesion(sample, (rows, columns)))
        if not len(where):
            return None
        (y, x), (bottom, right) = where.min(axis=0), where.max(axis=0) + 1
        width, height = right - x, bottom - y
    return x / columns, y / rows, width / columns, height / rows, height / width
