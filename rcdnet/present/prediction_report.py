"""Calls as a table, and one scan as a figure, for taking away from the app or the command line."""

import csv
from collections.abc import Iterable, Sequence
from io import BytesIO, StringIO

from matplotlib.figure import Figure
from scipy.special import logit

from rcdnet.models.calibration import Calibration
from rcdnet.models.card import ModelCard
from rcdnet.present.overlay import fit_within, overlay
from rcdnet.present.statements import ON_PHANTOMS, RESEARCH_USE
from rcdnet.present.text import escape_formula, join_names
from rcdnet.reading.inference import Prediction
from rcdnet.scans.scan_and_mask import Scan

COLUMNS = ("image", "sha256", "model", "p_malignant", "threshold", "call", "warnings", "error")
_FIGURE_SIDE_PX = 900


def call_row(image: str, scan: Scan, prediction: Prediction) -> dict[str, object]:
    """One model's call on one scan, as the command line and the CSV give it; `warnings` only where there are some."""
    row: dict[str, object] = {
        "image": image,
        "sha256": scan.sha256,
        "model": prediction.model,
        "p_malignant": prediction.p_malignant,
        "threshold": prediction.threshold,
        "call": prediction.call,
    }
    warnings = [*([f"{ON_PHANTOMS}."] if prediction.on_phantoms else []), *scan.warnings]
    return row | {"warnings": " ".join(warnings)} if warnings else row


def calls_csv(rows: Iterable[dict[str, object]]) -> str:
    """Rows of `call_row`, or of `image` and `error`, as CSV with a header.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: escape_formula(value) if isinstance(value, str) else value for key, value in row.items()})
    return text.getvalue()


def call_sentence(p: Prediction) -> str:
    """Probability and threshold in words."""
    probability, threshold = distinct_decimals(p)
    side = "at or above" if p.call == "malignant" else "below"
    sentence = f"Probability of malignancy {probability}: {side} {threshold}, {p.threshold_rule}."
    likelier, other = ("malignant", "benign") if p.p_malignant >= 0.5 else ("benign", "malignant")
    if likelier != p.call:  # a threshold that finds nearly every cancer lies far below one half
        sentence += f" By this probability, {likelier} is more likely than {other}."
    return sentence


def distinct_decimals(p: Prediction) -> tuple[str, str]:
    """Probability and threshold, with as many decimals as it takes to see which is larger."""
    digits = next((d for d in range(2, 6) if f"{p.p_malignant:.{d}f}" != f"{p.threshold:.{d}f}"), 6)
    return f"{p.p_malignant:.{digits}f}", f"{p.threshold:.{digits}f}"


def trust_sentence(card: ModelCard) -> str:
    """How far a model's calls can be trusted, from the figures it was shipped with."""
    chosen, *applied = card.validation
    sentences = [
        f"On {chosen.data}, where the threshold was chosen: AUC {chosen.auc:.2f} ({chosen.auc_interval[0]:.2f} to "
        f"{chosen.auc_interval[1]:.2f}), {(1 - chosen.specificity) * 100:.0f} % of the benign lesions called malignant."
    ]
    sentences += [
        f"On {f.data}: {f.sensitivity * 100:.0f} % of {f.malignant} cancers found, {(1 - f.specificity) * 100:.0f} % of the "
        "benign lesions called malignant."
        for f in applied
    ]
    if not card.measured_itself:
        sentences.append(
            "These figures come from runs of the same training without those images. The weights used here were trained on them too."
        )
    calibrated = "is calibrated on those images alone" if card.calibration != Calibration() else "is not calibrated"
    return " ".join([*sentences, f"The probability {calibrated}. It is not an individual patient's risk."])


def evidence_sentence(p: Prediction) -> str:
    """Which parts of the evidence speak for which class, and how loudly, in log-odds; empty where there is the network alone."""
    if not any(value for part, value in p.parts.items() if part != "network"):
        return ""
    words = {
        "network": "the network, explained by the heatmap",
        "outline": "the inside of an outline too uncertain to draw" if p.misses_lesion else "the inside of its outline",
        "shape": "the outline's shape",
    }
    terms = [
        f"{words[part]} ({value:+.1f}, {'neutral' if value == 0 else 'toward malignant' if value > 0 else 'toward benign'})"
        for part, value in (
            (part, round(value, 1) + 0.0) for part, value in p.parts.items()
        )  # + 0.0: no minus before a zero
    ]
    constant = logit(p.p_malignant) - sum(p.parts.values())
    return f"The call adds up three parts, in log-odds: {join_names(terms)}. Every scan also gets a constant of {constant:+.1f}."


def agreement(predictions: Sequence[Prediction]) -> str:
    """One plain sentence on how the other models' calls relate to the first one's."""
    first, others = predictions[0], predictions[1:]
    if not others:
        return f"{first.title} calls this scan {first.call}; no other model was run."
    same = [p.title for p in others if p.call == first.call]
    differing = [p.title for p in others if p.call != first.call]
    if not differing:
        return f"All {len(predictions)} models call this scan {first.call}."
    if len(others) == 1:
        return f"{first.title} calls this scan {first.call}, {differing[0]} {others[0].call}."
    if not same:
        return (
            f"Only {first.title} calls this scan {first.call}; the other {len(others)} models call it {others[0].call}."
        )
    return (
        f"{len(same) + 1} of {len(predictions)} models call this scan {first.call}, as {first.title} does; "
        f"{join_names(differing)} {'differs' if len(differing) == 1 else 'differ'}."
    )


def scan_figure(
    scan: Scan, predictions: Sequence[Prediction], *, opacity: float = 0.5, colour_map: str = "Turbo"
) -> bytes:
    """The scan beside each model's overlay of the class it calls, as PNG bytes.

    Named by the first digits of its SHA-256: a file name may carry a patient's, and a figure is made to be shown.
    """
    view = fit_within(scan.pixels, _FIGURE_SIDE_PX)
    panels = len(predictions) + 1
    columns = min(panels, 4)
    rows = -(-panels // columns)
    figure = Figure(figsize=(4.2 * columns, 4.4 * rows + 0.9), dpi=110, facecolor="black", layout="constrained")
    figure.suptitle(f"Scan {scan.sha256[:8]}   ·   {RESEARCH_USE}", color="white", fontsize=12)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    axes[0].imshow(view, cmap="gray", vmin=0, vmax=255)
    axes[0].set_title("Scan as uploaded", color="white", fontsize=11)
    for axis, p in zip(axes[1:], predictions, strict=False):
        axis.imshow(overlay(view, p.heat(p.call, view.shape), opacity=opacity, colour_map=colour_map))
        probability, threshold = distinct_decimals(p)
        axis.set_title(
            f"{p.title}: {p.call}\np {probability}, threshold {threshold}, map strength {p.strength(p.call):.2g}",
            color="white",
            fontsize=10,
        )
    figure.supxlabel(
        "Heatmap: Grad-CAM of the predicted class, each scaled to its own maximum. " + " ".join(scan.warnings),
        color="white",
        fontsize=9,
        wrap=True,
    )
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
