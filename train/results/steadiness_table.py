"""How steady calls are, as rows of a table."""

import math
from collections.abc import Sequence

from rcdnet.models.registry import MODELS
from train.data.public_datasets import TITLES
from train.results.tables import Table
from train.studies.steadiness import Steadiness


def steadiness_table(found: Sequence[Steadiness]) -> Table:
    """A row for each weights, set and change: how many calls change, and the AUC without and with the change."""
    return [
        {
            "weights": MODELS[s.weights].title if s.weights in MODELS else s.weights,
            "images": f"{TITLES.get(s.source, s.source)}, {s.images}{' (may have trained it)' if s.seen else ''}",
            "change": s.change,
            "calls that change": f"{s.flips.value * 100:.1f} %{_interval(s.flips.low, s.flips.high)}",
            "AUC as it is": "" if s.auc is None else f"{s.auc.first:.3f}",
            "AUC changed": "" if s.auc is None else f"{s.auc.second:.3f}",
            "difference": "" if s.auc is None else s.auc.p_value,
        }
        for s in found
    ]


def _interval(low: float, high: float) -> str:
    return f" [{low * 100:.1f}, {high * 100:.1f}]" if not math.isnan(low) else ""
