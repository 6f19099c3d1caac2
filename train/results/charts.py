"""Plotly figures of evaluations, for the Results page and the report; nothing that trains imports this."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rcdnet.models.registry import MODELS
from rcdnet.present.charts import matrix_chart
from train.evaluate.curves import Bins, Curve, Point
from train.evaluate.evaluation_record import Estimate
from train.fit.events import Epoch
from train.metrics.classification import Confusion
from train.metrics.delong import Comparison

# Okabe and Ito's colours, told apart by colour-blind readers; dashes and signs say the same again.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#A68BF0", "#D55E00", "#B0A060", "#7F8C99")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SIGNS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
DIAGONAL = {"color": "#7F8C99", "width": 1, "dash": "dot"}
BENIGN, MALIGNANT = "#6ec1ff", "#ff8a5c"
TEXT = {"size": 15}
MODEL_TITLES = [spec.title for spec in MODELS.values()]


def roc_chart(curves: Mapping[str, Curve], points: Mapping[str, Point]) -> go.Figure:
    """ROC curves by name, each with its operating point as a sign."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=DIAGONAL, name="chance", hoverinfo="skip")
    for name, style in _styles(curves).items():
        curve, point = curves[name], points[name]
        figure.add_scatter(
            x=curve.x, y=curve.y, mode="lines", name=name, legendgroup=name, line=style["line"], customdata=curve.thresholds,
            hovertemplate=name + ": sensitivity %{y:.3f}, false alarms %{x:.3f} at threshold %{customdata:.3f}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[1 - point.specificity], y=[point.sensitivity], mode="markers", legendgroup=name, showlegend=False,
            marker=style["marker"], name=f"{name}, threshold",
            hovertemplate=f"{name} at its threshold {point.threshold:.3f}: sensitivity %{{y:.3f}}, "
            f"specificity {point.specificity:.3f}<extra></extra>",
        )  # fmt: skip
    return _square(figure, "share of benign lesions called malignant", "share of cancers found")


def precision_recall_chart(
    curves: Mapping[str, Curve], points: Mapping[str, Point], malignant_share: float
) -> go.Figure:
    """Precision over recall by name; the dotted line is what guessing gives on these images."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[malignant_share] * 2, mode="lines", line=DIAGONAL, name="chance", hoverinfo="skip")
    for name, style in _styles(curves).items():
        curve, point = curves[name], points[name]
        figure.add_scatter(
            x=curve.x, y=curve.y, mode="lines", name=name, legendgroup=name, line=style["line"],
            hovertemplate=name + ": precision %{y:.3f} at recall %{x:.3f}<extra></extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=[point.sensitivity], y=[point.ppv], mode="markers", legendgroup=name, showlegend=False, marker=style["marker"],
            hovertemplate=name + " at its threshold: precision %{y:.3f}, recall %{x:.3f}<extra></extra>",
        )  # fmt: skip
    return _square(figure, "recall: share of cancers found", "precision: share of malignant calls that are cancers")


def calibration_chart(bins: Mapping[str, Bins]) -> go.Figure:
    """Share malignant over the probability said, by name; the larger the sign, the more images; the diagonal is perfect.

    The first is drawn, the others when their name is clicked: six at once cannot be read.
    """
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=DIAGONAL, name="perfect", hoverinfo="skip")
    for k, (name, style) in enumerate(_styles(bins).items()):
        b = bins[name]
        figure.add_scatter(
            x=b.probability, y=b.malignant, mode="lines+markers", name=name, line=style["line"] | {"width": 1.5},
            marker=style["marker"] | {"size": 5 + 25 * np.sqrt(b.images / b.images.sum())}, customdata=b.images,
            visible=True if k == 0 else "legendonly",
            hovertemplate=name + ": predicted %{x:.2f}, observed %{y:.2f} in %{customdata} images<extra></extra>",
        )  # fmt: skip
    return _square(figure, "predicted probability of malignancy", "observed share malignant")


def interval_chart(estimates: Sequence[tuple[str, str, Estimate]], label: str) -> go.Figure:
    """Figures with their 95 % intervals, one a row from the top, coloured by who: (row, who, estimate)."""
    figure = go.Figure()
    rows = list(dict.fromkeys(row for row, _, _ in estimates))
    for who, style in _styles(who for _, who, _ in estimates).items():
        own = [(row, e) for row, name, e in estimates if name == who]
        figure.add_scatter(
            x=[e.value for _, e in own], y=[row for row, _ in own], name=who, mode="markers",
            marker=style["marker"] | {"size": 12},
            error_x={
                "type": "data", "symmetric": False, "thickness": 2, "width": 6,
                "array": [e.high - e.value for _, e in own], "arrayminus": [e.value - e.low for _, e in own],
            },
            customdata=[[e.low, e.high] for _, e in own],
            hovertemplate="%{y}: %{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}]<extra></extra>",
        )  # fmt: skip
    figure.update_layout(height=130 + 34 * len(rows))
    figure.update_xaxes(
        range=[max(0.0, min(e.value if math.isnan(e.low) else e.low for _, _, e in estimates) - 0.03), 1.005]
    )
    figure.update_yaxes(categoryorder="array", categoryarray=rows[::-1], automargin=True, tickfont=TEXT)
    return _named(figure, label, "")


def delong_chart(names: Sequence[str], compared: Mapping[tuple[str, str], Comparison]) -> go.Figure:
    """Difference in AUC, row less column, of every two models that were compared, with DeLong's p below it."""
    values, words = {}, {}
    for (row, column), c in compared.items():
        for pair, difference in (((row, column), c.difference), ((column, row), -c.difference)):
            values[pair], words[pair] = difference, f"{difference:+.3f}<br>{c.p_value}"
    reach = max([0.02, *(abs(c.difference) for c in compared.values())])
    return matrix_chart(names, names, values, words, (-reach, reach), "row less<br>column")


