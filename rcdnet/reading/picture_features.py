"""What an input check sees of a picture: texture by an ImageNet trunk that no scan has taught, layout by its grey levels."""

from functools import cache

import cv2
import numpy as np
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from rcdnet.errors import CheckpointError
from rcdnet.models.checkpoint import IMAGENET_FOLDER
from rcdnet.models.rcdnet import TRUNK
from rcdnet.scans.preprocessing import normalise, prepare

SIZE = 224  # pixels a side of the canvas
_GRID = 8  # places a side, for the layout
_SEAM_SIDE = 512  # pixels of the long side, on which seams between panels are looked for
TRUNK_FILE = IMAGENET_FOLDER / "rcdnet-trunk.safetensors"


@cache
def imagenet_trunk() -> nn.Module:
    """EfficientNet-Lite0 as ImageNet taught it, in grey; shared and frozen. `CheckpointError` where its file is missing or damaged."""
    trunk = timm.create_model(TRUNK, features_only=True, in_chans=1)
    try:
        trunk.load_state_dict(load_file(TRUNK_FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{TRUNK_FILE.name}, which the input check needs, cannot be read. Restore it from the release."
        ) from error
    return trunk.eval().requires_grad_(False).to(memory_format=torch.channels_last)


@torch.no_grad()
def picture_features(pixels: np.ndarray) -> np.ndarray:
    """Of a grey picture, uint8 (H, W): means and deviations of the trunk's maps at five strides, then the layout; float32 (1156,)."""
    canvas, frame = prepare(pixels, SIZE)
    x = normalise(torch.from_numpy(canvas)[None, None].float() / 255).contiguous(memory_format=torch.channels_last)
    texture = [part for level in imagenet_trunk()(x) for part in (level.mean((2, 3))[0], level.std((2, 3))[0])]
    values = torch.cat(texture)
    # As a logarithm, for single channels of single pictures are hundreds of deviations away.
    return np.concatenate(
        [(values.sign() * values.abs().log1p()).numpy(), _layout(frame.content(canvas)), _seams(pixels)]
    ).astype(np.float32)


def _layout(content: np.ndarray) -> np.ndarray:
    """Mean and deviation of the grey levels at each place of a grid over the picture, in 0..1, float32 (128,)."""
    content = content / np.float32(255)
    mean = cv2.resize(content, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    square = cv2.resize(content**2, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    return np.concatenate([mean.ravel(), np.sqrt(np.maximum(square - mean**2, 0)).ravel()])


def _seams(pixels: np.ndarray) -> np.ndarray:
    """How sharp the sharpest straight edge through the middle half of a picture is, from side to side and from top to bottom, against
    the others there; and how dark the darkest line is; float32 (4,)."""
    scale = _SEAM_SIDE / max(pixels.shape)
    size = max(8, round(pixels.shape[1] * scale)), max(8, round(pixels.shape[0] * scale))
    image = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR).astype(np.float32)
    found = []
    for lines in (image, image.T):
        middle = slice(len(lines) // 4, 3 * len(lines) // 4)
        edges = np.median(np.abs(np.diff(lines, axis=0)), axis=1)[middle]
        level = lines.mean(axis=1)[middle]
        found += [np.log1p(edges.max() / (np.median(edges) + 1)), level.min() / (np.median(level) + 1)]
    return np.array(found, np.float32)
