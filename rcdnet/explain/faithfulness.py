"""Whether a heatmap shows what the model uses: take away what it points at, and see whether the model minds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import torch
from pytorch_grad_cam.metrics.perturbation_confidence import (
    PerturbationConfidenceMetric,
    RemoveLeastRelevantFirst,
    RemoveMostRelevantFirst,
)
from pytorch_grad_cam.metrics.road import ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

from rcdnet.explain.similarity import SIDE, rank_correlation
from rcdnet.models.registry import CLASSES, MODELS, create_model
from rcdnet.reading.heatmaps import METHODS, RANDOM_BASELINE, random_maps
from rcdnet.reading.inference import Classifier, Prediction, classify, network_input

SHARES = tuple(k / 10 for k in range(11))  # of the canvas
ROAD_PERCENTILES = (20, 40, 60, 80)
PASSES = len(SHARES) * 2 - 2 + 4 * len(ROAD_PERCENTILES)  # through the network, for one map
_BLUR = 0.1  # of the canvas side, sigma: a lesion can no longer be seen


@dataclass(frozen=True)
class Faithfulness:
    """A class's probability, by the network alone, as the scan loses or gains what its map points at, hottest first.

    deletion, insertion: float (11,), with `SHARES` of the canvas blurred, or alone left sharp (Petsiuk et al. 2018,
    arXiv:1806.07421, with a blurred scan as the empty one). deletion_area, insertion_area: the areas under them, in 0..1: a
    faithful map has a small one and a large one. road: half the difference between leaving out the least and the most relevant
    places, mean over `ROAD_PERCENTILES` (Rong et al. 2022, arXiv:2202.00449); zero for a map that says nothing.
    """

    deletion: tuple[float, ...]
    insertion: tuple[float, ...]
    road: float

    @property
    def deletion_area(self) -> float:
        return float(np.trapezoid(self.deletion, SHARES))

    @property
    def insertion_area(self) -> float:
        return float(np.trapezoid(self.insertion, SHARES))


def faithfulness(
    pixels: np.ndarray,
    classifier: Classifier,
    prediction: Prediction,
    class_name: str,
    *,
    tick: Callable[[], object] | None = None,
) -> Faithfulness:
    """Figures of the map that a prediction has for a class, on the scan that it was made from.

    All places of the canvas are ranked, those of the border around the scan too, which a map may be hot in.

    Args:
        pixels: the scan, uint8 (H, W). tick: called before every pass through the network; what it raises ends the work.
    """
    x, _ = network_input(pixels, classifier)
    targets = [ClassifierOutputSoftmaxTarget(CLASSES.index(class_name))]
    order = pixel_ranks(prediction.maps[CLASSES.index(class_name)], x.shape[-1])[None]

    weight = classifier.card.calibration.network

    def network(batch: torch.Tensor) -> torch.Tensor:  # what the maps explain; its outline is no part of it
        if tick:
            tick()
        return classifier.network(batch) * weight

    def probability(removal) -> float:
        metric = PerturbationConfidenceMetric(removal)
        return float(metric(x, order, targets, network, return_diff=False)[0])

    blurred = torch.from_numpy(cv2.GaussianBlur(x[0, 0].numpy(), (0, 0), _BLUR * x.shape[-1]))[None]

    def blur(image: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        return image * kept + blurred * (1 - kept)

    whole = probability(lambda image, mask: image)
    none = probability(lambda image, mask: blurred)
    inner = [100 * share for share in SHARES[1:-1]]
    return Faithfulness(
        deletion=(whole, *(probability(RemoveMostRelevantFirst(100 - share, blur)) for share in inner), none),
        insertion=(none, *(probability(RemoveLeastRelevantFirst(share, blur)) for share in inner), whole),
        road=float(ROADCombined(list(ROAD_PERCENTILES))(x, order, targets, network)[0]),
    )


@dataclass(frozen=True)
class FaithfulnessResult:
    """One map. alike: its rank correlation with the map of a network with drawn weights; nan where that was not made."""

    method: str
    class_name: str
    faithfulness: Faithfulness
    alike: float


def evaluate_faithfulness(
    pixels: np.ndarray,
    classifier: Classifier,
    predictions: Sequence[Prediction],
    class_name: str,
    *,
    tick: Callable[[], object] | None = None,
) -> list[FaithfulnessResult]:
    """`faithfulness` of one model's maps for a class, each method's; floors, such as `random_cam_prediction`, may be among them."""
    methods = [p.method for p in predictions if p.method in METHODS]
    drawn = {p.method: p for p in classify(pixels, [randomise_weights(classifier)], methods)}

    def alike(p: Prediction) -> float:
        if p.method not in drawn:
            return float("nan")
        return rank_correlation(*(each.heat(class_name, (SIDE, SIDE)) for each in (p, drawn[p.method])))

    return [
        FaithfulnessResult(p.method, class_name, faithfulness(pixels, classifier, p, class_name, tick=tick), alike(p))
        for p in predictions
    ]


def random_cam_prediction(
    pixels: np.ndarray, classifier: Classifier, prediction: Prediction, *, seed: int
) -> Prediction:
    """In place of a prediction's maps those of `RANDOM_BASELINE`, for the scan it was made from."""
    x, _ = network_input(pixels, classifier)
    with torch.no_grad():
        features = classifier.network.forward_features(x)
    return replace(prediction, method=RANDOM_BASELINE, maps=random_maps(classifier.network, features, seed=seed))


def pixel_ranks(heat: np.ndarray, side: int) -> np.ndarray:
    """The order of a map's places, float32 (side, side), evenly from 0 for the coldest to 1 for the hottest.

    Half of a map is often exactly zero, and a percentile of it would then take away all of that at once. Ties fall in an order
    drawn once for all maps.
    """
    fine = cv2.resize(heat.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR).ravel()
    order = np.lexsort((np.random.default_rng(0).permutation(fine.size), fine))
    ranks = np.empty(fine.size, np.float32)
    ranks[order] = np.linspace(0, 1, fine.size, dtype=np.float32)
    return ranks.reshape(side, side)


def randomise_weights(classifier: Classifier) -> Classifier:
    """The same architecture with drawn weights: a map that looks the same for it shows the scan, not what was learnt.

    Adebayo et al. 2018, arXiv:1810.03292.
    """
    return replace(classifier, network=_drawn(classifier.spec.name), decoder=None)


@lru_cache(maxsize=len(MODELS))
def _drawn(name: str) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = create_model(name).eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)
