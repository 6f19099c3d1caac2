"""Whether a picture is one breast B-mode scan, asked before any model reads it.

Out-of-distribution detection in two ways (see Yang et al. 2024, doi:10.1007/s11263-024-02117-4): a classifier that was shown other
kinds of picture names the kind, and the distance from the scans' principal subspace finds what nobody thought of. The check has its
own trunk, so weights may be trained anew without it.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from scipy.special import logsumexp

from rcdnet.errors import CheckpointError, NotAScan
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, parse_pinned, read_pinned_arrays
from rcdnet.reading.picture_features import picture_features
from rcdnet.safe_read import KB, MB, Count, Unreadable, read_regular
from rcdnet.scans.scan_and_mask import Scan

NAME = "input_check"
CARD_LIMIT, ARRAYS_LIMIT = 100 * KB, 20 * MB
CLIP = 10.0  # deviations from the mean beyond which a feature says no more
READ, WARNED, NOT_READ = "read", "warned", "not read"


@dataclass(frozen=True)
class Outcomes:
    """What became of pictures of one kind, or of scans: how many there were, how many were not read, and how many warned of."""

    kind: str
    pictures: Count
    refused: Count
    warned: Count


@dataclass(frozen=True)
class LeftOutSite:
    """The check without a data set, tried on its scans, on the same scans varied, and on other pictures that were drawn with them."""

    data: str
    scans: Outcomes
    varied: Outcomes
    others: tuple[Outcomes, ...]


@dataclass(frozen=True)
class InputCheckCard:
    """kinds: of other pictures, as in a sentence. refuse, warn: a score from which a picture is not read, or read with a warning; of the
    classifier in log-odds, of the distance in deviations. trained_on: data sets. sha256: of the arrays' file."""

    kinds: tuple[str, ...]
    refuse: tuple[float, float]
    warn: tuple[float, float]
    trained_on: tuple[str, ...]
    left_out: tuple[LeftOutSite, ...]
    date: str
    sha256: str


@dataclass(frozen=True)
class Assessment:
    """outcome: READ, WARNED or NOT_READ. kind: what the picture looks like where it is not read as it is; empty if like nothing known."""

    outcome: str
    kind: str
    log_odds: float
    distance: float


@dataclass(frozen=True)
class Scores:
    """How far a picture is from a scan. log_odds: of any other kind. distance: from the scans' subspace. likeliest: index of a kind."""

    log_odds: float
    distance: float
    likeliest: int


@dataclass(frozen=True, eq=False)
class Detector:
    """centre, scale: of each feature among scans, (D,). components: of their principal subspace, (P, D).

    weight, bias: a logistic classifier of standardised features, (K + 1, D) and (K + 1,), scans first, then the kinds.
    """

    centre: np.ndarray = field(repr=False)
    scale: np.ndarray = field(repr=False)
    components: np.ndarray = field(repr=False)
    weight: np.ndarray = field(repr=False)
    bias: np.ndarray = field(repr=False)

    def scores(self, features: np.ndarray) -> Scores:
        """Of what `picture_features` gives."""
        x = np.clip((features - self.centre) / self.scale, -CLIP, CLIP)
        logits = self.weight @ x + self.bias
        distance = np.sqrt(np.mean((x - self.components.T @ (self.components @ x)) ** 2))
        return Scores(float(logsumexp(logits[1:]) - logits[0]), float(distance), int(logits[1:].argmax()))


@dataclass(frozen=True, eq=False)
class InputCheck:
    """A detector, with the bars on its card."""

    card: InputCheckCard
    detector: Detector

    def assess(self, pixels: np.ndarray) -> Assessment:
        """Of a grey picture, uint8 (H, W)."""
        return self.assess_features(picture_features(pixels))

    def assess_features(self, features: np.ndarray) -> Assessment:
        """Of what `picture_features` gives."""
        scores, card = self.detector.scores(features), self.card

        def reaches(bars: tuple[float, float]) -> bool:
            return scores.log_odds >= bars[0] or scores.distance >= bars[1]

        outcome = NOT_READ if reaches(card.refuse) else WARNED if reaches(card.warn) else READ
        named = outcome != READ and scores.log_odds >= card.warn[0]
        return Assessment(outcome, card.kinds[scores.likeliest] if named else "", scores.log_odds, scores.distance)


def check_input(scan: Scan) -> Scan:
    """The scan, with a warning where the check has doubts.

    Raises:
        NotAScan: it is another picture. CheckpointError: the check is missing or damaged.
    """
    found = load_input_check().assess(scan.pixels)
    if found.outcome == NOT_READ:
        looks = f"looks like {found.kind}, not" if found.kind else "does not look like"
        raise NotAScan(f"This {looks} one breast B-mode scan, so no model reads it. Export a single view.")
    if found.outcome == WARNED:
        looks = f" and resembles {found.kind}" if found.kind else ""
        warning = (
            f"This picture is unlike most breast B-mode scans{looks}. Do not trust this answer unless it is one view of a breast, "
            "exported from the scanner."
        )
        return replace(scan, warnings=(*scan.warnings, warning))
    return scan


def load_input_check(folder: Path = WEIGHTS_FOLDER) -> InputCheck:
    """The check that came with the app, shared; read again when its card changes.

    Raises:
        CheckpointError: it is missing, damaged or not the one that was shipped.
    """
    try:
        content = read_regular(folder / f"{NAME}.json", CARD_LIMIT)
    except Unreadable as error:
        raise CheckpointError(f"{NAME}.json cannot be read ({error}). Restore it from the release.") from error
    return _load(folder, content)


@lru_cache(maxsize=2)
def _load(folder: Path, content: bytes) -> InputCheck:
    try:
        card: InputCheckCard = parse_pinned(InputCheckCard, f"{NAME}.json", content, folder)
        arrays = read_pinned_arrays(folder / f"{NAME}.safetensors", ARRAYS_LIMIT, card.sha256)
        return InputCheck(card, Detector(**arrays))
    except (Unreadable, SafetensorError, TypeError) as error:
        raise CheckpointError(
            f"The input check cannot be read ({error}). Restore {NAME}.json and {NAME}.safetensors from the release."
        ) from error
