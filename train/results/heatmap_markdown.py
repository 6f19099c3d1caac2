"""What heatmaps are worth, for a Markdown document."""

from collections.abc import Mapping, Sequence

from rcdnet.models.registry import MODELS
from rcdnet.present.text import join_names
from rcdnet.reading.heatmaps import RANDOM_BASELINE
from train.data.public_datasets import TITLES
from train.evaluate.figure_columns import format_estimate
from train.results.markdown_tables import markdown_list, markdown_table
from train.results.tables import Table
from train.studies.heatmap_records import CENTRE, MapFigures

METHOD = "Grad-CAM"  # of the Analyse page
COLUMNS = {
    "pointing": "hottest point in the lesion",
    "ratio": "energy inside over chance",
    "iou": "IoU at half",
    "insertion": "insertion",
    "deletion": "deletion",
    "road": "ROAD",
}
By = Mapping[tuple[str, str, str], MapFigures]  # model, source and method


def heatmap_paragraphs(found: Sequence[MapFigures], warnings: Sequence[str]) -> list[str]:
    """Of each model's Grad-CAM and the two floors; `warnings` are sentences on methods that point beside the lesion."""
    if not found:
        return []
    by = {(f.model, f.source, f.method): f for f in found}
    table: Table = [
        {"model": MODELS[f.model].title, "images": TITLES[f.source], "map": f.method}
        | {title: format_estimate(f.figures[key]) for key, title in COLUMNS.items()}
        for f in found
        if f.method in (METHOD, RANDOM_BASELINE, CENTRE)
    ]
    models = list(dict.fromkeys(f.model for f in found))
    sets: Table = [
        {
            "model": MODELS[f.model].title, "images": TITLES[f.source], "maps": f.images, "examined for faithfulness": f.examined,
            f"ROAD above {RANDOM_BASELINE}": _above(by, f, RANDOM_BASELINE), f"ROAD above {CENTRE}": _above(by, f, CENTRE),
        }
        for f in found if f.method == METHOD
    ]  # fmt: skip
    return [
        "Measured by `python -m train heatmaps` on validation images alone, each by the run that left it out; the map is the one for the "
        f"true class. Two floors stand beside each method: {RANDOM_BASELINE} weighs the network's channels by chance, and {CENTRE} is a "
        "spot in the middle of the scan. [heatmaps.md](heatmaps.md) says what each column means; the Results page has every method.",
        markdown_list([*_where(by, models[0]), *warnings]),
        markdown_table(table),
        f"Does a network use what its {METHOD} shows? Where ROAD is above that of a floor, their intervals apart, it does.",
        markdown_table(sets),
    ]


def _where(by: By, model: str) -> list[str]:
    """Where a model's maps point, how well they cover the lesion, and what blurring leaves, on each set."""
    sources = [source for m, source, method in by if (m, method) == (model, METHOD)]

    def each(key: str, digits: int, method: str = METHOD, times: int = 1) -> str:
        return join_names([f"{times * by[model, s, method].figures[key].value:.{digits}f}" for s in sources])

    name, counts = MODELS[model].title, list(dict.fromkeys(by[model, s, METHOD].examined for s in sources))
    examined = (
        f"{counts[0]} images of each set" if len(counts) == 1 else f"{join_names([str(n) for n in counts])} images"
    )
    return [
        f"The hottest point of {name}'s {METHOD} lies in the lesion on {each('pointing', 0, times=100)} of 100 images of "
        f"{join_names([TITLES[s] for s in sources])}. A random point would on {each('chance', 0, times=100)}, the hottest of "
        f"{RANDOM_BASELINE} does on {each('pointing', 0, RANDOM_BASELINE, 100)}, the middle of the scan on "
        f"{each('pointing', 0, CENTRE, 100)}.",
        f"Cut at half of its maximum it overlaps the lesion with an IoU of {each('iou', 2)}: it does not outline.",
        f"On {examined}, blurring what it shows leaves a mean probability of {each('deletion', 2)} (low is good), against "
        f"{each('deletion', 2, RANDOM_BASELINE)} for {RANDOM_BASELINE} and {each('deletion', 2, CENTRE)} for the middle of the scan.",
    ]


def _above(by: By, f: MapFigures, floor: str) -> str:
    return "yes" if f.figures["road"].low > by[f.model, f.source, floor].figures["road"].high else "not shown"