def learning_chart(runs: Mapping[str, Sequence[Epoch]], *, columns: int = 4) -> go.Figure:
    """Loss, accuracy, AUC and learning rate of each run over its epochs; validation as signs, training as dotted lines."""
    panels = {
        "loss": ("loss", "validation_loss"),
        "accuracy": ("accuracy", "validation_accuracy"),
        "AUC on validation": (None, "validation_auc"),
        "learning rate": ("learning_rate", None),
    }
    rows = len(panels) // columns
    figure = make_subplots(rows, columns, subplot_titles=list(panels), vertical_spacing=0.16)
    for name, style in _styles(runs).items():
        validated = [e for e in runs[name] if e.validation_auc is not None]
        for place, (training, validation) in enumerate(panels.values()):
            where = {"row": place // columns + 1, "col": place % columns + 1}
            for epochs, value, what, look in (
                (runs[name], training, "training", {"mode": "lines", "line": style["line"] | {"width": 1.5, "dash": "dot"}}),
                (validated, validation, "validation", {
                    "mode": "lines+markers", "line": style["line"] | {"dash": "solid"}, "marker": style["marker"] | {"size": 7},
                }),
            ):  # fmt: skip
                if value and epochs:
                    figure.add_scatter(
                        x=[e.epoch for e in epochs], y=[getattr(e, value) for e in epochs], name=f"{name}, {what}",
                        legendgroup=name, showlegend=place == 0, **look, **where,
                    )  # fmt: skip
    figure = _named(figure, "", "").update_layout(height=300 * rows + 130, margin_t=70)
    return figure.update_xaxes(title="epoch", row=rows).update_layout(legend_y=-0.3 / rows)


def roc_by_epoch_chart(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> go.Figure:
    """ROC curves by name, each as its false and true positive rates."""
    figure = go.Figure()
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=DIAGONAL, name="chance", hoverinfo="skip")
    for name, style in _styles(curves).items():
        x, y = curves[name]
        figure.add_scatter(
            x=x, y=y, mode="lines", name=name, line=style["line"],
            hovertemplate=name + ": finds %{y:.3f}, false alarms %{x:.3f}<extra></extra>",
        )  # fmt: skip
    return _square(figure, "share of benign lesions called malignant", "share of cancers found")


def confusion_chart(c: Confusion) -> go.Figure:
    """Truth down, call across."""
    counts = [[c.true_positive, c.false_negative], [c.false_positive, c.true_negative]]
    shares = [[n / max(1, sum(row)) for n in row] for row in counts]
    words = [
        [f"<b>{n}</b><br>{share * 100:.0f} %" for n, share in zip(*row, strict=True)]
        for row in zip(counts, shares, strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=shares, x=["called malignant", "called benign"], y=["malignant", "benign"], text=words, zmin=0, zmax=1,
            texttemplate="%{text}", textfont={"size": 20}, showscale=False, xgap=3, ygap=3, hoverinfo="skip",
            colorscale=[[0, "#14202b"], [1, "#2f6f9f"]],
        )
    )  # fmt: skip
    figure.update_traces(textfont_color="#ffffff")
    figure.update_layout(height=300)
    figure.update_yaxes(autorange="reversed", tickfont=TEXT, automargin=True)
    figure.update_xaxes(side="top", tickfont=TEXT)
    return _named(figure, "", "")


def confusion_charts(of: Mapping[str, Confusion]) -> go.Figure:
    """The confusion matrix of each run by its name, one below the other, as `confusion_chart`."""
    if len(of) == 1:
        return confusion_chart(*of.values())
    height = 300 * len(of)
    figure = make_subplots(len(of), 1, subplot_titles=list(of), vertical_spacing=90 / height)
    for row, c in enumerate(of.values(), start=1):
        figure.add_traces(confusion_chart(c).data, rows=row, cols=1)
    figure.update_yaxes(autorange="reversed", tickfont=TEXT, automargin=True)
    figure.update_xaxes(side="bottom", tickfont=TEXT)
    return _named(figure, "", "").update_layout(height=height, margin_t=50)


def score_chart(benign: np.ndarray, malignant: np.ndarray, threshold: float) -> go.Figure:
    """How many benign and malignant images have which probability, and where the threshold parts them."""
    figure = go.Figure()
    for name, scores, colour in (("benign", benign, BENIGN), ("malignant", malignant, MALIGNANT)):
        figure.add_histogram(
            x=scores, name=name, marker_color=colour, opacity=0.75, xbins={"start": 0, "end": 1, "size": 0.025}
        )
    figure.add_vline(
        x=threshold,
        line={"width": 3, "color": "#E69F00"},
        annotation_text=" threshold",
        annotation_position="top right",
    )
    figure.update_layout(barmode="overlay", height=300)
    figure.update_xaxes(range=[0, 1])
    return _named(figure, "probability of malignancy", "images")


def _styles(names: Iterable[str]) -> dict[str, dict]:
    """Line and marker of each name: a model looks the same in every figure, RcdNet boldest; others take what is left."""
    wanted = list(dict.fromkeys(names))
    places = {name: MODEL_TITLES.index(name) for name in wanted if name in MODEL_TITLES}
    left = cycle([k for k in range(len(PALETTE)) if k not in places.values()])
    return {name: _style(places[name] if name in places else next(left)) for name in wanted}


def _style(place: int) -> dict:
    colour, dash, sign = PALETTE[place], DASHES[place % len(DASHES)], SIGNS[place % len(SIGNS)]
    return {
        "line": {"color": colour, "dash": dash, "width": 2.0 if place else 3.5},
        "marker": {"color": colour, "symbol": sign, "size": 13, "line": {"width": 1, "color": "#101418"}},
    }


def _square(figure: go.Figure, x: str, y: str) -> go.Figure:
    figure.update_layout(height=520)
    figure.update_xaxes(range=[-0.01, 1.01], constrain="domain")
    figure.update_yaxes(range=[-0.01, 1.01], scaleanchor="x", constrain="domain")
    return _named(figure, x, y)


def _named(figure: go.Figure, x: str, y: str) -> go.Figure:
    """Axes named, the legend below, no title: the page and the report have their own."""
    figure.update_layout(
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        legend={"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0, "font": TEXT},
        font={"size": 15},
    )
    figure.update_xaxes(title={"text": x, "font": {"size": 15}}, automargin=True)
    figure.update_yaxes(title={"text": y, "font": {"size": 15}}, automargin=True)
    return figure
