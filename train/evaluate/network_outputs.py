"""What a network and its decoder give for decoded images, with the pointing game and Dice where the lesion is known."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from rcdnet.errors import CheckpointError
from rcdnet.models.checkpoint import build
from rcdnet.models.lesion_decoder import LesionDecoder, read_outline, shape_score
from train.data.load_images import Decoded
from train.fit.auxiliary_supervision import class_evidence
from train.fit.checkpoints import to_half_precision
from train.fit.loop import as_input

BATCH = 64


@dataclass(frozen=True)
class NetworkOutputs:
    """What a network gives for N images. evidence: float (N, 3), logit, vote and score. pointing, dice (N,): as in `PredictionRow`."""

    evidence: np.ndarray
    pointing: tuple[bool | None, ...]
    dice: np.ndarray


def load_network(name: str, content: bytes) -> tuple[tuple[nn.Module, LesionDecoder | None], str]:
    """Network and decoder with the weights as the app would hold them, and the digest of that file."""
    weights = to_half_precision(content)
    return build(name, weights), hashlib.sha256(weights).hexdigest()


@torch.no_grad()
def network_outputs(
    network: nn.Module, decoder: LesionDecoder | None, decoded: Decoded, rows: np.ndarray, box: Sequence[float]
) -> NetworkOutputs:
    """What the networks say of the chosen rows.

    Args:
        box: weights behind the score of an outline, as `rcdnet.models.lesion_decoder.shape_score` takes them.

    Raises:
        CheckpointError: the weights give no number.
    """
    evidence: list[tuple[float, float, float]] = []
    pointing: list[bool | None] = []
    dice: list[float] = []
    for chosen in np.array_split(rows, max(1, len(rows) // BATCH)):
        features, maps = network.forward_intermediates(as_input(torch.from_numpy(decoded.canvases[chosen])))
        logits = network.forward_head(features).double()
        heats = class_evidence(network, features)[range(len(chosen)), decoded.labels[chosen]].numpy()
        outlines, votes = read_outline(decoder, maps) if decoder else (None, torch.zeros(len(chosen)))
        for k, row in enumerate(chosen):
            outline = None if outlines is None else outlines[k].numpy()
            score = 0.0 if outline is None else shape_score(outline, decoded.frames[row], box)
            evidence.append((float(logits[k, 1] - logits[k, 0]), float(votes[k]), score))
            lesion = decoded.lesions[row] if decoded.samples[row].masks and decoded.masked[row] else None
            pointing.append(None if lesion is None else pointing_game_hit(heats[k], lesion))
            dice.append(math.nan if lesion is None or outline is None else dice_score(outline, lesion))
    known = np.array(evidence).reshape(-1, 3)
    if not np.isfinite(known).all():
        raise CheckpointError(
            f"The weights give no valid number for {(~np.isfinite(known).all(axis=1)).sum()} of {len(rows)} images. "
            "They are damaged: take the file of another epoch, or train again."
        )
    return NetworkOutputs(known, tuple(pointing), np.array(dice))


def pointing_game_hit(evidence: np.ndarray, lesion: np.ndarray) -> bool:
    """The pointing game (Zhang et al. 2018, doi:10.1007/s11263-017-1059-x): whether a map's highest point lies in the lesion.

    The centre of the highest place of the coarse map, which interpolation would not move. A map that is positive nowhere points
    at nothing.

    Args:
        evidence: float (h, w). lesion: (S, S), not 0 inside.
    """
    row, column = np.unravel_index(evidence.argmax(), evidence.shape)
    y = int((row + 0.5) * lesion.shape[0] / evidence.shape[0])
    x = int((column + 0.5) * lesion.shape[1] / evidence.shape[1])
    return bool(evidence[row, column] > 0 and lesion[y, x])


def dice_score(outline: np.ndarray, lesion: np.ndarray) -> float:
    """Dice of where `outline`, probability float (h, w), is above a half, and the lesion, (S, S), not 0 inside."""
    fine = cv2.resize(outline.astype(np.float32), lesion.shape[::-1], interpolation=cv2.INTER_LINEAR)
    found, true = fine > 0.5, lesion > 0
    return float(2 * (found & true).sum() / max(1, found.sum() + true.sum()))
