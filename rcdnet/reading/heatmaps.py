"""Logits and class activation maps from what a model's trunk gives.

The trunk runs once, without gradient, before this. What it gives is the only leaf that asks for a gradient, and pytorch-grad-cam works
on the head alone, wrapped anew for each call. So the package's hooks and `.grad` never touch a shared model, and threads
cannot disturb each other; over the whole model they do (wrong maps and crashes with two threads).
"""

from collections.abc import Callable

import numpy as np
import torch
from pytorch_grad_cam import (
    AblationCAM,
    EigenCAM,
    EigenGradCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    RandomCAM,
    ScoreCAM,
    XGradCAM,
)
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget, ClassifierOutputTarget
from torch import nn

from rcdnet.errors import HeatmapError

# Those that need one pass through the head. All but EigenCAM ask the class; EigenCAM shows what stands out, whatever the class.
METHODS: dict[str, type[BaseCAM]] = {
    "Grad-CAM": GradCAM,
    "Grad-CAM++": GradCAMPlusPlus,
    "HiResCAM": HiResCAM,
    "LayerCAM": LayerCAM,
    "XGradCAM": XGradCAM,
    "EigenCAM": EigenCAM,
    "EigenGradCAM": EigenGradCAM,
}
# One pass through the head for each channel, or one through the whole network: seconds to minutes on a CPU.
SLOW_METHODS: dict[str, type[BaseCAM]] = {"AblationCAM": AblationCAM, "ScoreCAM": ScoreCAM}
CLASS_AGNOSTIC = ("EigenCAM",)
# Their map is a principal component, whose sign is nobody's choice: the package takes what the numerics give.
ARBITRARY_SIGN = ("EigenCAM", "EigenGradCAM")
RANDOM_BASELINE = (
    "RandomCAM"  # channels weighed by chance: what a method that knows nothing of the network's head would give
)
_CHANNELS_AT_ONCE = 32


class _Head(nn.Module):
    """What follows a model's last maps, with a layer of its own for the package to hook.

    It holds the model's methods, not the model: no submodule, so the package's `eval()` and `zero_grad()` end here.
    """

    def __init__(self, model: nn.Module, device: torch.device, tick: Callable[[], object] | None = None):
        super().__init__()
        self.forward_head = model.forward_head
        self.prefix: torch.Tensor | None = None  # (1, P, C): a ViT's class token, which is no part of the grid
        self.prefix_tokens: int = getattr(model, "num_prefix_tokens", 0)
        self.tick = tick or (lambda: None)
        self.target_layer = nn.Identity()
        # The package asks for one
        self.device_marker = nn.Parameter(torch.empty(0, device=device), requires_grad=False)

    def grid_of(self, features: torch.Tensor) -> torch.Tensor:
        """Features (N, C, h, w), or of a ViT (N, T, C), as maps (N, C, h, w); the class token is kept aside."""
        if features.ndim == 4:
            return features
        self.prefix, tokens = features[:1, : self.prefix_tokens], features[:, self.prefix_tokens :]
        side = round(tokens.shape[1] ** 0.5)
        return tokens.transpose(1, 2).unflatten(2, (side, side))

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """Maps float (N, C, h, w) to logits float (N, classes)."""
        self.tick()
        grid = self.target_layer(grid)
        if self.prefix is None:
            return self.forward_head(grid)
        tokens = grid.flatten(2).transpose(1, 2)
        return self.forward_head(torch.cat([self.prefix.expand(len(grid), -1, -1), tokens], dim=1))


class _Whole(_Head):
    """The whole network, for ScoreCAM, which shows it the image through each channel in turn."""

    def __init__(self, model: nn.Module, device: torch.device, tick: Callable[[], object] | None = None):
        super().__init__(model, device, tick)
        self.forward_features = model.forward_features
        self.seen: list[torch.Tensor] | None = None
        self.calls = 0

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images float (N, 1, S, S) to logits float (N, classes)."""
        if self.seen is None:  # the package's first call, the only one it wants the maps of
            self.seen = []
            grid = self.grid_of(self.forward_features(x))
            self.batches = -(-grid.shape[1] // _CHANNELS_AT_ONCE)
            return super().forward(grid)
        # It asks for every class with the same images in the same order; what the first gave holds for the others.
        if len(self.seen) < self.batches:
            self.tick()
            self.seen.append(self.forward_head(self.forward_features(x)))
        self.calls += 1
        return self.seen[(self.calls - 1) % self.batches]


class ZeroedChannels(AblationLayer):
    """One channel after another set to zero (Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360, equation 2).

    The package's own layer sets a channel to 1e7 below the smallest value wherever one is negative, as SiLU's are.
    """

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(self.activations))
        self.activations[rows, torch.as_tensor(self.indices[: len(rows)]).long()] = 0
        return self.activations


def class_activation_maps(
    model: nn.Module,
    x: torch.Tensor,
    features: torch.Tensor,
    method: str,
    *,
    tick: Callable[[], object] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`logits_and_maps` by the name of any method, slow ones too; `x` is the input that gave the features."""
    if method == "ScoreCAM":
        return scores_and_maps(model, x, tick=tick)
    kind = (METHODS | SLOW_METHODS)[method]
    return logits_and_maps(model, features, method=kind, tick=tick)


