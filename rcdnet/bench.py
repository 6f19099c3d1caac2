"""How fast a scan is answered, as ratios measured inside one process."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pytorch_grad_cam import GradCAM

from rcdnet.models.card import ModelCard
from rcdnet.models.registry import CLASSES, MODELS, create_model, spec_of
from rcdnet.reading.heatmaps import class_activation_maps
from rcdnet.reading.inference import Classifier, classify
from rcdnet.scans.preprocessing import VERSION


@dataclass(frozen=True)
class Benchmark:
    """Medians in seconds for one scan and all its models.

    bare: a forward pass of each. classified: this project's probabilities and both classes' maps, preparation included.
    usual: a forward pass of each, then pytorch-grad-cam over the whole model for the predicted class. grid: as `classified`, with six
    methods. heads: what these methods' own passes take, on features that are there already.
    """

    bare: float
    classified: float
    usual: float
    grid: float
    heads: float


SIX = ("Grad-CAM", "Grad-CAM++", "HiResCAM", "LayerCAM", "XGradCAM", "EigenCAM")


def benchmark(*, rounds: int = 20, side: int = 500, models: Sequence[str] = tuple(MODELS)) -> Benchmark:
    """Time the ways in turn, `rounds` times, on a scan of `side` pixels; speed does not depend on weights."""
    classifiers = [untrained_classifier(name) for name in models]
    usual = [untrained_classifier(name).network.requires_grad_(True) for name in models]
    pixels = np.random.default_rng(0).integers(0, 256, (side * 4 // 5, side), dtype=np.uint8)
    x = torch.randn(1, 1, 224, 224).contiguous(memory_format=torch.channels_last)

    def bare() -> None:
        with torch.no_grad():
            for classifier in classifiers:
                classifier.network(x)

    def usual_loop() -> None:
        for network, spec in zip(usual, map(spec_of, models), strict=True):
            with torch.no_grad():
                network(x)
            with GradCAM(
                model=network,
                target_layers=[network.get_submodule(spec.target_layer)],
                reshape_transform=grid_of_tokens if spec.name == "vit" else None,
            ) as cam:
                cam(input_tensor=x, targets=None)

    with torch.no_grad():
        features = [c.network.forward_features(x) for c in classifiers]

    def heads() -> None:
        for classifier, own in zip(classifiers, features, strict=True):
            for method in SIX:
                class_activation_maps(classifier.network, x, own, method)

    ways: list[Callable[[], object]] = [
        bare, lambda: classify(pixels, classifiers), usual_loop, lambda: classify(pixels, classifiers, SIX), heads,
    ]  # fmt: skip
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds + 1):  # the first round warms up
        for way, times in zip(ways, seconds, strict=True):
            start = time.perf_counter()
            way()
            times.append(time.perf_counter() - start)
    return Benchmark(*(statistics.median(times[1:]) for times in seconds))


def grid_of_tokens(tokens: torch.Tensor) -> torch.Tensor:
    """A ViT's tokens (N, 1 + s * s, C), class token first, as (N, C, s, s); pytorch-grad-cam's `reshape_transform`."""
    side = round((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


def untrained_classifier(name: str) -> Classifier:
    """The model with random weights, threshold 0.5: for timing and tests, never for an answer."""
    card = ModelCard(
        model=name,
        classes=CLASSES,
        input_size=spec_of(name).input_size,
        preprocessing=VERSION,
        threshold=0.5,
        threshold_rule="a threshold that means nothing, for the model is not trained",
        validation=(),
        trained_on="nothing",
        training_command="",
        split_sha256="",
        date="",
        known_failures=(),
        sha256="",
    )
    network = create_model(name).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return Classifier(spec_of(name), card, network)
