"""Every figure of the shipped models as one Markdown document, from their cards and the records of their evaluations."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from rcdnet.models.card import Figures, ModelCard
from rcdnet.models.registry import MODELS
from rcdnet.present.statements import DATA, PAPER_DIFFERENCES
from rcdnet.reading.heatmaps import METHODS
from train.data.public_datasets import TITLES
from train.evaluate.compare import compare_rows
from train.evaluate.evaluation_files import verified_predictions
from train.evaluate.evaluation_record import Estimate, read_evaluation
from train.evaluate.figure_columns import format_estimate
from train.evaluate.predictions import PredictionRow
from train.folders import RESULTS_FOLDER
from train.publish.pool_folds import cross_fitted
from train.results.at_a_glance import summary, trust
from train.results.box_and_birads import BOX, READERS, against, verdict_with_p
from train.results.bundle import Bundle
from train.results.heatmap_blocks import localisation_warnings
from train.results.heatmap_markdown import heatmap_paragraphs
from train.results.markdown_tables import markdown_list, markdown_table
from train.results.report_block import AUC
from train.results.tables import Table, in_a_sentence, measured_how

NETWORK = "the network without its outline"
EARLIER = "rcdnet-b0-fold4"  # RcdNet from random numbers, as the baselines are
START = {"imagenet": "ImageNet weights", "random": "random weights"}


def figures_document(bundle: Bundle, results_folder: Path = RESULTS_FOLDER) -> str:
    """The whole of `docs/figures.md`; `results_folder` is where the bundle's records lie."""
    sections = {
        "At a glance": [summary(bundle), trust(bundle)],
        "In a sentence each": [
            markdown_list([in_a_sentence([r for r in bundle.validation if r.model == m]) for m in bundle.cards]),
            measured_how(bundle.cards),
        ],
        "The data": [*DATA, PAPER_DIFFERENCES],
        "On images that were left out": _left_out(bundle),
        "At another hospital": _cross_site(bundle),
        "Beside the lesion's box and BI-RADS": _readers(bundle),
        "If other folds choose calibration and threshold": _cross_fitted(bundle, results_folder),
        "From other seeds": _seeds(bundle),
        "RcdNet and the baselines, all from random weights": _like_with_like(bundle, results_folder),
        "Heatmaps": heatmap_paragraphs(
            bundle.heatmaps, localisation_warnings(bundle.heatmaps, list(bundle.cards), list(METHODS))
        ),
        "How the weights were made": _training(bundle),
    }
    head = (
        "# Figures\n\n"
        "`python -m train figures --out docs/figures.md` writes this page from the model cards in `assets/weights` and the records in "
        "`assets/results`. Do not edit it by hand.\n\n"
        f"Each AUC is by image, with a 95 % interval by bootstrap over patients ({TITLES['busbra']}) or groups of near-copies "
        f"({TITLES['busi']}, which has no patient ids). Models are compared by DeLong's test, on the mean of each patient or group; no "
        "p-value is corrected for the number of comparisons. [experiments.md](experiments.md) has every trial behind the recipe."
    )
    body = (f"## {title}\n\n" + "\n\n".join(filter(None, blocks)) for title, blocks in sections.items() if blocks)
    return "\n\n".join([head, *body]) + "\n"


def figures_row(card: ModelCard, f: Figures) -> dict[str, str]:
    """A line of the table of validation, from the card beside the weights."""
    low, high = f.auc_interval
    return {
        "model": MODELS[card.model].title,
        "images": f.data,
        "number (malignant)": f"{f.images} ({f.malignant})",
        AUC: f"{f.auc:.3f} [{low:.3f}, {high:.3f}]",
        "AUC by patient or group": f"{f.auc_by_group:.3f}",
        "threshold": f"{card.threshold:.3f}",
        "sensitivity": f"{f.sensitivity:.3f}",
        "specificity": f"{f.specificity:.3f}",
    }


