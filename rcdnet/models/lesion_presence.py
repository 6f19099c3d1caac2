"""Whether a scan shows a lesion, asked of each model before what the lesion is: benign or malignant is no question about a normal breast.

A linear classifier of the maps of the model's own trunk, which every prediction computes anyway. It came with the app beside the
weights, for these weights alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from safetensors import SafetensorError

from rcdnet.errors import CheckpointError
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, parse_pinned, read_checksums, read_pinned_arrays
from rcdnet.safe_read import LARGEST, MB, Count, Share, Unreadable, Within, read_regular
from rcdnet.scans.preprocessing import Letterbox

NAME = "lesion_presence"
CARD_LIMIT, ARRAYS_LIMIT = MB, 8 * MB
_LEVELS = 3  # the trunk's last maps; coarser ones alone see less


@dataclass(frozen=True)
class PresenceCounts:
    """Scans of a data set at a bar that they did not choose. seen: lesions that were seen. passed: normal scans with no lesion seen."""

    data: str
    lesions: Count
    seen: Count
    normals: Count
    passed: Count


@dataclass(frozen=True)
class PresenceCard:
    """What a model's weights need to be asked whether they see a lesion.

    weights_sha256: of the weights that this is for. bar: score below which no lesion is seen.
    by_fold: of each data set, scans that did not teach the classifier that scored them, at the bar of the other folds.
    left_out: scans of sites of which none taught anything.
    """

    model: str
    weights_sha256: str
    bar: Annotated[float, Within(-LARGEST, LARGEST)]
    by_fold: tuple[PresenceCounts, ...]
    left_out: tuple[PresenceCounts, ...]


@dataclass(frozen=True)
class PresenceCards:
    """share_seen: of the lesions of each data set, what the bar was chosen to see. sha256: of the arrays' file."""

    models: tuple[PresenceCard, ...]
    share_seen: Share
    trained_on: tuple[str, ...]
    date: str
    sha256: str


@dataclass(frozen=True, eq=False)
class LesionPresence:
    """weight: float32 (D,), of what `presence_features` gives."""

    card: PresenceCard
    weight: np.ndarray = field(repr=False)
    bias: float

    def sees_lesion(self, features: np.ndarray) -> bool:
        """Of one scan, whose features are float32 (D,).

        Raises:
            CheckpointError: they are of another network, or no numbers.
        """
        if features.shape != self.weight.shape or not np.isfinite(features).all():
            raise CheckpointError(
                f"{NAME}.safetensors does not fit the network of {self.card.model}. Restore it from the release."
            )
        return bool(self.weight @ features + self.bias >= self.card.bar)


def presence_features(maps: Sequence[torch.Tensor], frame: Letterbox) -> np.ndarray:
    """Mean, deviation and maximum of each channel of a trunk's last maps over the scan, without the canvas's border, float32 (D,).

    Args:
        maps: of one scan, float (C, h, w) each, as `forward_intermediates` gives them.
    """
    found = []
    for level in maps[-_LEVELS:]:
        rows, columns = (
            slice(begin * cells // frame.size, -(-(begin + length) * cells // frame.size))
            for begin, length, cells in (
                (frame.top, frame.height, level.shape[1]),
                (frame.left, frame.width, level.shape[2]),
            )
        )
        inside = level[:, rows, columns].flatten(1)
        found += [inside.mean(1), inside.std(1, correction=0), inside.amax(1)]
    values = torch.cat(found)
    # As a logarithm, for single channels of single scans are hundreds of deviations away.
    return (values.sign() * values.abs().log1p()).numpy().astype(np.float32)


def load_lesion_presence(model: str, weights_sha256: str, folder: Path = WEIGHTS_FOLDER) -> LesionPresence | None:
    """What lies beside a model's weights for these weights; None where nothing was made for them.

    Raises:
        CheckpointError: it is missing from a folder that was shipped with it, damaged, or not the one that was shipped.
    """
    path = folder / f"{NAME}.json"
    pinned = path.name in (read_checksums(folder) or {})
    if not path.exists() and not pinned:
        return None
    try:
        found = _load(folder, read_regular(path, CARD_LIMIT)).get(model)
    except Unreadable as error:
        raise CheckpointError(f"{path.name} cannot be read ({error}). Restore it from the release.") from error
    return found if found and found.card.weights_sha256 == weights_sha256 else None


def load_presence_cards(folder: Path = WEIGHTS_FOLDER) -> PresenceCards | None:
    """The cards of all models, for their figures; None where there are none. Raises as `load_lesion_presence`."""
    path = folder / f"{NAME}.json"
    if not path.exists():
        return None
    try:
        return _parse(folder, read_regular(path, CARD_LIMIT))
    except Unreadable as error:
        raise CheckpointError(f"{path.name} cannot be read ({error}). Restore it from the release.") from error


def _parse(folder: Path, content: bytes) -> PresenceCards:
    cards: PresenceCards = parse_pinned(PresenceCards, f"{NAME}.json", content, folder)
    return cards


@lru_cache(maxsize=2)
def _load(folder: Path, content: bytes) -> Mapping[str, LesionPresence]:
    cards = _parse(folder, content)
    try:
        arrays = read_pinned_arrays(folder / f"{NAME}.safetensors", ARRAYS_LIMIT, cards.sha256)
        return {
            card.model: LesionPresence(card, arrays[f"{card.model}.weight"], float(arrays[f"{card.model}.bias"][0]))
            for card in cards.models
        }
    except (SafetensorError, KeyError) as error:
        raise Unreadable(f"its arrays are damaged: {error}") from error
