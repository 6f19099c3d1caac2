"""Results as rows and sentences."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rcdnet.models.card import ModelCard
from rcdnet.models.registry import MODELS
from rcdnet.present.text import join_names
from train.evaluate.evaluation_record import Estimate
from train.evaluate.figure_columns import COLUMNS, format_estimate, unsure
from train.metrics.intervals import share_interval
from train.results.bundle import Bundle, Result

Table = list[dict[str, Any]]
PAPER = ("precision_macro", "recall_macro", "f1_macro", "accuracy", "auc")


def in_a_sentence(results: Sequence[Result]) -> str:
    """What a model's results on validation come to, for a reader in a hurry.

    A sensitivity that was chosen says nothing, so where runs were pooled it is the one at the thresholds of the other runs. Nor is an
    AUC without bias whose calibration, which weighs the parts of a call, was fitted on the same images.
    """
    parts = []
    for r in results:
        figures, auc = r.figures.figures, r.figures.figures["auc"]
        at = r.figures.held_out or {key: figures[key].value for key in ("sensitivity", "specificity")}
        chosen = " at a threshold chosen to find 95 of 100 of these" if r.chosen and not r.figures.held_out else ""
        between = "" if math.isnan(auc.low) else f", {auc.low:.2f} to {auc.high:.2f}"
        fitted = f"; {r.figures.held_out['auc']:.2f} if the other folds calibrate" if r.figures.held_out else ""
        parts.append(
            f"on {r.figures.images} images of {r.images} it finds {at['sensitivity'] * 100:.0f} of 100 cancers and calls "
            f"{(1 - at['specificity']) * 100:.0f} of 100 benign lesions malignant{chosen} (AUC {auc.value:.2f}{between}{fitted})"
        )
    return f"{results[0].name}: {'; '.join(parts)}."


def share_in_percent(count: int, of: int) -> str:
    """A share with Wilson's interval, in percent; empty of nothing."""
    if not of:
        return ""
    return range_in_percent(count / of, *share_interval(count / of, of))


def range_in_percent(share: float, low: float, high: float) -> str:
    """A share between two others, in percent."""
    return f"{share * 100:.1f} % [{low * 100:.1f}, {high * 100:.1f}]"


def figures_table(results: Sequence[Result]) -> Table:
    """A row a figure, a column a result, each with its interval; what this data cannot tell is left out."""
    names = [r.name for r in results]
    columns = names if len(set(names)) == len(names) else [f"{r.name}, {r.images}" for r in results]
    table: Table = [
        {"": "images"} | {c: r.figures.images for c, r in zip(columns, results, strict=True)},
        {"": "malignant"} | {c: r.figures.malignant for c, r in zip(columns, results, strict=True)},
        {"": "threshold"} | {c: f"{r.figures.threshold:.3f}" for c, r in zip(columns, results, strict=True)},
    ]
    for key, title in COLUMNS.items():
        cells = {c: format_estimate(_figures(r)[key]) for c, r in zip(columns, results, strict=True)}
        table += [{"": title} | cells] if any(cells.values()) else []
    for reader in dict.fromkeys(name for r in results for name in r.figures.references):
        own = {c: r.figures.references.get(reader) for c, r in zip(columns, results, strict=True)}
        table.append(
            {"": f"AUC of {reader}"}
            | {c: f"{format_estimate(ref.auc)} on {ref.images}" if ref else "" for c, ref in own.items()}
        )
    return [{k: str(v) for k, v in row.items()} for row in table]


def paper_table(results: Sequence[Result]) -> Table:
    """A row a result, with the columns of the paper's tables and intervals."""
    titles = {key: title for key, title in COLUMNS.items() if key in PAPER}
    return [
        {"model": r.name, "images": r.images}
        | {title: format_estimate(_figures(r)[key]) for key, title in titles.items()}
        for r in results
    ]


def known(value: float) -> float | None:
    """A number for a table of numbers; None where it is nan."""
    return None if math.isnan(value) else value


