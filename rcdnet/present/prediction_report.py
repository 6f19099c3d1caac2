"""Calls as a table, and one scan as a figure, to take away from the app or the command line."""

import csv
from collections.abc import Iterable, Sequence
from io import BytesIO, StringIO

from matplotlib.figure import Figure

from rcdnet.errors import NotAScan
from rcdnet.present.answers import answer
from rcdnet.present.overlay import fit_within, overlay
from rcdnet.present.prediction_sentences import numbers
from rcdnet.present.statements import ON_PHANTOMS, RESEARCH_USE
from rcdnet.present.text import escape_formula
from rcdnet.reading.inference import Classifier, Prediction
from rcdnet.reading.input_check import NOT_READ
from rcdnet.scans.scan_and_mask import Scan

COLUMNS = ("image", "sha256", "model", "p_malignant", "threshold", "call", "verdict", "warnings", "error")
_OF_A_CALL = ("p_malignant", "threshold", "call")
_FIGURE_SIDE_PX = 900


def call_row(image: str, scan: Scan, prediction: Prediction) -> dict[str, object]:
    """One model's call on one scan, as the command line and the CSV give it; `warnings` only where there are some."""
    row: dict[str, object] = {
        "image": image,
        "sha256": scan.sha256,
        "model": prediction.model,
        **{name: None if prediction.no_lesion else getattr(prediction, name) for name in _OF_A_CALL},
        "verdict": prediction.verdict or None,
    }
    warnings = [
        *([f"{ON_PHANTOMS}."] if prediction.on_phantoms else []),
        *([f"By the operating point of {prediction.site}."] if prediction.site else []),
        *scan.warnings,
    ]
    return row | {"warnings": " ".join(warnings)} if warnings else row


def not_read_row(image: str, scan: Scan, classifier: Classifier, refusal: NotAScan) -> dict[str, object]:
    """As `call_row`, of a picture that no model read; its reason stands among the warnings."""
    empty = dict.fromkeys(_OF_A_CALL)
    names = {"image": image, "sha256": scan.sha256, "model": classifier.name}
    return {**names, **empty, "verdict": NOT_READ, "warnings": " ".join([str(refusal), *scan.warnings])}


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


def scan_figure(
    scan: Scan,
    predictions: Sequence[Prediction],
    *,
    opacity: float = 0.5,
    colour_map: str = "Turbo",
    binary: bool = False,
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
        title = f"{p.title}: {answer(p, binary=binary).word}\n{numbers(p, binary=binary)}"
        if p.no_lesion:
            axis.imshow(view, cmap="gray", vmin=0, vmax=255)
        else:
            axis.imshow(overlay(view, p.heat(p.call, view.shape), opacity=opacity, colour_map=colour_map))
            title += f", map strength {p.strength(p.call):.2g}"
        axis.set_title(title, color="white", fontsize=10)
    local = [f"{p.title} answers by the operating point of {p.site}." for p in predictions if p.site]
    figure.supxlabel(
        "Heatmap: Grad-CAM of the predicted class, each scaled to its own maximum. "
        + " ".join([*local, *scan.warnings]),
        color="white",
        fontsize=9,
        wrap=True,
    )
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
