"""What the Results page and the report show, in the same words: each block is a sentence, a table, and often a figure of it.

Validation, other sites, the user's own and what the paper reports are never put into one table or figure.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from rcdnet.models.registry import CLASSES, MODELS
from rcdnet.present.text import printable
from train.evaluate.compare import compare_rows
from train.evaluate.curves import Curve, calibration, point, precision_recall, roc
from train.evaluate.figure_columns import format_estimate
from train.evaluate.predictions import PredictionRow
from train.results import charts
from train.results.bundle import Bundle, Result
from train.results.heatmap_blocks import heatmaps
from train.results.input_check_blocks import input_check_blocks
from train.results.lesion_presence_blocks import lesion_presence_blocks
from train.results.load_results import grouped
from train.results.paper_comparison import paper_comparison
from train.results.report_block import AUC, ReportBlock, interval_block
from train.results.tables import (
    Table,
    figures_table,
    in_a_sentence,
    known,
    told,
    trained_otherwise,
    training_told,
)
from train.results.verdict_blocks import three_answers
from train.results.your_hospital_blocks import your_hospital_blocks

WORST = 12  # cases of each model


def overview(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """A sentence a model; figures side by side, on the same images where several models have them; then other seeds of a recipe."""
    sentences = [in_a_sentence([r for r in bundle.validation if r.model == m]) for m in bundle.cards]
    blocks = (
        [[ReportBlock("In a sentence each", "\n\n".join([*sentences, *training_told(bundle.cards)]))]]
        if sentences
        else []
    )
    for title, results in grouped(bundle, own):
        points = [(r.name, r.name, r.figures.figures["auc"]) for r in results]
        points += [
            (
                f"{results[0].name}: {reader}" if "network" in reader else f"{reader}, no network",
                "reference",
                reference.auc,
            )
            for reader, reference in results[0].figures.references.items()
            if reference.images == results[0].figures.images
        ]
        blocks.append([interval_block(title, told(bundle, results), figures_table(results), points)])
    return blocks + _other_seeds(bundle)


def _other_seeds(bundle: Bundle) -> list[list[ReportBlock]]:
    """How far a model's figures hang on the seed of its training, where others were tried."""
    blocks = []
    for model in dict.fromkeys(r.model for r in bundle.seeds):
        of_model = [r for r in (*bundle.validation, *bundle.seeds) if r.model == model]
        results = sorted(of_model, key=lambda r: r.figures.name)  # each data set's together
        text = (
            "The same recipe on the same images, trained again from other seeds. The seed sets the image order, the augmentation and the "
            "initial weights that do not come from ImageNet. Two trainings may differ by this much, and the intervals do not account for "
            "it. The app's weights are of the seed whose images are named without a seed number."
        )
        points = [(r.images, r.name, r.figures.figures["auc"]) for r in results]
        title = f"{results[0].name} from {len(results) // len({r.figures.name for r in results})} seeds"
        blocks.append([interval_block(title, text, figures_table(results), points)])
    return blocks


