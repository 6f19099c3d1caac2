"""The paper's tables, and ours with the same columns; never in one table."""

from collections.abc import Sequence

from rcdnet.models.registry import MODELS
from rcdnet.present.text import join_names
from train.results import paper_results
from train.results.bundle import Bundle, Result
from train.results.load_results import grouped
from train.results.report_block import ReportBlock
from train.results.tables import Table, paper_table, told


def _starts(bundle: Bundle) -> str:
    """What the bundled weights started from, in words."""
    words = {"random": "random numbers", "imagenet": "ImageNet weights"}
    models: dict[str, list[str]] = {}
    for card in bundle.cards.values():
        start = words.get(str(card.recipe.get("init")), "other weights")
        models.setdefault(start, []).append(MODELS[card.model].title)
    if len(models) < 2:
        return next(iter(models), "what their cards say")
    return ", ".join(f"{start} ({join_names(titles)})" for start, titles in models.items())


def paper_comparison(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """The paper's tables, and ours with the same columns, each under its own heading."""
    names = {"precision": "precision", "recall": "recall", "f1": "F1", "accuracy": "accuracy"}

    def reported(rows, aucs=()) -> Table:
        return [
            {"model": MODELS[r.model].title, **{title: f"{getattr(r, key):.4f}" for key, title in names.items()},
             "AUC": f"{dict(aucs)[r.model]:.4f}" if r.model in dict(aucs) else "not given"}
            for r in rows
        ]  # fmt: skip

    started = (
        "The paper's RcdNet starts from pre-trained weights; how its other models start is not stated. Ours start from "
        f"{_starts(bundle)}. Our calls also weigh an outline learnt from lesion masks, which the paper does not use. The paper splits the "
        "images 7:3 and says that duplicates were screened, but not how. Our split keeps patients and near-copies together; BUSI has many "
        "near-copies. The two sets of figures cannot be compared."
    )
    internal = ReportBlock(
        "Reported by the paper: internal validation, its table 1",
        f"Three tenths of BUSI. {started}",
        reported(paper_results.INTERNAL),
    )
    external = ReportBlock(
        "Reported by the paper: external test, its table 2", f"{paper_results.NOT_REPRODUCIBLE} None of our data is that set.",
        reported(paper_results.EXTERNAL, paper_results.EXTERNAL_AUC.items()),
    )  # fmt: skip
    ours = [
        [ReportBlock(f"Measured here, on validation. {title}", told(bundle, results), paper_table(results))]
        for title, results in grouped(bundle, ())
    ]
    text = "Trained on one data set, tested on the other."
    sites = (
        [[ReportBlock("Measured here, across sites", text, paper_table(bundle.cross_site))]]
        if bundle.cross_site
        else []
    )
    return [[internal, external], *ours, *sites]
