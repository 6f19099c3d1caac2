"""Plotly figures for the pages."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import plotly.graph_objects as go

from rcdnet.inference import Prediction

# Told apart by lightness and by sign, not by hue alone.
CALL_COLOURS = {"malignant": "#ff8a5c", "benign": "#6ec1ff"}
CALL_SIGNS = {"malignant": "▲", "benign": "●"}


def probability_bars(predictions: Sequence[Prediction], silent: Mapping[str, str] = MappingProxyType({})) -> go.Figure:
    """One bar of malignant probability for each model, with its own threshold as a white line across it.

    `silent` says in a word or two why a model, by title, gives no answer; it keeps an empty row with that.
    """
    order = [*[p.title for p in predictions], *silent]
    figure = go.Figure(
        go.Bar(
            x=[p.p_malignant for p in predictions],
            y=[p.title for p in predictions],
            orientation="h",
            marker_color=[CALL_COLOURS[p.call] for p in predictions],
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_scatter(
        x=[p.threshold for p in predictions],
        y=[p.title for p in predictions],
        mode="markers",
        marker={"symbol": "line-ns", "size": 24, "line": {"width": 4, "color": "#ffffff"}},
        name="threshold of the model",
        hovertemplate="%{y}: threshold %{x:.3f}<extra></extra>",
    )
    said = {p.title: f"{CALL_SIGNS[p.call]} {p.call} {p.p_malignant:.2f}" for p in predictions} | dict(silent)
    for title in order:  # beside the plot, where no bar or line can cover it
        figure.add_annotation(
            x=1.01, xref="paper", y=title, text=said[title], showarrow=False, xanchor="left", font={"size": 16}
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
            "categoryarray": order[::-1],
        },  # plotly counts from the bottom
        bargap=0.4,
    )
    return figure
