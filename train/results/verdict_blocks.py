"""What the three answers and conformal sets meant on scans that did not choose their thresholds, as tables and figures."""

from collections.abc import Sequence

import plotly.graph_objects as go

from rcdnet.models.verdict import VERDICTS, VerdictCounts
from rcdnet.present.answers import ANSWERS
from train.metrics.verdict_thresholds import LEVEL, MISSED, REACHED
from train.results.bundle import Bundle, Result
from train.results.report_block import ReportBlock
from train.results.tables import Table, share_in_percent

MEANING = (
    f"Low suspicion was meant to miss at most {MISSED * 100:.0f} % of the cancers and high suspicion to reach at most "
    f"{REACHED * 100:.0f} % of the benign lesions, on the images that chose the thresholds. The table shows what other images were told: "
    "each row is of images that chose none of its thresholds. The rest is uncertain, and a person has to read it. Intervals are Wilson's, "
    "as if each image were another patient."
)
CONFORMAL = (
    f"A conformal set holds the classes that cannot be excluded. It holds the true class for {LEVEL * 100:.0f} % of the scans of each "
    "class, if they are like those that chose the thresholds. At another hospital they are not, so the coverage there is measured, not "
    "promised. A set of one class is an answer; one of both is none."
)
_COLUMNS = (("benign", "benign lesions"), ("malignant", "cancers"))


def three_answers(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """Shares of each answer, then of conformal sets, for every result whose images chose no threshold of theirs."""
    counted = [(r, r.verdicts) for r in (*bundle.validation, *bundle.cross_site, *own) if r.verdicts]
    if not counted:
        return []
    answers: Table = [
        {"": r.name, "images": r.images}
        | {
            f"{who}: {ANSWERS[name].word}": share_in_percent(getattr(c, key)[k], sum(getattr(c, key)))
            for key, who in _COLUMNS
            for k, name in enumerate(VERDICTS)
        }
        for r, c in counted
    ]
    sets: Table = [
        {
            "": r.name,
            "images": r.images,
            "sets of one class": share_in_percent(c.one_class, sum(c.benign) + sum(c.malignant)),
            "benign lesions covered": share_in_percent(c.covered[0], sum(c.benign)),
            "cancers covered": share_in_percent(c.covered[1], sum(c.malignant)),
        }
        for r, c in counted
    ]
    data: Table = [
        {"": f"{r.name}, {r.images}", "class": who, "answer": ANSWERS[name].word, "scans": getattr(c, key)[k]}
        for r, c in counted
        for key, who in _COLUMNS
        for k, name in enumerate(VERDICTS)
    ]
    return [
        [ReportBlock("Three answers", MEANING, answers, _bars(counted), data)],
        [ReportBlock("Conformal sets", CONFORMAL, sets)],
    ]


def _bars(counted: Sequence[tuple[Result, VerdictCounts]]) -> go.Figure:
    """A bar of cancers and one of benign lesions for each result, divided by answer."""
    figure = go.Figure()
    rows = [(f"{r.images}: {who}", getattr(c, key)) for r, c in counted for key, who in reversed(_COLUMNS)]
    for k, name in enumerate(VERDICTS):
        figure.add_bar(
            y=[title for title, _ in rows], x=[counts[k] / max(1, sum(counts)) for _, counts in rows], orientation="h",
            name=f"{ANSWERS[name].sign} {ANSWERS[name].word}", marker_color=ANSWERS[name].colour,
            hovertemplate="%{y}: %{x:.1%}<extra>" + ANSWERS[name].word + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="stack", height=130 + 34 * len(rows), margin={"l": 10, "r": 10, "t": 40, "b": 10}, font={"size": 14},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", range=[0, 1], title="share of scans")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure
