"""A light lesion decoder: supervision for the trunk while training, dropped afterwards."""

import torch
from timm.layers import SeparableConvNormAct
from torch import nn
from torch.nn import functional as F

WIDTH = 48  # channels at every level; enough for three classes, and a third of the trunk's cost at most
LEVELS = 4  # the trunk's last four maps: strides 4 to 32 of a CNN, the last four blocks of a ViT


class LesionDecoder(nn.Module):
    """Top-down decoder over trunk maps; predicts background, benign and malignant at the finest map's stride.

    Masks decide what training from nothing can reach on few images: they tell the trunk where to look, and the trunk
    keeps that when the decoder is gone.
    """

    def __init__(self, channels: list[int]):
        """`channels` of the maps, finest first."""
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, WIDTH, 1) for c in channels)
        self.smooth = nn.ModuleList(SeparableConvNormAct(WIDTH, WIDTH, 3) for _ in channels)
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


def lesion_loss(logits: torch.Tensor, lesions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Pixel cross-entropy over three classes plus soft Dice on the lesion.

    Args:
        logits: float (N, 3, h, w) of `LesionDecoder`.
        lesions: float (N, 1, S, S), 1 inside the lesion.
        labels: int (N,), 0 benign, 1 malignant.
    """
    lesions = F.interpolate(lesions, logits.shape[-2:], mode="area")
    inside = (lesions[:, 0] >= 0.5).long()
    cross_entropy = F.cross_entropy(logits, inside * (1 + labels).view(-1, 1, 1))
    found = 1 - logits.softmax(dim=1)[:, :1]
    overlap = (found * lesions).sum(dim=(1, 2, 3))
    dice = (2 * overlap + 1) / (found.sum(dim=(1, 2, 3)) + lesions.sum(dim=(1, 2, 3)) + 1)
    return cross_entropy + (1 - dice).mean()