def curves(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """ROC, precision and recall, calibration of each group of results."""
    blocks = []
    for title, results in grouped(bundle, own):
        at = {r.name: point(r.rows, r.figures.threshold, _malignant_share(r)) for r in results}
        rocs = {r.name: roc(r.rows) for r in results}
        precisions = {r.name: precision_recall(r.rows) for r in results}
        bins = {r.name: calibration(r.rows) for r in results}
        errors = "; ".join(f"{r.name} {format_estimate(r.figures.figures['ece'])}" for r in results)
        blocks.append([
            ReportBlock(
                f"ROC curve. {title}", f"The marker on each curve is the model's threshold. {trained_otherwise(bundle, results)}",
                figure=charts.roc_chart(rocs, at), data=_points(rocs, "false alarms", "found"),
            ),
            ReportBlock(
                f"Precision and recall. {title}",
                "Precision depends on how many of these images are malignant; a clinic's share differs.",
                figure=charts.precision_recall_chart(precisions, at, _malignant_share(results[0])),
                data=_points(precisions, "recall", "precision"),
            ),
            ReportBlock(
                f"Calibration. {title}", f"Expected calibration error: {errors}. Click a name below to draw it.",
                figure=charts.calibration_chart(bins),
                data=[
                    {"model": n, "probability": float(p), "share malignant": float(m), "images": int(k)}
                    for n, b in bins.items() for p, m, k in zip(b.probability, b.malignant, b.images, strict=True)
                ],
            ),
        ])  # fmt: skip
    return blocks


def differences(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """DeLong's test of every two models on the same images."""
    blocks = []
    for title, results in grouped(bundle, own):
        found = {(a.name, b.name): compare_rows(a.rows, b.rows) for a, b in combinations(results, 2)}
        compared = {pair: c for pair, c in found.items() if c is not None}
        if not compared:
            continue
        table: Table = [
            {
                "first": a, "second": b, "AUC of the first": round(c.first, 4), "AUC of the second": round(c.second, 4),
                "difference": round(c.difference, 4), "95 % from": known(round(c.interval[0], 4)), "to": known(round(c.interval[1], 4)),
                "p": None if math.isnan(c.p) else "< 0.0001" if c.p < 0.0001 else f"{c.p:.4f}",
            }
            for (a, b), c in compared.items()
        ]  # fmt: skip
        text = (
            f"DeLong's test by patient or near-duplicate group. {len(compared)} pairs are tested without correction for multiple "
            f"testing: expect one p-value in twenty below 0.05 by chance. {told(bundle, results)}"
        )
        blocks.append([ReportBlock(title, text, table, charts.delong_chart([r.name for r in results], compared))])
    return blocks


def other_sites(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """Trained on one data set, tested on the other."""
    if not bundle.cross_site:
        return []
    text = (
        "The same recipe, trained on one data set alone and tested on the other. No image of the test set was used to choose weights, "
        "calibration or threshold. A tenth of the data set it learnt from was kept aside to choose calibration and threshold. "
        "The recipe itself was chosen while looking at results on parts of both. At a hospital the model does not know, expect figures "
        "nearer to these than to those on validation. These are not the weights that the app uses. Neither set is the paper's "
        "external one."
    )
    points = [(f"{r.name}, {r.images}", r.name, r.figures.figures["auc"]) for r in bundle.cross_site]
    return [[interval_block("Across sites", text, figures_table(bundle.cross_site), points)]]


def subgroups(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """By BI-RADS category, scanner, marks found and lesion size."""
    blocks = []
    for r in [*bundle.validation, *own]:
        table: Table = [
            {
                "images": g.name, "number (malignant)": f"{g.images} ({g.malignant})",
                AUC: format_estimate(g.auc) if g.auc else "", "sensitivity": format_estimate(g.sensitivity),
                "specificity": format_estimate(g.specificity),
            }
            for g in r.figures.subgroups
        ]  # fmt: skip
        points = [(f"{g.name} ({g.images})", r.name, g.auc) for g in r.figures.subgroups if g.auc]
        if not table:
            continue
        text = (
            "At the model's threshold. Intervals of sensitivity and specificity are by Wilson's method, as if each image were another "
            "patient. Intervals of the AUC are by bootstrap over patients or groups. No AUC is given where one class has fewer than ten "
            "images. Groups overlap. Burned-in marks are found by a rule that misses many: many BUS-BRA images in the group without "
            "marks do carry calipers. So these two rows do not show how marks affect a call."
        )
        blocks.append([interval_block(f"{r.name}. {r.images}", text, table, points)])
    return blocks


def training(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """Loss, accuracy and AUC of the recorded runs."""
    blocks = []
    text = (
        "Training figures are on augmented images, validation figures on plain ones, all at threshold 0.5. They are of the network alone, "
        "without outline and calibration, and the AUC is the mean of the data sets. So they differ from the figures of Overview. A run "
        "that trained on every image has no validation; the runs that left images out show what the recipe does."
    )
    for model, runs in bundle.runs.items():
        if not runs:
            continue
        data: Table = [
            {
                "run": name, "epoch": e.epoch, "image size": e.size, "loss": e.loss, "accuracy": e.accuracy,
                "validation loss": e.validation_loss, "validation accuracy": e.validation_accuracy,
                "validation AUC": e.validation_auc,
            }
            for name, epochs in runs.items() for e in epochs
        ]  # fmt: skip
        blocks.append([ReportBlock(MODELS[model].title, text, figure=charts.learning_chart(runs), data=data)])
        text = ""
    return blocks


def worst_cases(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """The images furthest on the wrong side, by id, with what every model said."""
    blocks = []
    for title, results in grouped(bundle, own):
        first = results[0]
        predicted = {r.name: {row.id: row for row in r.rows} for r in results}
        worst = sorted((row for row in first.rows if _errs(first, row)), key=_wrongness, reverse=True)[:WORST]
        if not worst:
            continue
        table: Table = [
            {
                "image": printable(row.id), "truth": CLASSES[row.label], "BI-RADS": "" if row.birads is None else str(row.birads),
                "burned-in marks": {True: "found", False: "none found", None: ""}[row.marks],
                **{name: round(rows[row.id].probability, 3) for name, rows in predicted.items() if row.id in rows},
                "models that err": str(sum(_errs(r, predicted[r.name][row.id]) for r in results if row.id in predicted[r.name])),
            }
            for row in worst
        ]  # fmt: skip
        text = (
            f"The {len(worst)} images that {first.name} calls wrongly by the widest margin, with each model's probability of "
            "malignancy. The app comes without the images of the data sets; look them up there by id."
        )
        blocks.append([ReportBlock(title, text, table)])
    return blocks


SECTIONS: dict[str, Callable[[Bundle, Sequence[Result]], list[list[ReportBlock]]]] = {
    "Overview": overview,
    "Three answers": three_answers,
    "Curves": curves,
    "Differences": differences,
    "Other sites": other_sites,
    "Subgroups": subgroups,
    "Heatmaps": heatmaps,
    "Training": training,
    "Worst cases": worst_cases,
    "Your hospital": your_hospital_blocks,
    "Normal breasts": lesion_presence_blocks,
    "Other pictures": input_check_blocks,
    "Paper": paper_comparison,
}


def _points(drawn: Mapping[str, Curve], x: str, y: str) -> Table:
    return [
        {"model": name, x: float(a), y: float(b), "threshold": "" if math.isnan(t) else float(t)}
        for name, c in drawn.items()
        for a, b, t in zip(c.x, c.y, c.thresholds, strict=True)
    ]


def _malignant_share(result: Result) -> float:
    return result.figures.malignant / result.figures.images


def _wrongness(row: PredictionRow) -> float:
    return abs(row.label - row.probability)


def _errs(result: Result, row: PredictionRow) -> bool:
    return (row.probability >= result.figures.threshold) != bool(row.label)
