"""Augmentation in batches, on the device where the images lie, every image moved in its own way.

torchvision's v2 transforms draw once for a whole batch, so the geometry is torch's own `affine_grid` and `grid_sample`.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from train.config import TrainConfig
from train.fit.lesion_crops import choose_lesion_crops

PATCH = (0.1, 0.35)  # smallest and largest side of what is painted over, as a share of the image's
COARSEST = 0.45  # resolution of a softened batch, as a share of the full one
SMALLEST = 2.0  # side of a viewer's frame, in sides of the canvas inside it
WINDOW = (0.35, 0.8)  # smallest and largest side of a window, as a share of the shorter side of the scan
PLACES = 24  # places drawn for each window, of which the first that fits is taken
ARM = 0.02  # half the length of a measuring mark, as a share of the side


@dataclass(frozen=True)
class AugmentParams:
    """What is done to each of N images; all float, on the device of the images.

    theta: (N, 2, 3) of `affine_grid`. gamma, gain, noise: (N, 1, 1, 1).
    field: unit noise (N, 1, S, S), or None where no noise is asked for. softness: resolution kept, 1 for all of it.
    patch: (N, 5), top, bottom, left and right of a rectangle as shares of the side, and its grey level; empty where top is bottom.
    framed: (N, 3), grey level around the scan, or -1 where black stays; the level of what is written there, and how much of it.
    text: (N, 1, S, S) in 0..1, where a frame is written on; None where no frames are asked for.
    marks: (N, 6), grey level of four measuring marks, or 0 for none; their centre, their distance from it and their angle, where no
        lesion is seen; and the factor of their distance where one is.
    sizes: (N,), and places: (N, PLACES, 2), in 0..1, of a part of the scan. wanted: (N,), 1 for a part with the whole lesion, 2 for one
        without any, 0 for the view that `theta` says.
    """

    theta: torch.Tensor
    gamma: torch.Tensor
    gain: torch.Tensor
    noise: torch.Tensor
    field: torch.Tensor | None
    softness: float
    patch: torch.Tensor
    framed: torch.Tensor
    text: torch.Tensor | None
    marks: torch.Tensor
    sizes: torch.Tensor
    places: torch.Tensor
    wanted: torch.Tensor

    def of(self, rows: torch.Tensor) -> "AugmentParams":
        """Those of some images of the batch."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen: dict[str, Any] = {name: v[rows] for name, v in values.items() if isinstance(v, torch.Tensor)}
        return replace(self, **chosen)


class Views(NamedTuple):
    """What a network is shown: grey float32 (N, 1, S, S) in 0..1, lesions float32 (N, 1, S, S) of 0 and 1 or None, and how much of
    each outlined lesion is left, float (N,) in 0..1, 1 where none is outlined."""

    grey: torch.Tensor
    lesions: torch.Tensor | None
    left: torch.Tensor


def sample_params(
    config: TrainConfig, count: int, size: int, generator: torch.Generator, coin: np.random.Generator
) -> AugmentParams:
    """Random moves for a batch of `count` images at `size` pixels, within the limits of `config`.

    What concerns each image comes from `generator`, on its device; what concerns the whole batch from `coin`.

    Never flipped top to bottom: skin is on top, and shadows fall downwards.
    """
    device = generator.device

    def uniform(low: float = -1.0, high: float = 1.0, *shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=generator, device=device) * (high - low) + low

    window = uniform(config.crop, 1.0)
    zoom = window * torch.exp(uniform() * math.log1p(config.scale))
    angle = uniform() * math.radians(config.rotation)
    mirror = torch.where(uniform(0.0, 1.0) < config.flip, -1.0, 1.0)
    across, down = uniform() * (1 - window), uniform() * (1 - window)
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

    wider = torch.exp(uniform() * math.log1p(config.stretch) / 2)
    inside = uniform(0.0, 1.0) < config.framed
    side = uniform(1.0, SMALLEST)
    zoom, angle = torch.where(inside, side, zoom), torch.where(inside, 0.0, angle)
    across = torch.where(inside, uniform() * (side - 1), across)
    down = torch.where(inside, uniform() * (side - 1), down)
    # Mostly black or nearly so, as viewers are.
    level = torch.where(uniform(0.0, 1.0) < 0.5, uniform(0.0, 0.05), uniform(0.0, 0.5))
    written = uniform(0.0, 0.15) * (uniform(0.0, 1.0) < 0.5)
    framed = torch.stack([torch.where(inside, level, -1.0), uniform(0.4, 1.0), written], dim=1)
    text = F.interpolate(uniform(0.0, 1.0, 1, 56, 56), size=(size, size), mode="nearest") if config.framed else None
    drawn = torch.where(uniform(0.0, 1.0) < config.marked, uniform(0.6, 1.0), 0.0)
    marks = torch.stack(
        [drawn, uniform(-0.6, 0.6), uniform(-0.6, 0.6), uniform(0.1, 0.5), uniform(0.0, math.pi), uniform(0.9, 1.15)],
        dim=1,
    )
    wanted = torch.where(uniform(0.0, 1.0) < config.windows, 1 + (uniform() > 0).float(), 0.0)
    theta = torch.stack(
        [
            torch.stack([torch.cos(angle) * zoom * wider * mirror, -torch.sin(angle) * zoom, across], dim=1),
            torch.stack([torch.sin(angle) * zoom * mirror, torch.cos(angle) * zoom / wider, down], dim=1),
        ],
        dim=1,
    )
    sizes, places = uniform(0.0, 1.0), uniform(0.0, 1.0, PLACES, 2)
    return AugmentParams(theta, gamma, gain, noise, field, softness, patch, framed, text, marks, sizes, places, wanted)


