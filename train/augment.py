"""Augmentation in batches, on the device where the images lie; each transform with its reason."""

import math

import torch
from torch.nn import functional as F

ROTATION_DEGREES = 11  # a hand tilts the probe this far without becoming another view
SCALE = (0.75, 1.15)  # depth setting; mild, for lesion size carries diagnostic information
SHIFT = 0.1  # of the canvas; stands in for random cropping without ever cutting the lesion away
GAMMA = (0.65, 1.5)  # dynamic range setting
GAIN = (0.8, 1.2)  # overall gain
NOISE = 0.03  # electronic noise, in units of full scale
COARSEST = 0.45  # resolution of a softened batch, as a share of the full one


def augment(
    canvases: torch.Tensor, lesions: torch.Tensor, size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Randomly moved, scaled, mirrored and re-exposed copies at `size` pixels.

    Args:
        canvases: uint8 (N, S, S) as `rcdnet.preprocessing.prepare` makes them.
        lesions: uint8 (N, S, S), 1 inside the lesion.

    Returns:
        grey float32 (N, 1, size, size) in 0..1 and lesions float32 (N, 1, size, size) of 0 and 1.

    Never flipped top to bottom: skin is on top, and shadows fall downwards.
    """
    count, device = len(canvases), canvases.device

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=generator, device=device) * (high - low) + low

    angle = uniform(-1, 1) * math.radians(ROTATION_DEGREES)
    zoom = 1 / uniform(*SCALE)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [
            torch.stack([cos * mirror, -sin, uniform(-SHIFT, SHIFT)], dim=1),
            torch.stack([sin * mirror, cos, uniform(-SHIFT, SHIFT)], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False)
    grey = resized(canvases.unsqueeze(1).float() / 255, size)
    grey = F.grid_sample(grey, grid, mode="bilinear", align_corners=False)
    lesion = F.grid_sample(lesions.unsqueeze(1).float(), grid, mode="nearest", align_corners=False)

    def per_image(values: torch.Tensor) -> torch.Tensor:
        return values.view(-1, 1, 1, 1)

    grey = grey.clamp(0, 1) ** per_image(uniform(*GAMMA)) * per_image(uniform(*GAIN))
    grey = grey + NOISE * uniform(0, 1).view(-1, 1, 1, 1) * torch.randn(grey.shape, generator=generator, device=device)
    return grey.clamp(0, 1), lesion


def softened(grey: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """float (N, 1, S, S) with detail lost as on a coarser scanner, the same for the whole batch."""
    size = grey.shape[-1]
    share = COARSEST + (1 - COARSEST) * torch.rand((), generator=generator, device=grey.device).item()
    return F.interpolate(resized(grey, max(8, round(size * share))), size=(size, size), mode="bilinear")


def resized(grey: torch.Tensor, size: int) -> torch.Tensor:
    """float (N, 1, S, S) at `size` pixels, smoothed against aliasing; training and its validation share it."""
    if size == grey.shape[-1]:
        return grey
    return F.interpolate(grey, size=(size, size), mode="bilinear", antialias=True)
