"""Plotly figures of predictions and heatmaps."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import plotly.graph_objects as go

from rcdnet.present.answers import answer, label
from rcdnet.reading.inference import Prediction


def similarity_chart(names: Sequence[str], alike: Mapping[tuple[str, str], tuple[float, float]]) -> go.Figure:
    """Rank correlation of every two maps, and below it how much of their hottest fifths they share."""
    words = {pair: f"{correlation:.2f}<br>{shared * 100:.0f} %" for pair, (correlation, shared) in alike.items()}
    values = {pair: correlation for pair, (correlation, _) in alike.items()}
    return matrix_chart(names, names, values, words, (-1.0, 1.0), "rank<br>correlation")


def matrix_chart(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[str, str], float],
    words: Mapping[tuple[str, str], str],
    reach: tuple[float, float],
    title: str,
) -> go.Figure:
    """Values by row and column, coloured over `reach`, in two directions if that holds 0 inside; a pair without one stays empty.

    The colour bar is drawn if it has a `title`.
    """
    low, high = reach
    blue, white = "#4393c3", "#f2f2f2"
    colours = [[0, "#b35806"], [-low / (high - low), white], [1, blue]] if low < 0 < high else [[0, white], [1, blue]]
    figure = go.Figure(
        go.Heatmap(
            z=[[values.get((a, b)) for b in columns] for a in rows], text=[[words.get((a, b), "") for b in columns] for a in rows],
            x=list(columns), y=list(rows), texttemplate="%{text}", textfont={"size": 13, "color": "#101418"},
            zmin=low, zmax=high, colorscale=colours, xgap=2, ygap=2, hoverinfo="skip",
            showscale=bool(title), colorbar={"title": {"text": title}},
        )
    )  # fmt: skip
    figure.update_layout(height=150 + 56 * len(rows), margin={"l": 10, "r": 10, "t": 70, "b": 10}, font={"size": 15})
    axis = {"automargin": True, "tickfont": {"size": 15}, "ticks": "", "showgrid": False}
    figure.update_yaxes(autorange="reversed", **axis)
    figure.update_xaxes(side="top", **axis)
    return figure


def removal_chart(shares: Sequence[float], curves: Mapping[str, Sequence[float]], title: str) -> go.Figure:
    """A class's probability over the share of the canvas that was blurred, or shown, one line for each method."""
    figure = go.Figure()
    dashes = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
    for k, (name, values) in enumerate(curves.items()):
        figure.add_scatter(
            x=[100 * s for s in shares], y=values, name=name, mode="lines+markers", line={"dash": dashes[k % 6], "width": 2},
            hovertemplate=name + ": %{y:.2f} at %{x:.0f} %<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        height=380, margin={"l": 10, "r": 10, "t": 50, "b": 10}, title=title, font={"size": 15},
        legend={"orientation": "h", "y": -0.25},
    )  # fmt: skip
    figure.update_xaxes(title="share of the canvas, hottest places first, %", range=[-2, 102])
    figure.update_yaxes(title="probability of the class", range=[-0.02, 1.02])
    return figure


def probability_bars(
    predictions: Sequence[Prediction], silent: Mapping[str, str] = MappingProxyType({}), *, binary: bool = False
) -> go.Figure:
    """One bar of malignant probability for each model, with its own thresholds as white lines across it.

    `silent` says in a word or two why a model, by title, gives no answer; it keeps an empty row with that, as does a model that
    sees no lesion.
    """
    order = [*[p.title for p in predictions], *silent]
    labels = {p.title: label(p, binary=binary) for p in predictions} | dict(silent)
    predictions = [p for p in predictions if not p.no_lesion]
    figure = go.Figure(
        go.Bar(
            x=[p.p_malignant for p in predictions],
            y=[p.title for p in predictions],
            orientation="h",
            marker_color=[answer(p, binary=binary).colour for p in predictions],
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_scatter(
        x=[at for p in predictions for at in _thresholds(p, binary)],
        y=[p.title for p in predictions for _ in _thresholds(p, binary)],
        mode="markers",
        marker={"symbol": "line-ns", "size": 24, "line": {"width": 4, "color": "#ffffff"}},
        name="threshold of the model"
        if all(len(_thresholds(p, binary)) == 1 for p in predictions)
        else "thresholds of the model",
        hovertemplate="%{y}: threshold %{x:.3f}<extra></extra>",
    )
    for title in order:  # beside the plot, where no bar or line can cover it
        figure.add_annotation(
            x=1.01, xref="paper", y=title, text=labels[title], showarrow=False, xanchor="left", font={"size": 16}
        )
    figure.update_layout(
        height=110 + 42 * len(order),
        margin={"l": 10, "r": 160, "t": 40, "b": 10},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right", "font": {"size": 15}},
        xaxis={
            "range": [0, 1],
            "fixedrange": True,
            "automargin": True,
            "tickfont": {"size": 15},
            "title": {"text": "probability of malignancy", "font": {"size": 15}, "standoff": 12},
        },
        yaxis={
            "fixedrange": True,
            "automargin": True,
            "tickfont": {"size": 16},
            "categoryorder": "array",
            "categoryarray": order[::-1],  # Plotly counts from the bottom
        },
        bargap=0.4,
    )
    return figure


def _thresholds(p: Prediction, binary: bool) -> tuple[float, ...]:
    return (p.threshold,) if binary or p.thresholds is None else (p.thresholds.low, p.thresholds.high)
