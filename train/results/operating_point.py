"""A threshold, what it is worth on a result's images, and the meaning of a call where more or fewer lesions are malignant."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from rcdnet.models.registry import CLASSES
from train.evaluate.curves import Point, arrays, point
from train.results import charts
from train.results.bundle import Bundle, Result
from train.results.report_block import ReportBlock
from train.results.tables import Table, roles

PREVALENCES = (0.05, 0.1, 0.2, 0.4)


def operating_point(result: Result, threshold: float, prevalence: float) -> tuple[Point, go.Figure, go.Figure]:
    """What a threshold is worth on a result's images, their confusion, and their probabilities around it."""
    at = point(result.rows, threshold, prevalence)
    labels, scores = arrays(result.rows)
    return (
        at,
        charts.confusion_chart(at.confusion),
        charts.score_chart(scores[labels == 0], scores[labels == 1], threshold),
    )


def scored(result: Result) -> ReportBlock:
    """What the figures of `operating_point` are drawn from."""
    rows: Table = [
        {"image": r.id, "truth": CLASSES[r.label], "probability of malignancy": r.probability} for r in result.rows
    ]
    return ReportBlock(f"Probabilities of {result.name}. {result.images}", "", data=rows)


def at_thresholds(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """What the chosen thresholds are worth: confusion, and the meaning of a call where more or fewer lesions are malignant.

    For a reader who cannot move a slider; the page has `operating_point` instead.
    """
    blocks = []
    for r in [*bundle.validation, *bundle.cross_site, *own]:
        points = [point(r.rows, r.figures.threshold, prevalence) for prevalence in PREVALENCES]
        table: Table = [
            {
                "share malignant": f"{at.prevalence * 100:.0f} %", "sensitivity": _number(at.sensitivity),
                "specificity": _number(at.specificity), "PPV": _number(at.ppv), "NPV": _number(at.npv),
            }
            for at in points
        ]  # fmt: skip
        text = f"At {r.figures.threshold:.3f}, {r.rule}. {roles([r])}"
        blocks.append(ReportBlock(f"{r.name}. {r.images}", text, table, charts.confusion_chart(points[0].confusion)))
    return [blocks[k : k + 2] for k in range(0, len(blocks), 2)]


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.3f}"
