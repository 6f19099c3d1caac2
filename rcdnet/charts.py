"""Plotly figures for the pages."""

from collections.abc import Sequence

import plotly.graph_objects as go

from rcdnet.inference import Prediction

# Told apart by lightness and by sign, not by hue alone.
CALL_COLOURS = {"malignant": "#ff8a5c", "benign": "#6ec1ff"}
CALL_SIGNS = {"malignant": "▲", "benign": "●"}


def probability_bars(predictions: Sequence[Prediction]) -> go.Figure:
    """One bar of malignant probability for each model, with its own threshold as a white line across it."""
    rows = list(reversed(predictions))  # plotly draws the first row at the bottom
    figure = go.Figure(
        go.Bar(
            x=[p.p_malignant for p in rows],
            y=[p.title for p in rows],
            orientation="h",
            marker_color=[CALL_COLOURS[p.call] for p in rows],
            text=[f"{CALL_SIGNS[p.call]} {p.call} {p.p_malignant:.2f}" for p in rows],
            textposition="auto",
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            showlegend=False,
        )
    )
    figure.add_scatter(
        x=[p.threshold for p in rows],
        y=[p.title for p in rows],
        mode="markers",
        marker={"symbol": "line-ns", "size": 26, "line": {"width": 4, "color": "#ffffff"}},
        name="threshold of the model",
        hovertemplate="%{y}: threshold %{x:.3f}<extra></extra>",
    )
    figure.update_layout(
        height=60 + 46 * len(rows),
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        font={"size": 16},
        legend={"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"},
        xaxis={"range": [0, 1], "title": "probability of malignancy", "fixedrange": True},
        yaxis={"fixedrange": True},
        bargap=0.35,
    )
    return figure
