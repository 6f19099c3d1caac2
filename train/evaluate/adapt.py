"""A bundled model at a hospital: how far its calibration and thresholds are off there, and an operating point of the hospital's own."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.special import logit

from rcdnet.errors import DatasetError
from rcdnet.models.calibration import MOST, Calibration
from rcdnet.models.local_operating_point import LocalOperatingPoint
from train.crash_safe_files import write_atomic
from train.evaluate.evaluation_files import verified_predictions
from train.evaluate.evaluation_record import read_evaluation
from train.evaluate.external_test import OPERATING_POINT
from train.evaluate.predictions import PredictionRow
from train.folders import BUNDLED, RUNS_FOLDER
from train.metrics.intervals import share_interval
from train.metrics.local_operating_point import DRAWS, LocalPoint, Simulated, local_point, simulate

FEWEST = 20  # labelled scans of a hospital, below which nothing is chosen on them
HALVES = 40  # scans from which a half can choose and the other half be counted


@dataclass(frozen=True)
class Adaptation:
    """What a hospital's labelled scans say of a bundled model. expected: its mean probability of malignancy. found: the share malignant.

    local: the operating point that they would choose. halves: what such points were worth that one half chose, on the other half;
    None where there are too few scans.
    """

    site: str
    model: str
    benign: int
    malignant: int
    expected: float
    found: float
    local: LocalPoint
    halves: Simulated | None


@lru_cache(maxsize=8)  # a page is drawn often
def adaptation(site: str, model: str, rows: tuple[PredictionRow, ...]) -> Adaptation:
    """From what a bundled model said of a hospital's labelled scans.

    Raises:
        DatasetError: there are too few scans, or of one class alone.
    """
    if len(rows) < FEWEST:
        raise DatasetError(f"{site} has {len(rows)} scans with a label; {FEWEST} or more are expected. Label more.")
    labels, log_odds = np.array([row.label for row in rows]), _log_odds(rows)
    groups = np.array([row.group for row in rows])
    local = local_point(labels, log_odds)
    enough = len(rows) >= HALVES and min(len(np.unique(groups[labels == k])) for k in (0, 1)) >= 2
    return Adaptation(
        site,
        model,
        int((labels == 0).sum()),
        int((labels == 1).sum()),
        float(np.mean([row.probability for row in rows])),
        float(labels.mean()),
        local,
        simulate(labels, log_odds, groups, [len(rows) // 2])[0] if enough else None,
    )


def bundled_tests(runs: Path = RUNS_FOLDER) -> dict[str, Path]:
    """External tests of bundled models, by the names that results have them under."""
    places = sorted(runs.glob(f"{BUNDLED}*/external/*/evaluation.json"))
    return {f"{place.parent.parent.parent.name} on {place.parent.name}": place.parent for place in places}


def adaptation_sentences(found: Adaptation) -> list[str]:
    """What was found, for a page or a terminal."""
    lines = [
        "Counted are all scans labelled as having a lesion, also those on which the model would see none.",
        f"Calibration: on average the model expects {found.expected * 100:.0f} of 100 scans of {found.site} to be malignant; "
        f"{found.found * 100:.0f} are.",
        f"An operating point chosen on these {found.benign + found.malignant} scans calls malignant from {found.local.threshold:.3f} on, "
        f"low suspicion below {found.local.verdict.low:.3f} and high suspicion from {found.local.verdict.high:.3f} on.",
    ]
    if not found.local.verdict.low:
        lines.append(
            f"Among {found.malignant} cancers no threshold can promise to miss at most 2 %: that takes 49. So nothing is told low "
            "suspicion."
        )
    if halves := found.halves:
        lines.append(
            f"Chosen on one half of them and counted on the other, {DRAWS} times: sensitivity {_range(halves.sensitivity)}, specificity "
            f"{_range(halves.specificity)}; low suspicion for {_range(halves.missed)} of the cancers and {_range(halves.cleared)} of the "
            "benign lesions (median, and where 90 of 100 lie)."
        )
    else:
        lines.append(f"With fewer than {HALVES} scans nothing can be said of how it does on others. Label more.")
    return lines


def _range(share: tuple[float, float, float]) -> str:
    return f"{share[0]:.2f} [{share[1]:.2f}, {share[2]:.2f}]"


def save_local_operating_point(test: Path) -> LocalOperatingPoint:
    """Choose an operating point on the scans of a bundled model's external test and keep it beside the test, where *Analyse* offers it.

    Raises:
        DatasetError: there is no such test, or as `adaptation`.
    """
    evaluation = read_evaluation(test / "evaluation.json")
    rows = tuple(verified_predictions(test, evaluation))
    found = adaptation(test.name, evaluation.model, rows)
    probabilities = found.local.probability(_log_odds(rows))
    cancers = {row.group for row in rows if row.label == 1}
    below = {
        row.group for row, p in zip(rows, probabilities, strict=True) if row.label == 1 and p < found.local.verdict.low
    }
    shipped, local = evaluation.calibration, found.local
    bias = local.slope * shipped.bias + local.bias
    if abs(bias) > MOST:
        raise DatasetError(
            f"An operating point for {found.site} would lie beyond any certainty. Check the labels of its scans."
        )
    point = LocalOperatingPoint(
        site=found.site,
        model=found.model,
        weights_sha256=evaluation.weights_sha256[0],
        calibration=Calibration(
            local.slope * shipped.network,
            local.slope * shipped.outline,
            local.slope * shipped.shape,
            bias,
            shipped.box,
        ),
        threshold=local.threshold,
        threshold_rule=f"the threshold that found 95 % of the cancers of {found.site}",
        verdict=local.verdict,
        benign=found.benign,
        malignant=found.malignant,
        may_miss=share_interval(len(below) / len(cancers), len(cancers))[1],
        date=date.today().isoformat(),
    )
    write_atomic(test / OPERATING_POINT, (json.dumps(asdict(point), indent=1, allow_nan=False) + "\n").encode())
    return point


def local_operating_points(runs: Path = RUNS_FOLDER) -> dict[str, dict[str, Path]]:
    """Where operating points lie that were saved, by site and model."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(runs.glob(f"{BUNDLED}*/external/*/{OPERATING_POINT}")):
        model = path.parent.parent.parent.name.removeprefix(BUNDLED)
        found.setdefault(path.parent.name, {})[model] = path
    return found


def _log_odds(rows: Sequence[PredictionRow]) -> np.ndarray:
    return logit(np.clip([row.probability for row in rows], 1e-12, 1 - 1e-12))
