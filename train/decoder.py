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


class Supervised(nn.Module):
    """A model with what supervises it beside the label, and is dropped after training.

    The lesion decoder sits on the trunk's maps, the BI-RADS layer beside the classifier.
    """

    def __init__(self, model: nn.Module, size: int, *, decoder: bool, birads: bool = False):
        super().__init__()
        self.model = model
        self.decoder = self.birads = None
        with torch.no_grad():
            features, maps = model.eval().forward_intermediates(torch.zeros(1, 1, size, size))
            width = model.forward_head(features, pre_logits=True).shape[1]
        if decoder:
            self.decoder = LesionDecoder([m.shape[1] for m in maps[-LEVELS:]])
        if birads:
            self.birads = nn.Linear(width, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Normalised images float (N, 1, S, S) to class logits (N, 2), pixel logits (N, 3, h, w) and BI-RADS logits (N,).

        The last two are None where nothing asks for them.
        """
        if self.decoder is None and self.birads is None:
            return self.model(x), None, None
        features, maps = self.model.forward_intermediates(x)
        pixels = self.decoder(maps[-LEVELS:]) if self.decoder else None
        category = self.birads(self.model.forward_head(features, pre_logits=True))[:, 0] if self.birads else None
        return self.model.forward_head(features), pixels, category


def birads_loss(logits: torch.Tensor, suspicion: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy with the category's suspicion, 0 for BI-RADS 2 and 1 for BI-RADS 5, where it is known.

    Args:
        logits, suspicion: float (N,). known: bool (N,).
    """
    losses = F.binary_cross_entropy_with_logits(logits, suspicion, reduction="none") * known
    return losses.sum() / known.sum().clamp(min=1)


def lesion_loss(logits: torch.Tensor, lesions: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """Pixel cross-entropy over background, benign and malignant, plus soft Dice on the lesion; 0 where no image has a mask.

    Args:
        logits: float (N, 3, h, w) of `LesionDecoder`.
        lesions: float (N, 2, S, S), how much of each pixel is benign and malignant lesion.
        masked: bool (N,), whose lesions are known.
    """
    lesions = F.interpolate(lesions, logits.shape[-2:], mode="area")
    whole = lesions.sum(dim=1)
    targets = torch.cat([1 - whole.unsqueeze(1), lesions], dim=1)
    cross_entropy = F.cross_entropy(logits, targets, reduction="none").mean(dim=(1, 2))
    found = 1 - logits.softmax(dim=1)[:, 0]
    overlap = (found * whole).sum(dim=(1, 2))
    dice = (2 * overlap + 1) / (found.sum(dim=(1, 2)) + whole.sum(dim=(1, 2)) + 1)
    losses = (cross_entropy + 1 - dice) * masked
    return losses.sum() / masked.sum().clamp(min=1)
