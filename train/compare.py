"""Evaluations side by side: the paper's tables for any runs, and DeLong's test between every two of them."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from train.delong import Comparison, compare_auc
from train.evaluation import Estimate, Evaluation, read_evaluation
from train.metrics import group_means
from train.predictions import Row, read_predictions

# The columns of the paper's tables 1 and 2, whose precision, recall and F1 are means of both classes; then ours.
COLUMNS = {
    "precision_macro": "precision (macro)",
    "recall_macro": "recall (macro)",
    "f1_macro": "F1 (macro)",
    "accuracy": "accuracy",
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ece": "ECE",
}


def read_all(folders: Sequence[Path]) -> list[tuple[str, Evaluation]]:
    """Name and evaluation of each folder; `DatasetError` says of one that has none how to make it."""
    return [(folder.name, read_evaluation(folder / "evaluation.json")) for folder in folders]


def table(evaluations: Sequence[tuple[str, Evaluation]]) -> str:
    """A Markdown table, a row for each evaluation and set, figures with their 95 % intervals."""
    header = ["run", "model", "images", *COLUMNS.values()]
    references: dict[str, tuple[Estimate, int]] = {}
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    for name, evaluation in evaluations:
        for s in evaluation.sets:
            cells = [name, evaluation.model, f"{s.name}: {s.images} ({s.malignant} malignant)"]
            lines.append("| " + " | ".join([*cells, *(_cell(s.figures[column]) for column in COLUMNS)]) + " |")
            references |= {f"{reader} on {s.name}": figures for reader, figures in s.references.items()}
    for reader, (auc, count) in references.items():
        blank = ["" for _ in COLUMNS]
        blank[list(COLUMNS).index("auc")] = _cell(auc)
        lines.append("| " + " | ".join(["reference", reader, str(count), *blank]) + " |")
    return "\n".join(lines)


def delong_lines(folders: Sequence[Path]) -> list[str]:
    """A sentence for every two folders that predicted the same images of a source, patients and near-copies averaged."""
    rows = {folder.name: read_predictions(folder / "predictions.csv") for folder in folders}
    lines = []
    for first, second in combinations(rows, 2):
        sources = {row.source for row in rows[first]} & {row.source for row in rows[second]}
        for source in sorted(sources):
            compared = compare_rows(*([r for r in rows[name] if r.source == source] for name in (first, second)))
            if compared is None:
                lines.append(f"{first} and {second} on {source}: not the same images, so not compared")
                continue
            low, high = compared.interval
            lines.append(
                f"{first} against {second} on {source}, by patient or group: AUC {compared.first:.3f} and "
                f"{compared.second:.3f}, difference {compared.difference:+.3f} [{low:+.3f}, {high:+.3f}], p = {compared.p:.3f}"
            )
    return lines


def compare_rows(first: Sequence[Row], second: Sequence[Row]) -> Comparison | None:
    """DeLong's test of two models on the same images, by group means; None if the images differ or lack a class."""
    other = {row.id: row for row in second}
    if other.keys() != {row.id for row in first}:
        return None
    labels, groups = np.array([row.label for row in first]), np.array([row.group for row in first])
    scores = [np.array([row.probability for row in first]), np.array([other[row.id].probability for row in first])]
    means = [group_means(labels, s, groups) for s in scores]
    if len(np.unique(means[0][0])) < 2:
        return None
    return compare_auc(means[0][0], means[0][1], means[1][1])


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
