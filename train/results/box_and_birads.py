"""A model against what can be said of the same images without a network: the lesion's box, and the BI-RADS category."""

from collections.abc import Sequence
from dataclasses import replace

from train.evaluate.compare import compare_rows
from train.evaluate.predictions import PredictionRow
from train.metrics.delong import Comparison

BOX, BIRADS = "box geometry", "BI-RADS category"  # as evaluations name them
READERS = {BOX: "the lesion's box alone", BIRADS: "the radiologist's BI-RADS category alone"}
SIGNIFICANT = 0.05
NO_DIFFERENCE = "no difference shown"


def against(rows: Sequence[PredictionRow], reader: str) -> Comparison | None:
    """A model against `BOX` or `BIRADS`; None where an image lacks a category, or too few are of one class."""
    scores = [row.box_score if reader == BOX else row.birads for row in rows]
    others = [
        replace(row, probability=float(score)) for row, score in zip(rows, scores, strict=True) if score is not None
    ]
    return compare_rows(rows, others)


def verdict(c: Comparison | None) -> str:
    """Whether the first is better, worse, or neither is shown."""
    if c is None or not c.p < SIGNIFICANT:
        return NO_DIFFERENCE
    return "better" if c.difference > 0 else "worse"


def verdict_with_p(c: Comparison | None) -> str:
    """The verdict with its p-value; empty where nothing was compared."""
    return f"{verdict(c)}, {c.p_value}" if c else ""