def _left_out(bundle: Bundle) -> list[str]:
    more: Table = [
        {
            "model": r.name, "images": r.images, "specificity at 95 % sensitivity": _value(r.figures.figures["specificity_at_95"]),
            "calibration error": _value(r.figures.figures["ece"]), "hottest place in the lesion": _value(r.figures.figures["pointing"]),
            "Dice of the outline": _value(r.figures.figures["dice"]), f"AUC of {NETWORK}": _value(r.figures.references[NETWORK].auc),
        }
        for r in bundle.validation
    ]  # fmt: skip
    return [
        f"Each threshold was chosen on the {TITLES['busbra']} images of its model to find 95 % of the cancers: the sensitivity there is "
        "chosen, not measured. Calibration was fitted on the same images, so the AUC leans to the good side too. The recipe was settled "
        "while watching folds 1 and 2, and earlier trials also looked at fold 4.",
        markdown_table([figures_row(card, f) for card in bundle.cards.values() for f in card.validation]),
        "A call weighs two or three parts: the network, which the heatmap explains; what the decoder says of the inside of the predicted "
        "outline; and, of RcdNet, MobileNetV2 and ViT, the outline's shape. The hottest place is a cell of the map before interpolation.",
        markdown_table(more),
    ]


def _cross_site(bundle: Bundle) -> list[str]:
    if not bundle.cross_site:
        return []
    means = [
        f"{np.mean([r.figures.auc_by_group.value for r in bundle.cross_site if r.figures.name == source]):.3f} on {TITLES[source]}"
        for source in dict.fromkeys(r.figures.name for r in bundle.cross_site)
    ]
    rows: Table = [
        {
            "RcdNet": r.images, "number (malignant)": f"{f.images} ({f.malignant})", AUC: format_estimate(f.figures["auc"]),
            "AUC by patient or group": _value(f.auc_by_group), "sensitivity": _value(f.figures["sensitivity"]),
            "specificity": _value(f.figures["specificity"]), f"AUC of {READERS[BOX]}": _value(f.references[BOX].auc),
            "RcdNet against the box": verdict_with_p(against(r.rows, BOX)),
        }
        for r in bundle.cross_site for f in [r.figures]
    ]  # fmt: skip
    return [
        "RcdNet trained by the same recipe on one data set alone and tested on the other, whose images chose neither weights, calibration "
        "nor threshold. The recipe itself was settled while watching parts of both. A tenth of the training set was kept aside for "
        "calibration and threshold (`--split k-fold --folds 10`); with so few images the threshold depends on chance.",
        markdown_table(rows),
        f"The mean of all seeds by patient or group is {' and '.join(means)}. A hospital unknown to the models may expect figures "
        "nearer to these than to those above. The smaller the training set, the worse they are, and the more they vary with the seed.",
    ]


def _readers(bundle: Bundle) -> list[str]:
    rows: Table = [
        {
            "model": r.name, "images": r.images, "AUC": _value(r.figures.figures["auc"]), "beside": name,
            "its AUC": _value(r.figures.references[reader].auc), "the model is": verdict_with_p(against(r.rows, reader)),
        }
        for r in bundle.validation for reader, name in READERS.items()
        if reader in r.figures.references and r.figures.references[reader].images == r.figures.images
    ]  # fmt: skip
    return [
        "On the same images: the size, shape and place of the box around the hand-drawn lesion, weighed by a logistic regression; and "
        "the BI-RADS category that the data set gives.",
        markdown_table(rows),
    ]


