"""What heatmaps are worth, over whole sets, as tables and figures."""

import math
from collections.abc import Sequence

from rcdnet.models.registry import MODELS
from rcdnet.present.charts import matrix_chart
from rcdnet.present.text import join_names
from rcdnet.reading.heatmaps import RANDOM_BASELINE
from train.data.public_datasets import TITLES
from train.evaluate.figure_columns import format_estimate
from train.results.bundle import Bundle, Result
from train.results.report_block import ReportBlock
from train.results.tables import Table, known
from train.studies.heatmap_records import CENTRE, FIGURES, MapFigures

WHERE = (
    "Each map is for the true class of its image and is compared with the hand-drawn lesion. Two floors are shown next to the "
    "methods: RandomCAM weighs the network's channels at random, and image centre is a spot in the middle of every scan. A method that "
    "is no better than these is not shown to be right."
)
TRUST = (
    "Places are those of the model's square canvas, including the border added around a scan. Insertion, deletion, ROAD and likeness "
    "take seconds per map, so they were measured on a random sample: the images examined. No interval is given for fewer than ten "
    "patients or groups."
)
MEANING = {
    "pointing": "Share of maps whose highest point lies in the lesion. High is good; a random point's share is in the table.",
    "ratio": "The share of the map that lies in the lesion, over the lesion's share of the scan. 1 is an even map.",
    "iou": "Overlap between the lesion and the map cut at half of its maximum. High is good; a coarse map cannot reach 1.",
    "best_iou": "The same at the cut that suits each map best, which nobody knows beforehand.",
    "insertion": "Area under the model's probability while only the hottest places are shown. High is good.",
    "deletion": "Area under the model's probability while the hottest places are blurred. Low is good.",
    "road": "How much more the prediction suffers from losing the hottest places than the coldest. Above 0 is good.",
    "alike": "Rank correlation with the map of a network with random weights. Near 1, the map shows the scan, not what was learnt.",
}


def heatmaps(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """Localisation and faithfulness of every model and method on validation images, each set by itself."""
    blocks = []
    for source in dict.fromkeys(f.source for f in bundle.heatmaps):
        found = [f for f in bundle.heatmaps if f.source == source]
        blocks += metric_blocks(found, TITLES.get(source, source))
    return blocks


def localisation_warnings(found: Sequence[MapFigures], models: Sequence[str], methods: Sequence[str]) -> list[str]:
    """Sentences on those of these methods and models whose maps, on any set, point at lesions surely less often than a random point
    would, or not surely more often than the two floors do.
    """
    point = {(f.source, f.model, f.method): f.figures["pointing"] for f in found}
    chance = {(f.source, f.model): f.figures["chance"].value for f in found}
    worse, no_better = [], []
    for method in methods:
        below, level = [], []
        for model in models:
            own = {source: e for (source, m, of), e in point.items() if (m, of) == (model, method)}
            floors = {
                s: [point[s, model, f].value for f in (RANDOM_BASELINE, CENTRE) if (s, model, f) in point] for s in own
            }
            if any(e.high < chance[s, model] for s, e in own.items()):
                below.append(MODELS[model].title)
            elif any(e.low <= max(floors[s], default=0) for s, e in own.items()):
                level.append(MODELS[model].title)
        if below:
            worse.append(
                f"Beware: on validation images {method} of {join_names(below)} pointed at the lesion less often than chance would."
            )
        if level:
            no_better.append(
                f"On validation images {method} of {join_names(level)} did not surely find the lesion more often than the middle of the "
                "scan, or a map by chance, does."
            )
    return worse + no_better


def metric_blocks(found: Sequence[MapFigures], title: str) -> list[list[ReportBlock]]:
    """A figure of each kind, then everything as a table."""
    shown = [block for key in MEANING if (block := _drawn(found, key, title))]
    rows = [
        {
            "model": MODELS[f.model].title, "method": f.method, "maps": str(f.images), "of these examined": str(f.examined),
            **{name: format_estimate(f.figures[key]) for key, name in FIGURES.items()},
        }
        for f in found
    ]  # fmt: skip
    table = ReportBlock(f"All figures of the heatmaps. {title}", f"{WHERE}\n\n{TRUST}", rows)
    return [*(shown[k : k + 2] for k in range(0, len(shown), 2)), [table]]


def _drawn(found: Sequence[MapFigures], key: str, title: str) -> ReportBlock | None:
    """One figure of each model and method with its interval; None where nothing was examined."""
    drawn = [f for f in found if not math.isnan(f.figures[key].value)]
    if not drawn:
        return None
    name = FIGURES[key]
    rows: Table = [
        {"model": MODELS[f.model].title, "method": f.method, name: e.value, "low": known(e.low), "high": known(e.high)}
        for f in drawn
        for e in [f.figures[key]]
    ]
    pairs = {(f.method, MODELS[f.model].title): f.figures[key] for f in drawn}
    words = {
        pair: f"{e.value:.2f}" if math.isnan(e.low) else f"{e.value:.2f}<br>{e.low:.2f} to {e.high:.2f}"
        for pair, e in pairs.items()
    }
    values = {pair: e.value for pair, e in pairs.items()}
    methods, models = (list(dict.fromkeys(pair[k] for pair in pairs)) for k in (0, 1))
    reach = min(values.values()), max(values.values())
    chart = matrix_chart(methods, models, values, words, reach, "")
    return ReportBlock(f"{name[:1].upper()}{name[1:]}. {title}", MEANING[key], figure=chart, data=rows)
