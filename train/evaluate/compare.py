"""Evaluations side by side: the paper's tables for any runs, and DeLong's test between every two of them."""

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from train.evaluate.evaluation_files import verified_predictions
from train.evaluate.evaluation_record import Evaluation, read_evaluation
from train.evaluate.figure_columns import COLUMNS, format_estimate, unsure
from train.evaluate.predictions import PredictionRow
from train.folders import RESULTS_FOLDER
from train.metrics.delong import Comparison, compare_auc_by_group


def shipped() -> list[Path]:
    """The folders of every evaluation that came with the app."""
    return sorted(path.parent for path in RESULTS_FOLDER.rglob("evaluation.json"))


def read_all(folders: Sequence[Path]) -> list[tuple[str, Evaluation]]:
    """Name and evaluation of each folder; `DatasetError` says of one that has none how to make it."""
    return [(_name(folder), read_evaluation(folder / "evaluation.json")) for folder in folders]


def table(evaluations: Sequence[tuple[str, Evaluation]]) -> str:
    """A Markdown table, a row for each evaluation and set, figures with their 95 % intervals; references below, then what has none."""
    header = ["run", "model", "images", "role", *COLUMNS.values()]
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    references: dict[tuple, list[str]] = {}
    for name, evaluation in evaluations:
        for s in evaluation.sets:
            images = f"{s.name}: {s.images} ({s.malignant} malignant)"
            cells = [name, evaluation.model, images, s.role.partition(":")[0]]
            figures = s.figures | {"auc_by_group": s.auc_by_group}
            lines.append("| " + " | ".join([*cells, *(format_estimate(figures[column]) for column in COLUMNS)]) + " |")
            for reader, r in s.references.items():
                blank = ["" for _ in COLUMNS]
                blank[list(COLUMNS).index("auc")] = format_estimate(r.auc)
                # Runs that validated on the same images share the reference.
                references.setdefault((reader, s.name, r), ["reference", reader, f"{s.name}: {r.images}", "", *blank])
    missing = [
        f"{name}: {reason}" for name, evaluation in evaluations for s in evaluation.sets if (reason := unsure(s))
    ]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in references.values()), *missing])


def delong_lines(folders: Sequence[Path], evaluations: Sequence[tuple[str, Evaluation]]) -> list[str]:
    """A sentence for every two weights that predicted the same images of a source, patients and near-copies averaged.

    Raises:
        DatasetError: predictions that are not those of the evaluation beside them.
    """
    parts: dict[tuple, tuple[str, str, list[PredictionRow]]] = {}
    for folder, (name, evaluation) in zip(folders, evaluations, strict=True):
        rows = verified_predictions(folder, evaluation)
        for source in sorted({row.source for row in rows}):  # a single fold stands beside its own pool: once is enough
            part = [row for row in rows if row.source == source]
            parts.setdefault((evaluation.weights_sha256, source, frozenset(r.id for r in part)), (name, source, part))
    lines, apart = [], 0
    for (first, source, first_rows), (second, other, second_rows) in combinations(parts.values(), 2):
        if source != other:
            continue
        compared = compare_rows(first_rows, second_rows)
        if compared is None:
            apart += 1
            continue
        low, high = compared.interval
        interval = ", no interval" if math.isnan(low) else f" [{low:+.3f}, {high:+.3f}]"
        lines.append(
            f"{first} against {second} on {source}, by patient or group: AUC {compared.first:.3f} and "
            f"{compared.second:.3f}, difference {compared.difference:+.3f}{interval}, {compared.p_value}"
        )
    if apart:
        lines.append(
            f"{apart} more pairs did not predict the same images of a source, or too few, and are not compared."
        )
    return lines


def _name(folder: Path) -> str:
    """The run's own name, with the external test's behind it."""
    return f"{folder.parent.parent.name} on {folder.name}" if folder.parent.name == "external" else folder.name


def compare_rows(first: Sequence[PredictionRow], second: Sequence[PredictionRow]) -> Comparison | None:
    """DeLong's test of two models on the same images, by group means; None if they differ, or a class has under two groups."""
    other = {row.id: row for row in second}
    if {i: row.label for i, row in other.items()} != {row.id: row.label for row in first}:
        return None
    labels, groups = np.array([row.label for row in first]), np.array([row.group for row in first])
    scores = [np.array([row.probability for row in first]), np.array([other[row.id].probability for row in first])]
    return compare_auc_by_group(labels, groups, *scores)
