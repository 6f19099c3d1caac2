"""Probabilities and class activation maps from what a model's trunk gives.

The trunk runs once, without gradient, before this. What it gives is the only leaf that asks for a gradient, and pytorch-grad-cam works
on the head alone, wrapped anew for each call. So the package's hooks and `.grad` never touch a shared model, and threads
cannot disturb each other; over the whole model they do (wrong maps and crashes with two threads).
"""

import numpy as np
import torch
from pytorch_grad_cam import EigenCAM, EigenGradCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from rcdnet.errors import HeatmapError

# Those that need no more than the head. All but EigenCAM ask the class; EigenCAM shows what stands out, whatever the class.
METHODS: dict[str, type[BaseCAM]] = {
    "Grad-CAM": GradCAM,
    "Grad-CAM++": GradCAMPlusPlus,
    "HiResCAM": HiResCAM,
    "LayerCAM": LayerCAM,
    "XGradCAM": XGradCAM,
    "EigenCAM": EigenCAM,
    "EigenGradCAM": EigenGradCAM,
}


class _Head(nn.Module):
    """What follows a model's last maps, with a layer of its own for the package to hook.

    It holds the model's method, not the model: no submodule, so the package's `eval()` and `zero_grad()` end here.
    """

    def __init__(self, model: nn.Module, prefix: torch.Tensor | None, device: torch.device):
        super().__init__()
        self.forward_head = model.forward_head
        self.prefix = prefix  # (K, P, C): a ViT's class token, which is no part of the grid
        self.target_layer = nn.Identity()
        self.device_marker = nn.Parameter(
            torch.empty(0, device=device), requires_grad=False
        )  # the package asks for one

    def forward(self, grid: torch.Tensor) -> torch.Tensor:
        """Maps float (K, C, h, w) to logits float (K, classes)."""
        grid = self.target_layer(grid)
        if self.prefix is None:
            return self.forward_head(grid)
        tokens = grid.flatten(2).transpose(1, 2)
        return self.forward_head(torch.cat([self.prefix, tokens], dim=1))


def probabilities_and_maps(
    model: nn.Module, features: torch.Tensor, *, method: type[BaseCAM] = GradCAM, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities and one map for each class, for a single image.

    Args:
        model: in eval mode, parameters frozen; offers `forward_head`.
        features: what its `forward_features` gave for one image, without gradient: float (1, C, h, w), or of a ViT (1, T, C).
        method: any method of pytorch-grad-cam.
        temperature: the logits are divided by it before they become probabilities; the maps know nothing of it.

    Returns:
        probabilities float32 (K,) that sum to 1, and maps float32 (K, h, w), zero or more, in the method's own units:
        neither scaled nor resized, so that a weak map can be told from a strong one. Selvaraju et al. 2017,
        doi:10.1109/ICCV.2017.74, equations 1 and 2, for Grad-CAM.

    Raises:
        HeatmapError: the method failed or gave values that are not finite.
    """
    classes: int = model.num_classes  # type: ignore[assignment]
    prefix = None
    if features.ndim == 3:  # (1, P + h * w, C) of a ViT
        count: int = model.num_prefix_tokens  # type: ignore[assignment]
        prefix = features[:, :count].expand(classes, -1, -1)
        side = round((features.shape[1] - count) ** 0.5)
        features = features[:, count:].transpose(1, 2).unflatten(2, (side, side))
    # One row for each class: a single backward pass then gives every class its own gradient.
    grid = features.expand(classes, -1, -1, -1).clone(memory_format=torch.contiguous_format).requires_grad_()
    logits, maps = _run(method, _Head(model, prefix, grid.device), grid)
    return (logits / temperature).softmax(dim=0).float().cpu().numpy(), maps


def _run(method: type[BaseCAM], head: _Head, grid: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    raw: list[np.ndarray] = []
    try:
        with method(model=head, target_layers=[head.target_layer]) as cam:
            scaled = cam.get_cam_image

            def keep(*arguments, **options):
                # The package goes on to scale each map to 0..1; this is the last point where its strength is known.
                raw.append(scaled(*arguments, **options))
                return raw[-1]

            cam.get_cam_image = keep
            cam(input_tensor=grid, targets=[ClassifierOutputTarget(k) for k in range(len(grid))])
            logits = cam.outputs[0].detach()
    except (RuntimeError, ValueError) as error:
        raise HeatmapError(f"The {method.__name__} heatmap could not be computed: {error}") from error
    # The package's `with` swallows an IndexError, so an empty list must not pass for a result.
    if len(raw) != 1 or not np.isfinite(raw[0]).all() or not logits.isfinite().all():
        raise HeatmapError(f"The {method.__name__} heatmap could not be computed: the method gave no finite values.")
    return logits, np.maximum(raw[0], 0).astype(np.float32)
