"""Every figure that comes with the app, computed again from the predictions it is said to be of."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from test_architecture import figures_row

from rcdnet.checkpoint import read_card
from rcdnet.heatmaps import FLOOR
from rcdnet.registry import MODELS
from train.data.sources import TITLES
from train.evaluate.compare import cell, compare_rows, own_predictions, shipped
from train.evaluate.curves import arrays
from train.evaluate.evaluation import read_evaluation, set_figures
from train.evaluate.maps import CENTRE, MAPS_FILE, read_figures, read_rows
from train.evaluate.maps import PUBLISHED as MAPS
from train.evaluate.maps import figures as map_figures
from train.evaluate.metrics import area_under_roc, confusion, figures_of, group_means, rates
from train.results.bundle import bundled
from train.results.sections import SECTIONS

PUBLISHED = shipped()
TRAINED = [name for name in MODELS if (ROOT / "assets" / "weights" / f"{name}.json").exists()]


READERS = {"box geometry": "box_score", "BI-RADS category": "birads", "the network without its outline": "logit"}


def known(rows, name: str) -> list[tuple[int, float]]:
    """Label and value of the rows in which a column has one."""
    values = [(row.label, getattr(row, name)) for row in rows]
    return [(label, float(value)) for label, value in values if value is not None and not math.isnan(value)]


def test_something_is_published():
    assert "rcdnet" in TRAINED
    assert PUBLISHED


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda f: f.relative_to(ROOT / "assets" / "results").as_posix())
def test_an_evaluation_says_what_its_predictions_give(folder):
    evaluation = read_evaluation(folder / "evaluation.json")
    rows = own_predictions(folder, evaluation)
    for row in rows:
        again = evaluation.calibration.probability(row.logit, row.vote, row.score)
        assert row.probability == pytest.approx(float(again), abs=1e-12)
    for s in evaluation.sets:
        own = [row for row in rows if row.source == s.name]
        labels, scores = arrays(own)
        assert (len(own), int(labels.sum()), s.threshold) == (s.images, s.malignant, evaluation.threshold)
        for name, value in figures_of(labels, scores, s.threshold).items():
            assert s.figures[name].value == pytest.approx(value, abs=1e-12), name
        assert s.confusion == confusion(labels, scores, s.threshold)
        groups = np.array([row.group for row in own])
        assert s.auc_by_group.value == pytest.approx(area_under_roc(*group_means(labels, scores, groups)), abs=1e-12)
        for name in ("pointing", "dice"):
            if values := known(own, name):
                assert s.figures[name].value == pytest.approx(np.mean([value for _, value in values]), abs=1e-12)
        for name, reference in s.references.items():
            labels, scores = map(np.array, zip(*known(own, READERS[name]), strict=True))
            assert reference.auc.value == pytest.approx(area_under_roc(labels, scores), abs=1e-12)
        scanners = {row.device for row in own if row.device}
        for g in s.subgroups:
            if g.name.removeprefix("scanner ") in scanners:
                part = [row for row in own if row.device == g.name.removeprefix("scanner ")]
                at = rates(confusion(*arrays(part), s.threshold))
                assert (g.images, g.malignant) == (len(part), sum(row.label for row in part))
                assert (g.sensitivity.value, g.specificity.value) == pytest.approx(
                    (at["sensitivity"], at["specificity"]), nan_ok=True
                )


def test_one_evaluation_is_the_same_again_with_its_intervals():
    folder = next(f for f in PUBLISHED if f.name == "rcdnet-folds")
    evaluation = read_evaluation(folder / "evaluation.json")
    rows = own_predictions(folder, evaluation)
    s = evaluation.sets[-1]
    again = set_figures(s.name, s.role, [row for row in rows if row.source == s.name], s.threshold)
    assert {k: cell(e) for k, e in again.figures.items()} == {k: cell(e) for k, e in s.figures.items()}
    assert repr(again.subgroups) == repr(s.subgroups)
    assert repr(again.references) == repr(s.references)


def test_every_card_is_that_of_its_evaluation_and_the_readme_says_the_same():
    bundle = bundled()  # which refuses a card that says otherwise than the evaluation behind it
    assert list(bundle.cards) == TRAINED
    assert set(bundle.missing) == set(MODELS) - set(TRAINED)
    text = (ROOT / "README.md").read_text()
    for name in TRAINED:
        card = read_card(name)
        for figures in card.validation:
            assert figures_row(card, figures) in text
        assert card.training_command in text


def test_the_page_shows_these_figures():
    bundle = bundled()
    by_name = {(r.name, r.images): r for r in [*bundle.validation, *bundle.folds, *bundle.cross_site]}
    shown = [e for section in ("Overview", "Other sites") for row in SECTIONS[section](bundle, ()) for e in row]
    for exhibit in shown:
        for line in exhibit.table:
            if line[""] != "AUC":
                continue
            for column, said in line.items():
                results = [r for (name, images), r in by_name.items() if column in (name, f"{name}, {images}")]
                if column and results:
                    assert said in {cell(r.figures.figures["auc"]) for r in results}
    for exhibit in (e for row in SECTIONS["Differences"](bundle, ()) for e in row):
        results = [r for r in by_name.values() if r.images == exhibit.title]
        rows = {r.name: r.rows for r in results}
        for line in exhibit.table:
            compared = compare_rows(rows[line["first"]], rows[line["second"]])
            assert (line["difference"], line["AUC of the first"]) == (
                round(compared.difference, 4),
                round(compared.first, 4),
            )


def heatmaps_row(f) -> str:
    """A line of the README's table of heatmaps."""
    cells = [cell(f.figures[key]) for key in ("pointing", "ratio", "iou", "insertion", "deletion", "road")]
    return f"| {' | '.join([MODELS[f.model].title, TITLES[f.source], f.method, *cells])} |"


def test_figures_of_heatmaps_follow_from_their_maps_and_the_readme_says_the_same():
    folder = ROOT / "assets" / "results" / MAPS
    found = read_figures(folder)
    again = map_figures(read_rows(folder / MAPS_FILE))
    assert [replace(f, figures={}) for f in again] == [replace(f, figures={}) for f in found]
    for one, other in zip(again, found, strict=True):  # the order of sums depends on the number of threads
        numbers = [[v for e in f.figures.values() for v in (e.value, e.low, e.high)] for f in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=1e-9, nan_ok=True)
    text = (ROOT / "README.md").read_text()
    told = [f for f in found if f.method in ("Grad-CAM", FLOOR, CENTRE)]
    assert told
    assert [f for f in told if heatmaps_row(f) not in text] == []
