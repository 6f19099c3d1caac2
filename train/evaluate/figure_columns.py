"""The columns in which figures of an evaluation are shown, and how one is written."""

import math

from train.evaluate.evaluation_record import Estimate, SetMetrics
from train.metrics.intervals import MINIMUM_GROUPS

# The columns of the paper's tables 1 and 2, whose precision, recall and F1 are means of both classes; then ours.
COLUMNS = {
    "precision_macro": "precision (macro)",
    "recall_macro": "recall (macro)",
    "f1_macro": "F1 (macro)",
    "accuracy": "accuracy",
    "auc": "AUC",
    "auc_by_group": "AUC by patient or group",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "specificity_at_95": "specificity at 95 % sensitivity",
    "ece": "ECE",
    "pointing": "pointing game",
    "dice": "Dice of the outline",
}


def unsure(s: SetMetrics) -> str:
    """Which of the figures of `COLUMNS` have no interval, and why; empty where all that may have one do."""
    figures = s.figures | {"auc_by_group": s.auc_by_group}
    names = [
        title
        for key, title in COLUMNS.items()
        if key != "ece" and not math.isnan(figures[key].value) and math.isnan(figures[key].low)
    ]
    few = f"{s.groups} patients or groups are too few" if s.groups < MINIMUM_GROUPS else "no resample differs"
    return f"no interval of {', '.join(names)} on {s.name}: {few}." if names else ""


def format_estimate(estimate: Estimate) -> str:
    """With its interval, where it has one; empty where the figure is undefined."""
    if math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