def augment(
    canvases: torch.Tensor, lesions: torch.Tensor | None, content: torch.Tensor | None, size: int, moves: AugmentParams
) -> Views:
    """Moved, scaled, mirrored and re-exposed copies at `size` pixels.

    Args:
        canvases: uint8 (N, S, S) as `rcdnet.scans.preprocessing.prepare` makes them.
        lesions: uint8 (N, S, S), 1 inside the lesion; None where no masks are used.
        content: float (N, 4), left, top, right and bottom of the scan on its canvas, which reaches from -1 to 1; None
            where it fills it.
    """
    if content is None:
        content = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=canvases.device).expand(len(canvases), 4)
    theta, framed = moves.theta, moves.framed
    if lesions is not None:
        theta, taken = choose_lesion_crops(theta, lesions, content, moves.sizes, moves.places, moves.wanted, WINDOW)
        framed = torch.where(taken[:, None], -1.0, framed)
    grid = F.affine_grid(theta, [len(canvases), 1, size, size], align_corners=False)
    grey = resized(canvases.unsqueeze(1).float() / 255, size)
    grey = F.grid_sample(grey, grid, mode="bilinear", align_corners=False)
    left = torch.ones(len(canvases), device=canvases.device)
    if lesions is not None:
        whole = (lesions != 0).float().mean(dim=(1, 2))
        lesions = F.grid_sample(lesions.unsqueeze(1).float(), grid, mode="nearest", align_corners=False)
        shown = lesions.mean(dim=(1, 2, 3)) * (theta[:, 0, 0] * theta[:, 1, 1] - theta[:, 0, 1] * theta[:, 1, 0]).abs()
        left = torch.where(whole > 0, (shown / whole.clamp(min=1e-9)).clamp(max=1), left)
    grey = grey.clamp(0, 1) ** moves.gamma * moves.gain
    if moves.field is not None:
        grey = grey + moves.noise * moves.field
    if moves.softness < 1:
        coarse = resized(grey, max(8, round(size * moves.softness)))
        grey = F.interpolate(coarse, size=(size, size), mode="bilinear")
    grey = _painted_over(grey.clamp(0, 1), moves.patch)
    if moves.text is not None:
        grey = _framed(grey, grid, content, framed, moves.text)
    return Views(_marked(grey, lesions, moves.marks), lesions, left)


def _painted_over(grey: torch.Tensor, patch: torch.Tensor) -> torch.Tensor:
    """With the rectangle of each image at its grey level (random erasing, arXiv:1708.04896); the lesion stays where it is."""
    top, bottom, left, right, level = patch.view(-1, 5, 1, 1, 1).unbind(dim=1)
    place = (torch.arange(grey.shape[-1], device=grey.device) + 0.5) / grey.shape[-1]
    rows, columns = place.view(1, 1, -1, 1), place.view(1, 1, 1, -1)
    return torch.where((rows >= top) & (rows < bottom) & (columns >= left) & (columns < right), level, grey)


def _framed(
    grey: torch.Tensor, grid: torch.Tensor, content: torch.Tensor, framed: torch.Tensor, text: torch.Tensor
) -> torch.Tensor:
    """With a viewer's plain or written surface around the scan, where `AugmentParams.framed` asks for one."""
    x, y = grid[..., 0].unsqueeze(1), grid[..., 1].unsqueeze(1)
    left, top, right, bottom = content.view(-1, 4, 1, 1, 1).unbind(dim=1)
    level, ink, written = framed.view(-1, 3, 1, 1, 1).unbind(dim=1)
    around = ((x < left) | (x > right) | (y < top) | (y > bottom)) & (level >= 0)
    return torch.where(around, torch.where(text < written, ink, level), grey)


def _marked(grey: torch.Tensor, lesions: torch.Tensor | None, marks: torch.Tensor) -> torch.Tensor:
    """With four measuring marks each, around the lesion where one is seen, as often on every kind of scan."""
    size, count = grey.shape[-1], len(grey)
    place = (torch.arange(size, device=grey.device) + 0.5) / size * 2 - 1
    level, x, y, away, angle, factor = marks.unbind(dim=1)
    if lesions is not None:
        lesion = lesions[:, 0]
        area = lesion.sum(dim=(1, 2))
        seen = area > 0
        share = area.clamp(min=1)
        x = torch.where(seen, (lesion.sum(dim=1) * place).sum(dim=1) / share, x)
        y = torch.where(seen, (lesion.sum(dim=2) * place).sum(dim=1) / share, y)
        away = torch.where(seen, factor * 2 / size * (area / math.pi).sqrt(), away)
    out = grey
    for turn in range(4):
        direction = angle + turn * math.pi / 2
        across = (place.view(1, 1, -1) - (x + away * torch.cos(direction)).view(-1, 1, 1)).abs()
        down = (place.view(1, -1, 1) - (y + away * torch.sin(direction)).view(-1, 1, 1)).abs()
        thin, long = 1.2 / size, 2 * ARM
        cross = ((across < thin) & (down < long)) | ((down < thin) & (across < long))
        cross = cross & (level > 0).view(-1, 1, 1)
        out = torch.where(cross.view(count, 1, size, size), level.view(-1, 1, 1, 1), out)
    return out


def resized(grey: torch.Tensor, size: int) -> torch.Tensor:
    """float (N, 1, S, S) at `size` pixels, smoothed against aliasing."""
    if size == grey.shape[-1]:
        return grey
    return F.interpolate(grey, size=(size, size), mode="bilinear", antialias=True)