def _cross_fitted(bundle: Bundle, folder: Path) -> list[str]:
    blocks: list[str] = []
    for model, card in bundle.cards.items():
        pooled = [r for r in bundle.validation if r.model == model and r.figures.held_out]
        if not pooled:
            continue
        names = list(dict.fromkeys(f.results for f in card.folds))
        parts = [  # group numbers mean something only inside a run
            [replace(row, group=row.group * len(names) + k) for row in _recorded(folder / name)]
            for k, name in enumerate(names)
        ]
        fitted = [row for row, _ in cross_fitted(parts)]
        rows: Table = [
            {
                MODELS[model].title: r.images, "AUC": f"{held['auc']:.3f}", "AUC by patient or group": f"{held['auc_by_group']:.3f}",
                "sensitivity": f"{held['sensitivity']:.3f}", "specificity": f"{held['specificity']:.3f}",
                "calibration error": f"{held['ece']:.3f}",
                **{
                    f"against {name}": verdict_with_p(against([row for row in fitted if row.source == r.figures.name], reader))
                    if reader in r.figures.references else ""
                    for reader, name in READERS.items()
                },
            }
            for r in pooled for held in [r.figures.held_out]
        ]  # fmt: skip
        blocks += [
            f"{MODELS[model].title}'s {len(names)} runs, each with the calibration and threshold that the other {len(names) - 1} choose: "
            "the fairest estimate on these two data sets.",
            markdown_table(rows),
        ]
    return blocks


def _seeds(bundle: Bundle) -> list[str]:
    every = [r for r in (*bundle.validation, *bundle.seeds) if r.model in {again.model for again in bundle.seeds}]
    rows: Table = [
        {
            "model": r.name, "images": r.images, AUC: format_estimate(r.figures.figures["auc"]),
            "AUC by patient or group": _value(r.figures.auc_by_group),
        }
        for r in sorted(every, key=lambda r: (r.model, r.figures.name))
    ]  # fmt: skip
    told = (
        "Trained again by the same recipe on the same images. The intervals do not account for the seed. The app's weights are of the "
        "first seed, which was settled beforehand."
    )
    return [told, markdown_table(rows)] if rows else []


def _like_with_like(bundle: Bundle, folder: Path) -> list[str]:
    """An earlier RcdNet beside the baselines."""
    if not (folder / EARLIER).exists():
        return []
    earlier = _recorded(folder / EARLIER)
    pairs = [
        (r, compare_rows([row for row in earlier if row.source == r.figures.name], r.rows)) for r in bundle.validation
    ]
    rows: Table = [
        {
            "baseline": r.name, "images": r.images, "its AUC by patient or group": f"{c.second:.3f}",
            "that of the earlier RcdNet": f"{c.first:.3f}", "the earlier RcdNet is": verdict_with_p(c),
        }
        for r, c in pairs if c is not None
    ]  # fmt: skip
    return [
        "RcdNet started from ImageNet weights, the others from random ones, because their ImageNet weights could not be had where they "
        f"were trained. So the tables above do not compare networks alone. An earlier RcdNet (`{EARLIER}`), on EfficientNet-B0 and from "
        "random weights, does. How much of RcdNet's lead above is the start's and how much the network's was not measured.",
        markdown_table(rows),
    ]


def _training(bundle: Bundle) -> list[str]:
    recipes: Table = [
        {
            "model": MODELS[model].title, "starts from": START.get(card.recipe["init"], card.recipe["init"]),
            "epochs": card.recipe["epochs"],
            "image sizes": f"{card.recipe['start_size']} to {card.recipe['end_size']} pixels",
        }
        for model, card in bundle.cards.items() if card.recipe
    ]  # fmt: skip
    commands = "\n".join(card.training_command for card in bundle.cards.values())
    return [
        markdown_table(recipes) if recipes else "",
        "Each command was followed by the same for every run that left images out (`--split official --fold K`), and by "
        "`python -m train ship`. On the complete data sets they give other weights and figures, for the data here were a part.",
        f"```\n{commands}\n```",
    ]


def _recorded(run: Path) -> list[PredictionRow]:
    return verified_predictions(run, read_evaluation(run / "evaluation.json"))


def _value(estimate: Estimate) -> str:
    return "" if np.isnan(estimate.value) else f"{estimate.value:.3f}"
