"""A hospital's own calibration and thresholds for a bundled model, beside those it came with and never in their place."""

from dataclasses import dataclass
from pathlib import Path

from rcdnet.errors import CheckpointError
from rcdnet.models.calibration import Calibration
from rcdnet.models.verdict import VerdictThresholds
from rcdnet.safe_read import KB, Count, Share, Unreadable, parse_as, read_json

LIMIT = 64 * KB


@dataclass(frozen=True)
class LocalOperatingPoint:
    """site: name of the hospital. weights_sha256: of the weights that this is for.

    threshold, threshold_rule: of the two answers, as on a card. verdict: of the three; where so few scans allow no threshold, low is 0
    and high is 1, and nothing is told the answer. benign, malignant: scans that chose all this. may_miss: the upper end of the 95 %
    interval of the share of cancers below `verdict.low`.
    """

    site: str
    model: str
    weights_sha256: str
    calibration: Calibration
    threshold: Share
    threshold_rule: str
    verdict: VerdictThresholds
    benign: Count
    malignant: Count
    may_miss: Share
    date: str


def read_local_operating_point(path: Path) -> LocalOperatingPoint:
    """The operating point in a file; `CheckpointError` where it cannot be read."""
    try:
        point: LocalOperatingPoint = parse_as(LocalOperatingPoint, read_json(path, LIMIT))
        if not point.calibration.network > 0 or not 0 < point.threshold < 1:
            raise Unreadable("by it every scan would get the same answer")
        return point
    except Unreadable as error:
        raise CheckpointError(
            f"The operating point in {path.parent.name} cannot be read ({error}). Make it again: python -m train adapt"
        ) from error
