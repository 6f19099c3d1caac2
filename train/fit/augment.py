"""Augmentation in batches, on the device where the images lie, every image moved in its own way.

torchvision's v2 transforms draw once for a whole batch, so the geometry is torch's own `affine_grid` and `grid_sample`.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from train.config import TrainConfig

PATCH = (0.1, 0.35)  # smallest and largest side of what is painted over, as a share of the image's
COARSEST = 0.45  # resolution of a softened batch, as a share of the full one


@dataclass(frozen=True)
class Moves:
    """What is done to each image. theta: float (N, 2, 3) of `affine_grid`. gamma, gain, noise: float (N, 1, 1, 1).

    field: unit noise float (N, 1, S, S), or None where no noise is asked for. softness: resolution kept, 1 for all of it.
    patch: float (N, 5), top, bottom, left and right of a rectangle as shares of the side, and its grey level; empty where top is bottom.
    """

    theta: torch.Tensor
    gamma: torch.Tensor
    gain: torch.Tensor
    noise: torch.Tensor
    field: torch.Tensor | None
    softness: float
    patch: torch.Tensor

    def of(self, rows: torch.Tensor) -> "Moves":
        """The moves of some images of the batch."""
        return Moves(
            self.theta[rows],
            self.gamma[rows],
            self.gain[rows],
            self.noise[rows],
            None if self.field is None else self.field[rows],
            self.softness,
            self.patch[rows],
        )


def draw_moves(
    config: TrainConfig, count: int, size: int, generator: torch.Generator, coin: np.random.Generator
) -> Moves:
    """Random moves for a batch of `count` images at `size` pixels, within the limits of `config`.

    What concerns each image comes from `generator`, on its device; what concerns the whole batch from `coin`.

    Never flipped top to bottom: skin is on top, and shadows fall downwards.
    """
    device = generator.device

    def uniform(low: float = -1.0, high: float = 1.0) -> torch.Tensor:
        return torch.rand(count, generator=generator, device=device) * (high - low) + low

    window = uniform(config.crop, 1.0)
    zoom = window * torch.exp(uniform() * math.log1p(config.scale))
    angle = uniform() * math.radians(config.rotation)
    mirror = torch.where(uniform(0.0, 1.0) < config.flip, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack(
        [
            torch.stack([cos * mirror, -sin, uniform() * (1 - window)], dim=1),
            torch.stack([sin * mirror, cos, uniform() * (1 - window)], dim=1),
        ],
        dim=1,
    )
    gamma, gain, noise = (
        values.view(-1, 1, 1, 1)
        for values in (
            torch.exp(uniform() * math.log(config.gamma)),
            1 + uniform() * config.gain,
            uniform(0.0, config.noise),
        )
    )
    field = torch.randn(count, 1, size, size, generator=generator, device=device) if config.noise else None
    height, width = (uniform(*PATCH) for _ in range(2))
    height = torch.where(uniform(0.0, 1.0) < config.erase, height, 0.0)
    top, left = uniform(0.0, 1.0) * (1 - height), uniform(0.0, 1.0) * (1 - width)
    patch = torch.stack([top, top + height, left, left + width, uniform(0.0, 0.6)], dim=1)
    softness = coin.uniform(COARSEST, 1.0) if coin.random() < config.softened else 1.0
    return Moves(theta, gamma, gain, noise, field, softness, patch)


def augment(canvases: torch.Tensor, lesions: torch.Tensor | None, size: int, moves: Moves):
    """Moved, scaled, mirrored and re-exposed copies at `size` pixels.

    Args:
        canvases: uint8 (N, S, S) as `rcdnet.preprocessing.prepare` makes them.
        lesions: uint8 (N, S, S), 1 inside the lesion; None where no masks are used.

    Returns:
        grey float32 (N, 1, size, size) in 0..1, and lesions float32 (N, 1, size, size) of 0 and 1, or None.
    """
    grid = F.affine_grid(moves.theta, [len(canvases), 1, size, size], align_corners=False)
    grey = resized(canvases.unsqueeze(1).float() / 255, size)
    grey = F.grid_sample(grey, grid, mode="bilinear", align_corners=False)
    if lesions is not None:
        lesions = F.grid_sample(lesions.unsqueeze(1).float(), grid, mode="nearest", align_corners=False)
    grey = grey.clamp(0, 1) ** moves.gamma * moves.gain
    if moves.field is not None:
        grey = grey + moves.noise * moves.field
    if moves.softness < 1:
        coarse = resized(grey, max(8, round(size * moves.softness)))
        grey = F.interpolate(coarse, size=(size, size), mode="bilinear")
    return _painted_over(grey.clamp(0, 1), moves.patch), lesions


def _painted_over(grey: torch.Tensor, patch: torch.Tensor) -> torch.Tensor:
    """With the rectangle of each image at its grey level (random erasing, arXiv:1708.04896); the lesion stays where it is."""
    top, bottom, left, right, level = patch.view(-1, 5, 1, 1, 1).unbind(dim=1)
    place = (torch.arange(grey.shape[-1], device=grey.device) + 0.5) / grey.shape[-1]
    rows, columns = place.view(1, 1, -1, 1), place.view(1, 1, 1, -1)
    return torch.where((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right), level, grey)


def resized(grey: torch.Tensor, size: int) -> torch.Tensor:
    """float (N, 1, S, S) at `size` pixels, smoothed against aliasing."""
    if size == grey.shape[-1]:
        return grey
    return F.interpolate(grey, size=(size, size), mode="bilinear", antialias=True)
