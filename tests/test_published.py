"""Every figure that comes with the app, computed again from the predictions it is said to be of."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import ROOT
from test_architecture import figures_row

from rcdnet.models.checkpoint import read_card
from rcdnet.models.registry import MODELS
from rcdnet.reading.heatmaps import RANDOM_BASELINE
from train.data.public_datasets import TITLES
from train.evaluate.compare import compare_rows, shipped
from train.evaluate.evaluation_files import verified_predictions
from train.evaluate.evaluation_record import Evaluation, SetMetrics, read_evaluation, set_figures
from train.evaluate.figure_columns import COLUMNS, format_estimate
from train.evaluate.predictions import PredictionRow, read_predictions
from train.publish.pool_folds import cross_fitted, pool
from train.results.load_results import grouped, load_bundled_results
from train.results.report_block import ReportBlock
from train.results.sections import SECTIONS
from train.studies.heatmap_records import CENTRE, MAPS_FILE, read_figures, read_rows
from train.studies.heatmap_records import PUBLISHED as MAPS
from train.studies.heatmap_records import figures as map_figures

PUBLISHED = shipped()
DOCUMENT = ROOT / "docs" / "figures.md"
TRAINED = [name for name in MODELS if (ROOT / "assets" / "weights" / f"{name}.json").exists()]
AGAIN: dict[tuple, SetMetrics] = {}  # what `recomputed` made, by predictions


def test_something_is_published():
    assert "rcdnet" in TRAINED
    assert PUBLISHED


def recomputed(evaluation: Evaluation, s: SetMetrics, rows: list[PredictionRow]) -> SetMetrics:
    """Everything again, intervals too; once where a run is also its own pool."""
    key = (evaluation.predictions_sha256, s.name, s.threshold)
    if key not in AGAIN:
        AGAIN[key] = set_figures(s.name, s.role, [row for row in rows if row.source == s.name], s.threshold)
    return replace(AGAIN[key], role=s.role, held_out=s.held_out)


def rounded(value: object) -> object:
    """With eleven decimals, which the order of sums cannot touch; nan, which equals nothing, in words."""
    if isinstance(value, dict):
        return {key: rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return ("nan" if math.isnan(value) else round(value, 11)) if isinstance(value, float) else value


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda f: f.relative_to(ROOT / "assets" / "results").as_posix())
def test_an_evaluation_says_what_its_predictions_give(folder):
    """Every figure with its interval, every subgroup, every reference."""
    evaluation = read_evaluation(folder / "evaluation.json")
    rows = verified_predictions(folder, evaluation)
    for row in rows:
        again = evaluation.calibration.probability(row.logit, row.vote, row.score)
        assert row.probability == pytest.approx(float(again), abs=1e-12)
    assert {row.source for row in rows} == {s.name for s in evaluation.sets}
    for s in evaluation.sets:
        assert s.threshold == evaluation.threshold
        assert rounded(asdict(recomputed(evaluation, s, rows))) == rounded(asdict(s))


def test_what_four_runs_come_to_is_pooled_from_their_predictions(tmp_path):
    """Calibration, threshold and probabilities, and what they would be worth if the other runs had chosen them."""
    place = ROOT / "assets" / "results"
    again = pool([place / f"rcdnet-fold{k}" for k in (1, 2, 3, 4)], tmp_path)
    rows, before = (read_predictions(folder / "predictions.csv") for folder in (tmp_path, place / "rcdnet-folds"))
    assert rounded([row.probability for row in rows]) == rounded([row.probability for row in before])
    message = read_evaluation(place / "rcdnet-folds" / "evaluation.json")
    assert rounded([s.held_out for s in again.sets]) == rounded([s.held_out for s in message.sets])
    assert rounded([again.threshold, asdict(again.calibration)]) == rounded(
        [message.threshold, asdict(message.calibration)]
    )


def test_every_card_is_that_of_its_evaluation_and_the_document_says_the_same():
    bundle = load_bundled_results()  # which refuses a card that says otherwise than the evaluation behind it
    assert list(bundle.cards) == TRAINED
    assert set(bundle.missing) == set(MODELS) - set(TRAINED)
    text = DOCUMENT.read_text()
    for name in TRAINED:
        card = read_card(name)
        for figures in card.validation:
            assert figures_row(card, figures) in text
        assert card.training_command in text


def shown(section: str, title: str) -> ReportBlock:
    return next(e for row in SECTIONS[section](load_bundled_results(), ()) for e in row if e.title == title)


def test_the_page_shows_these_figures():
    """Every line of every table of figures, by the evaluations that the tests above recompute."""
    bundle = load_bundled_results()
    tables = [("Overview", title, results) for title, results in grouped(bundle, ())]
    again = [r for r in (*bundle.validation, *bundle.seeds) if r.model == "rcdnet"]
    tables.append(("Overview", f"RcdNet from {len(again) // 2} seeds", again))
    for section, title, results in [*tables, ("Other sites", "Across sites", bundle.cross_site)]:
        lines = {line[""]: line for line in shown(section, title).table}
        for r in results:
            column = r.name if r.name in lines["AUC"] else f"{r.name}, {r.images}"
            message = {name: line[column] for name, line in lines.items() if line[column]}
            f = r.figures
            figures = {
                COLUMNS[key]: format_estimate(e)
                for key, e in (f.figures | {"auc_by_group": f.auc_by_group}).items()
                if key in COLUMNS
            }
            readers = {f"AUC of {name}": f"{format_estimate(x.auc)} on {x.images}" for name, x in f.references.items()}
            counts = {"images": f"{f.images}", "malignant": f"{f.malignant}", "threshold": f"{f.threshold:.3f}"}
            assert message == {key: text for key, text in (counts | figures | readers).items() if text}
    for r in bundle.validation:
        lines = {line["images"]: line for line in shown("Subgroups", f"{r.name}. {r.images}").table}
        assert set(lines) == {g.name for g in r.figures.subgroups}
        for g in r.figures.subgroups:
            assert list(lines[g.name].values()) == [
                g.name, f"{g.images} ({g.malignant})", format_estimate(g.auc) if g.auc else "",
                format_estimate(g.sensitivity), format_estimate(g.specificity),
            ]  # fmt: skip


def test_the_page_shows_delongs_differences():
    for title, results in grouped(load_bundled_results(), ()):
        if len(results) < 2:
            continue
        rows = {r.name: r.rows for r in results}
        table = shown("Differences", title).table
        assert len(table) == len(results) * (len(results) - 1) // 2
        for line in table:
            c = compare_rows(rows[line["first"]], rows[line["second"]])
            assert [line[k] for k in ("AUC of the first", "AUC of the second", "difference", "95 % from", "to")] == [
                round(v, 4) for v in (c.first, c.second, c.difference, *c.interval)
            ]
            assert line["p"] == ("< 0.0001" if c.p < 0.0001 else f"{c.p:.4f}")


def judged(c) -> str:
    """How docs/figures.md words a comparison."""
    verdict = "no difference shown" if c.p >= 0.05 else "better" if c.difference > 0 else "worse"
    return f"{verdict}, {c.p_value}"


def against_the_box(rows: list[PredictionRow]) -> str:
    return judged(compare_rows(rows, [replace(row, probability=row.box_score) for row in rows]))


def against_birads(rows: list[PredictionRow]) -> str:
    return judged(compare_rows(rows, [replace(row, probability=float(row.birads)) for row in rows]))


def cross_fitted_rows() -> dict[str, list[PredictionRow]]:
    """RcdNet's rows of each source with the probability that the other folds' calibration gives them."""
    place, parts = ROOT / "assets" / "results", []
    for k in range(4):
        rows = read_predictions(place / f"rcdnet-fold{k + 1}" / "predictions.csv")
        parts.append([replace(row, group=row.group * 4 + k) for row in rows])
    judged = [row for row, _ in cross_fitted(parts)]
    return {source: [row for row in judged if row.source == source] for source in ("busbra", "busi")}


def test_the_documents_tables_say_what_the_records_say():
    """Those of validation and heatmaps have tests of their own."""
    bundle, text = load_bundled_results(), DOCUMENT.read_text()

    def value(estimate) -> str:
        return f"{estimate.value:.3f}"

    lines = []
    box, birads, alone = "box geometry", "BI-RADS category", "the network without its outline"
    for r in bundle.validation:
        f = r.figures
        start = f"| {r.name} | {r.images} | {value(f.figures['auc'])} |"
        lines.append(f"{start} the lesion's box alone | {value(f.references[box].auc)} | {against_the_box(r.rows)} |")
        if f.name == "busbra":
            named = f"the radiologist's BI-RADS category alone | {value(f.references[birads].auc)}"
            lines.append(f"{start} {named} | {against_birads(r.rows)} |")
        other = (f.figures[key] for key in ("specificity_at_95", "ece", "pointing", "dice"))
        lines.append(f"| {r.name} | {r.images} | {' | '.join(map(value, (*other, f.references[alone].auc)))} |")
    for r in bundle.cross_site:
        f = r.figures
        lines.append(
            f"| {r.images} | {f.images} ({f.malignant}) | {format_estimate(f.figures['auc'])} | {value(f.auc_by_group)} | "
            f"{value(f.figures['sensitivity'])} | {value(f.figures['specificity'])} | {value(f.references[box].auc)} | "
            f"{against_the_box(r.rows)} |"
        )
    for r in bundle.seeds:
        lines.append(
            f"| {r.name} | {r.images} | {format_estimate(r.figures.figures['auc'])} | {value(r.figures.auc_by_group)} |"
        )
    fitted = cross_fitted_rows()
    for r in (r for r in bundle.validation if r.model == "rcdnet"):
        held, rows = r.figures.held_out, fitted[r.figures.name]
        figures = " | ".join(f"{held[k]:.3f}" for k in ("auc", "auc_by_group", "sensitivity", "specificity", "ece"))
        by_birads = against_birads(rows) if r.figures.name == "busbra" else ""
        lines.append(f"| {r.images} | {figures} | {against_the_box(rows)} | {by_birads} |")
    assert [line for line in lines if line not in text] == []


def test_the_documents_sentences_say_what_the_records_say():
    bundle = load_bundled_results()
    maps = {(f.source, f.method): f for f in bundle.heatmaps if f.model == "rcdnet"}
    means = [
        f"{np.mean([r.figures.auc_by_group.value for r in bundle.cross_site if r.figures.name == name]):.3f} on {TITLES[name]}"
        for name in ("busi", "busbra")
    ]

    def both(key: str, digits: int, method: str = "Grad-CAM", by: int = 1) -> str:
        return " and ".join(f"{by * maps[s, method].figures[key].value:.{digits}f}" for s in ("busbra", "busi"))

    assert {f.examined for f in maps.values()} == {64}
    text = DOCUMENT.read_text()
    for told in (
        f"The mean of all seeds by patient or group is {' and '.join(means)}.",
        f"The hottest point of RcdNet's Grad-CAM lies in the lesion on {both('pointing', 0, by=100)} of 100 images of BUS-BRA and BUSI. "
        f"A random point would on {both('chance', 0, by=100)}, the hottest of RandomCAM does on "
        f"{both('pointing', 0, RANDOM_BASELINE, by=100)}, the middle of the scan on {both('pointing', 0, CENTRE, by=100)}.",
        f"an IoU of {both('iou', 2)}",
        f"On 64 images of each set, blurring what it shows leaves a mean probability of {both('deletion', 2)} (low is good), against "
        f"{both('deletion', 2, RANDOM_BASELINE)} for RandomCAM and {both('deletion', 2, CENTRE)} for the middle of the scan.",
    ):
        assert told in text, told
    for f in bundle.heatmaps:
        if f.method != "Grad-CAM":
            continue
        road = {g.method: g.figures["road"] for g in bundle.heatmaps if (g.model, g.source) == (f.model, f.source)}
        above = [
            "yes" if road["Grad-CAM"].low > road[floor].high else "not shown" for floor in (RANDOM_BASELINE, CENTRE)
        ]
        row = [MODELS[f.model].title, TITLES[f.source], str(f.images), str(f.examined), *above]
        assert f"| {' | '.join(row)} |" in text


def test_the_document_compares_like_with_like():
    """RcdNet from random numbers beside every baseline from random numbers."""
    place = ROOT / "assets" / "results"

    def of(run: str, source: str) -> list[PredictionRow]:
        rows = verified_predictions(place / run, read_evaluation(place / run / "evaluation.json"))
        return [row for row in rows if row.source == source]

    text = DOCUMENT.read_text()
    for name in TRAINED[1:]:
        for source, images in (("busbra", "BUS-BRA, official fold 4"), ("busi", "BUSI, 1 of 5 parts held out")):
            c = compare_rows(of("rcdnet-b0-fold4", source), of(f"{name}-fold4", source))
            row = f"| {MODELS[name].title} | {images} | {c.second:.3f} | {c.first:.3f} | {judged(c)} |"
            assert row in text, row
    assert (
        "Ours start from ImageNet weights (RcdNet), random numbers (ResNet50,"
        in shown("Paper", "Reported by the paper: internal validation, its table 1").text
    )


def heatmaps_row(f) -> str:
    """A line of the table of heatmaps in docs/figures.md."""
    cells = [format_estimate(f.figures[key]) for key in ("pointing", "ratio", "iou", "insertion", "deletion", "road")]
    return f"| {' | '.join([MODELS[f.model].title, TITLES[f.source], f.method, *cells])} |"


def test_figures_of_heatmaps_follow_from_their_maps_and_the_document_says_the_same():
    folder = ROOT / "assets" / "results" / MAPS
    found = read_figures(folder)
    again = map_figures(read_rows(folder / MAPS_FILE))
    assert [replace(f, figures={}) for f in again] == [replace(f, figures={}) for f in found]
    for one, other in zip(again, found, strict=True):  # the order of sums depends on the number of threads
        numbers = [[v for e in f.figures.values() for v in (e.value, e.low, e.high)] for f in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-9, nan_ok=True)
    text = DOCUMENT.read_text()
    told = [f for f in found if f.method in ("Grad-CAM", RANDOM_BASELINE, CENTRE)]
    assert told
    assert [f for f in told if heatmaps_row(f) not in text] == []