def _figures(result: Result) -> dict[str, Estimate]:
    return result.figures.figures | {"auc_by_group": result.figures.auc_by_group}


def roles(results: Sequence[Result]) -> str:
    """What else the images were used for, what the figures would be with a threshold chosen on other runs, and what was left out."""
    sentences = [f"{role[:1].upper()}{role[1:]}." for role in dict.fromkeys(r.figures.role for r in results)]
    for r in results:
        if held := r.figures.held_out:
            sentences.append(
                f"With calibration and threshold chosen on the other folds, {r.name} has an AUC of {held['auc']:.3f} by image and "
                f"{held['auc_by_group']:.3f} by patient or group, sensitivity {held['sensitivity']:.3f}, specificity "
                f"{held['specificity']:.3f} and a calibration error of {held['ece']:.3f}."
            )
        if reason := unsure(r.figures):
            sentences.append(f"{r.name} has {reason}")
    for sentences_of in dict.fromkeys(r.left_out for r in results):
        counted = Counter(sentence.partition(": ")[2] for sentence in sentences_of)
        sentences += [f"{count} left out: {reason}." for reason, count in counted.items()]
    sentences += dict.fromkeys(remark for r in results for remark in r.remarks)
    return " ".join(sentences)


def measured_how(cards: Mapping[str, ModelCard]) -> str:
    """Which weights the figures are of, where they are not the ones that answer; empty where they are."""
    others = [MODELS[card.model].title for card in cards.values() if not card.measured_itself]
    if not others:
        return ""
    whose = "The weights" if len(others) == len(cards) else f"The weights of {join_names(others)}"
    return (
        f"{whose} that the app uses learnt from all of these images, so nothing here could measure them. "
        "Their figures are those of runs of the same recipe that left the images out."
    )


def training_told(cards: Mapping[str, ModelCard]) -> list[str]:
    """How the first model was trained, and where the recipes of others differ; a comparison that hides it would not be fair."""
    if not cards or not all(card.recipe for card in cards.values()):
        return []
    first = next(iter(cards.values()))
    sizes = f"{first.recipe['start_size']} to {first.recipe['end_size']}"
    sentences = [
        f"{MODELS[first.model].title} was trained for {first.recipe['epochs']} epochs on images of {sizes} pixels a side; it reads scans "
        f"at {first.input_size}."
    ]
    return sentences + [
        f"{_were(models)} trained {f'differently: {told}' if told else 'in the same way'}."
        for told, models in _differing(cards).items()
    ]


def told(bundle: Bundle, results: Sequence[Result]) -> str:
    """`roles`, and `training_told` of those results that came with the app, where there are several."""
    cards = _cards(bundle, results)
    return " ".join([roles(results), *(training_told(cards) if len(cards) > 1 else [])])


def trained_otherwise(bundle: Bundle, results: Sequence[Result]) -> str:
    """Which of the results that came with the app are of another recipe than the first, in a few words."""
    cards = _cards(bundle, results)
    models = [model for told, models in _differing(cards).items() if told for model in models]
    return f"{_were(models)} trained differently from {results[0].name}; see Overview." if models else ""


def _cards(bundle: Bundle, results: Sequence[Result]) -> dict[str, ModelCard]:
    return {m: card for m, card in bundle.cards.items() if any(r.name == MODELS[m].title for r in results)}


def _were(models: Sequence[str]) -> str:
    return f"{join_names(models)} {'was' if len(models) == 1 else 'were'}"


def _differing(cards: Mapping[str, ModelCard]) -> dict[str, list[str]]:
    """Titles of the models after the first by what their recipes have otherwise, in words; empty words where nothing."""
    if not cards:
        return {}
    first, *others = cards.values()
    differing: dict[str, list[str]] = {}
    for card in others:
        names = [k for k in card.recipe if k != "model" and card.recipe[k] != first.recipe.get(k)]
        told = ", ".join(f"{n.replace('_', ' ')} {card.recipe[n]} instead of {first.recipe.get(n)}" for n in names)
        differing.setdefault(told, []).append(MODELS[card.model].title)
    return differing
