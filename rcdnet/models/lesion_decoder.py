"""Where the lesion is: a light decoder on a network's own maps.

It supervises the trunk in training; weights that keep it draw the outline, and what lies inside it and its shape are evidence.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from timm.layers import ConvNormAct
from torch import nn
from torch.nn import functional as F

from rcdnet.scans.preprocessing import Letterbox

WIDTH = 64  # channels at every level, with whole 3x3 convolutions: 48 with separable ones found masks half as fast
LEVELS = 4  # the trunk's last four maps: from stride 4 of a CNN on, the last four blocks of a ViT
PREFIX = "decoder."  # of its tensors in a weight file, beside those of the network


class LesionDecoder(nn.Module):
    """Top-down decoder over trunk maps; predicts background, benign and malignant at the finest map's stride.

    Masks decide what training from nothing can reach on few images: they tell the trunk where to look, and the trunk
    keeps that when the decoder is gone.
    """

    def __init__(self, channels: list[int]):
        """`channels` of the maps, finest first."""
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, WIDTH, 1) for c in channels)
        self.smooth = nn.ModuleList(ConvNormAct(WIDTH, WIDTH, 3) for _ in channels)
        self.classify = nn.Conv2d(WIDTH, 3, 1)

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Maps float (N, C, h, w), finest first, to logits float (N, 3, h of the finest, w of the finest)."""
        merged = None
        for lateral, smooth, level in reversed(list(zip(self.lateral, self.smooth, maps, strict=True))):
            here = lateral(level)
            if merged is not None:
                here = here + F.interpolate(merged, here.shape[-2:], mode="bilinear", align_corners=False)
            merged = smooth(here)
        return self.classify(merged)


def decoder_for(network: nn.Module, size: int) -> LesionDecoder:
    """A new decoder that fits the maps of `network`, which is left in eval mode; `size` is any side that it takes, in pixels."""
    device = next(network.parameters()).device
    with torch.no_grad():
        _, maps = network.eval().forward_intermediates(torch.zeros(1, 1, size, size, device=device))
    return LesionDecoder([m.shape[1] for m in maps[-LEVELS:]])


def split_state_dict(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The tensors of a weight file: those of the network, and those of its decoder, if it has one."""
    decoder = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    return {name: value for name, value in tensors.items() if not name.startswith(PREFIX)}, decoder


def read_outline(decoder: LesionDecoder, maps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """How likely each place is inside a lesion of either kind, float (N, h, w) in 0..1 over the canvas; and how far the places
    inside speak for a malignant one against a benign one, the mean of their log-odds, float (N,), 0 where there is no lesion."""
    classes = decoder(maps[-LEVELS:]).log_softmax(dim=1)
    lesion = 1 - classes[:, 0].exp()
    votes = (lesion * (classes[:, 2] - classes[:, 1])).sum(dim=(1, 2)) / lesion.sum(dim=(1, 2)).clamp(min=1)
    return lesion, votes


def box_features(x: float, y: float, width: float, height: float, aspect: float) -> list[float]:
    """Eight numbers of a lesion's box, given as shares of the image, and its height over width in pixels.

    Logarithms of width, height, aspect and area; centre across, centre, top and bottom in depth.
    """
    logs = np.log([width, height, aspect, width * height]).tolist()
    return [*logs, x + width / 2, y + height / 2, y, y + height]


def shape_score(lesion: np.ndarray, frame: Letterbox, box: Sequence[float]) -> float:
    """How far the box of the outline, taller than wide or wider than tall, small or large, speaks for malignancy.

    A log likelihood ratio, less as the outline is less sure; 0 without an outline.

    Args:
        lesion: of one image, as `read_outline` gives it, float (h, w).
        box: a weight for each of `box_features`, and a constant; 0 is given where it is empty.
    """
    size = frame.size
    fine = cv2.resize(lesion.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    inside = slice(frame.top, frame.top + frame.height), slice(frame.left, frame.left + frame.width)
    count, _, found, _ = cv2.connectedComponentsWithStats((fine[inside] > 0.5).astype(np.uint8))
    if count < 2 or not box:
        return 0.0
    left, top, width, height, _ = found[1 + found[1:, cv2.CC_STAT_AREA].argmax()].tolist()
    numbers = box_features(
        left / frame.width, top / frame.height, width / frame.width, height / frame.height, height / width
    )
    sure = float((lesion**2).sum() / lesion.sum())  # the mean probability, weighted by itself: 1 for a sharp outline
    return float(np.clip((sure - 0.5) / 0.4, 0, 1) * (np.dot(box[:-1], numbers) + box[-1]))


def contours(lesion: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of where a lesion is more likely than not, each int32 (K, 2) of x and y, the largest first.

    Args:
        lesion: probability on the scan's own pixels, float (H, W).
    """
    found, _ = cv2.findContours((lesion > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0] for contour in sorted(found, key=cv2.contourArea, reverse=True)]
