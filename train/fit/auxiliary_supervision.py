"""What supervises a network beside the label while it trains: lesion masks, on a decoder and on the heatmap, and BI-RADS."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from rcdnet.models.lesion_decoder import LEVELS, LesionDecoder
from rcdnet.models.registry import CLASSES
from train.config import TrainConfig
from train.data.labels import NO_LESION
from train.data.load_images import Decoded

OUTSIDE = 0.01  # share of a place below which it holds no lesion
PEAK = 0.3  # weight of where the evidence is highest, beside what it says inside and outside the lesion


def drop_untaught(config: TrainConfig, decoded: Decoded, rows: np.ndarray) -> tuple[TrainConfig, tuple[str, ...]]:
    """The settings without the supervision that the training `rows`, int (N,), cannot give, and the names of those settings.

    A decoder that nobody taught, or taught one class alone, would draw an outline all the same, and have a say in the call.
    """
    labels = decoded.labels[rows]
    outlined = len(np.unique(labels[decoded.masked[rows] & (labels != NO_LESION)])) == len(CLASSES)
    known = {
        "mask_weight": outlined,
        "evidence_weight": outlined,
        "birads_weight": bool(np.isfinite(decoded.suspicion[rows]).any()),
    }
    untaught: dict[str, Any] = {name: 0.0 for name in known if getattr(config, name) and not known[name]}
    return replace(config, **untaught), tuple(untaught)


class Outputs(NamedTuple):
    """Of N images: class logits (N, 2), and where something asks for them pixel logits (N, 3, h, w), BI-RADS logits (N,), and
    the evidence for malignant against benign at each place of the last maps, (N, h, w)."""

    logits: torch.Tensor
    pixels: torch.Tensor | None = None
    category: torch.Tensor | None = None
    evidence: torch.Tensor | None = None


class MultiTaskModel(nn.Module):
    """A model with what supervises it beside the label.

    The lesion decoder sits on the trunk's maps, the BI-RADS layer beside the classifier; the evidence is the classifier's own.
    """

    def __init__(
        self,
        model: nn.Module,
        size: int,
        *,
        decoder: LesionDecoder | None,
        birads: bool = False,
        evidence: bool = False,
    ):
        super().__init__()
        self.model, self.decoder, self.evidence = model, decoder, evidence
        self.birads = None
        if birads:
            with torch.no_grad():
                features = model.eval().forward_features(torch.zeros(1, 1, size, size))
                self.birads = nn.Linear(model.forward_head(features, pre_logits=True).shape[1], 1)

    def forward(self, x: torch.Tensor) -> Outputs:
        """Normalised images float (N, 1, S, S)."""
        if self.decoder is None and self.birads is None and not self.evidence:
            return Outputs(self.model(x))
        features, maps = self.model.forward_intermediates(x)
        pixels = self.decoder(maps[-LEVELS:]) if self.decoder else None
        category = self.birads(self.model.forward_head(features, pre_logits=True))[:, 0] if self.birads else None
        evidence = evidence_of(self.model, features) if self.evidence else None
        return Outputs(self.model.forward_head(features), pixels, category, evidence)


def evidence_of(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """What the classifier behind the average pooling says of each place alone, float (N, h, w): malignant above 0, benign below."""
    benign, malignant = class_evidence(model, features).unbind(dim=1)
    return malignant - benign


def class_evidence(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """What the classifier behind the average pooling says of each place for each class, float (N, K, h, w), without its bias.

    Where it is positive this is Grad-CAM, up to a factor (Zhou et al. 2016, doi:10.1109/CVPR.2016.319).
    """
    weight = model.get_classifier().weight
    if features.ndim == 4:
        return torch.einsum("nchw,kc->nkhw", features, weight)
    tokens = features[:, model.num_prefix_tokens :] @ weight.T
    side = round(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def evidence_loss(evidence: torch.Tensor, lesions: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """Inside the lesion the evidence has the class's sign (logistic loss) and is highest (cross-entropy over the places), outside
    it is 0 (Huber loss); 0 where no image has a mask.

    Places next to the lesion are outside: left free, they took the evidence, and the map's peak lay there.

    Args:
        evidence: float (N, h, w). lesions: float (N, 2, S, S), how much of each pixel is benign and malignant lesion.
        masked: bool (N,), whose lesions are known.
    """
    benign, malignant = F.interpolate(lesions, evidence.shape[-2:], mode="area").flatten(2).unbind(dim=1)
    evidence, lesion = evidence.flatten(1), benign + malignant
    held, size = lesion >= OUTSIDE, lesion.sum(dim=1)
    inside = malignant * F.softplus(-evidence) + benign * F.softplus(evidence)
    wrong = inside.sum(dim=1) / size.clamp(min=OUTSIDE)
    stray = (~held * F.huber_loss(evidence, torch.zeros_like(evidence), reduction="none")).sum(dim=1)
    signed = evidence * (malignant.sum(dim=1) - benign.sum(dim=1)).sign().unsqueeze(1)
    share = (signed + lesion.clamp(min=OUTSIDE).log()).masked_fill(~held, -1e4).logsumexp(dim=1)
    misplaced = (signed.logsumexp(dim=1) - share) * held.any(dim=1)
    losses = wrong + stray / (~held).sum(dim=1).clamp(min=1) + PEAK * misplaced
    return (losses * masked).sum() / masked.sum().clamp(min=1)


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
