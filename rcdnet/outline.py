"""Where the lesion is: a light decoder on a network's own maps.

It supervises the trunk in training, and weights that keep it can draw the outline.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from timm.layers import ConvNormAct
from torch import nn
from torch.nn import functional as F

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


def parted(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The tensors of a weight file: those of the network, and those of its decoder, if it has one."""
    decoder = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
    return {name: value for name, value in tensors.items() if not name.startswith(PREFIX)}, decoder


def lesion_probability(decoder: LesionDecoder, maps: list[torch.Tensor]) -> torch.Tensor:
    """How likely each place is inside a lesion, of either kind, float (N, h, w) in 0..1 over the canvas."""
    return 1 - decoder(maps[-LEVELS:]).softmax(dim=1)[:, 0]


def contours(lesion: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of where a lesion is more likely than not, each int32 (K, 2) of x and y, the largest first.

    Args:
        lesion: probability on the scan's own pixels, float (H, W).
    """
    found, _ = cv2.findContours((lesion > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0] for contour in sorted(found, key=cv2.contourArea, reverse=True)]