def passes(model: nn.Module, method: str) -> int:
    """About how often a slow method ticks."""
    features: int = model.num_features  # type: ignore[assignment]
    classes: int = model.num_classes  # type: ignore[assignment]
    return -(-features // _CHANNELS_AT_ONCE) * (classes if method == "AblationCAM" else 1) + 2


def logits_and_maps(
    model: nn.Module,
    features: torch.Tensor,
    *,
    method: type[BaseCAM] = GradCAM,
    tick: Callable[[], object] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Class logits and one map for each class, for a single image.

    Args:
        model: in eval mode, parameters frozen; offers `forward_head`.
        features: what its `forward_features` gave for one image, without gradient: float (1, C, h, w), or of a ViT (1, T, C).
        method: any method of pytorch-grad-cam that needs no more than the head.
        tick: called before every pass through the head; what it raises ends the work.

    Returns:
        logits float32 (K,), and maps float32 (K, h, w), zero or more, in the method's own units:
        neither scaled nor resized, so that a weak map can be told from a strong one. Selvaraju et al. 2017,
        doi:10.1109/ICCV.2017.74, equations 1 and 2, for Grad-CAM.

    Raises:
        HeatmapError: the method failed or gave values that are not finite.
    """
    head = _Head(model, features.device, tick)
    classes: int = model.num_classes  # type: ignore[assignment]
    # One row for each class: a single backward pass then gives every class its own gradient.
    grid = head.grid_of(features).expand(classes, -1, -1, -1).clone(memory_format=torch.contiguous_format)
    logits, maps = _run(method, head, grid.requires_grad_())
    return logits.float().cpu().numpy(), maps


def scores_and_maps(
    model: nn.Module, x: torch.Tensor, *, tick: Callable[[], object] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `logits_and_maps`, with ScoreCAM's maps (Wang et al. 2020, doi:10.1109/CVPRW50498.2020.00020).

    Args:
        model: in eval mode. x: its input, float (1, 1, S, S). tick: called before every pass; what it raises ends the work.
    """
    classes: int = model.num_classes  # type: ignore[assignment]
    logits, maps = _run(ScoreCAM, _Whole(model, x.device, tick), x.expand(classes, -1, -1, -1))
    return logits.float().cpu().numpy(), maps


def random_maps(model: nn.Module, features: torch.Tensor, *, seed: int) -> np.ndarray:
    """The floor that a method has to rise above: RandomCAM's maps, float32 (K, h, w), the same again for the same seed."""
    generator = np.random.default_rng(seed)

    class Seeded(RandomCAM):  # the package draws from numpy's own state, which other threads move
        def get_cam_weights(self, input_tensor, target_layer, target_category, activations, grads):
            return generator.uniform(-1, 1, size=activations.shape[:2])

    return logits_and_maps(model, features, method=Seeded)[1]


def _run(method: type[BaseCAM], head: _Head, rows: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    raw: list[np.ndarray] = []
    options, target = {}, ClassifierOutputTarget
    if issubclass(method, AblationCAM):
        # The package's default layer is one object for all threads. It divides by the score, so a negative one, as a logit
        # may be, would turn the map inside out; a probability never is.
        options, target = {"ablation_layer": ZeroedChannels()}, ClassifierOutputSoftmaxTarget
    try:
        with method(model=head, target_layers=[head.target_layer], **options) as cam:
            cam.batch_size = _CHANNELS_AT_ONCE
            scaled = cam.get_cam_image

            def keep(*arguments, **options):
                # The package goes on to scale each map to 0..1; this is the last point where its strength is known.
                raw.append(scaled(*arguments, **options))
                return raw[-1]

            cam.get_cam_image = keep
            cam(input_tensor=rows, targets=[target(k) for k in range(len(rows))])
            logits = cam.outputs[0].detach()
    except (RuntimeError, ValueError) as error:
        raise HeatmapError(f"The {method.__name__} heatmap could not be computed: {error}") from error
    # The package's `with` swallows an IndexError, so an empty list must not pass for a result.
    if len(raw) != 1 or not np.isfinite(raw[0]).all() or not logits.isfinite().all():
        raise HeatmapError(f"The {method.__name__} heatmap could not be computed: the method gave no finite values.")
    return logits, np.maximum(raw[0], 0).astype(np.float32)
