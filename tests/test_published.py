"""Every figure that comes with the app, computed again from the predictions it is said to be of."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import ROOT
from test_architecture import figures_row

from rcdnet.checkpoint import read_card
from rcdnet.heatmaps import FLOOR
from rcdnet.registry import MODELS
from train.data.sources import TITLES
from train.evaluate.compare import COLUMNS, cell, compare_rows, own_predictions, shipped
from train.evaluate.evaluation import Evaluation, SetFigures, read_evaluation, set_figures
from train.evaluate.maps import CENTRE, MAPS_FILE, read_figures, read_rows
from train.evaluate.maps import PUBLISHED as MAPS
from train.evaluate.maps import figures as map_figures
from train.evaluate.pool import cross_fitted, pool
from train.evaluate.predictions import Row, read_predictions
from train.results.bundle import Result, bundled, grouped
from train.results.exhibit import Exhibit
from train.results.sections import SECTIONS

PUBLISHED = shipped()
TRAINED = [name for name in MODELS if (ROOT / "assets" / "weights" / f"{name}.json").exists()]
AGAIN: dict[tuple, SetFigures] = {}  # what `recomputed` made, by predictions


def test_something_is_published():
    assert "rcdnet" in TRAINED
    assert PUBLISHED


def recomputed(evaluation: Evaluation, s: SetFigures, rows: list[Row]) -> SetFigures:
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
    rows = own_predictions(folder, evaluation)
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
    said = read_evaluation(place / "rcdnet-folds" / "evaluation.json")
    assert rounded([s.held_out for s in again.sets]) == rounded([s.held_out for s in said.sets])
    assert rounded([again.threshold, asdict(again.calibration)]) == rounded([said.threshold, asdict(said.calibration)])


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


def shown(section: str, title: str) -> Exhibit:
    return next(e for row in SECTIONS[section](bundled(), ()) for e in row if e.title == title)


def test_the_page_shows_these_figures():
    """Every line of every table of figures, by the evaluations that the tests above recompute."""
    bundle = bundled()
    tables = [("Overview", title, results) for title, results in grouped(bundle, ())]
    again = [r for r in (*bundle.validation, *bundle.seeds) if r.model == "rcdnet"]
    tables.append(("Overview", f"RcdNet from {len(again) // 2} seeds", again))
    for section, title, results in [*tables, ("Other sites", "Across sites", bundle.cross_site)]:
        lines = {line[""]: line for line in shown(section, title).table}
        for r in results:
            column = r.name if r.name in lines["AUC"] else f"{r.name}, {r.images}"
            said = {name: line[column] for name, line in lines.items() if line[column]}
            f = r.figures
            figures = {
                COLUMNS[key]: cell(e)
                for key, e in (f.figures | {"auc_by_group": f.auc_by_group}).items()
                if key in COLUMNS
            }
            readers = {f"AUC of {name}": f"{cell(x.auc)} on {x.images}" for name, x in f.references.items()}
            counts = {"images": f"{f.images}", "malignant": f"{f.malignant}", "threshold": f"{f.threshold:.3f}"}
            assert said == {key: text for key, text in (counts | figures | readers).items() if text}
    for r in bundle.validation:
        lines = {line["images"]: line for line in shown("Subgroups", f"{r.name}. {r.images}").table}
        assert set(lines) == {g.name for g in r.figures.subgroups}
        for g in r.figures.subgroups:
            assert list(lines[g.name].values()) == [
                g.name, f"{g.images} ({g.malignant})", cell(g.auc) if g.auc else "", cell(g.sensitivity), cell(g.specificity),
            ]  # fmt: skip


def test_the_page_shows_delongs_differences():
    for title, results in grouped(bundled(), ()):
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


def against_the_box(rows: list[Row]) -> str:
    return compare_rows(rows, [replace(row, probability=row.box_score) for row in rows]).p_value


def against_birads(rows: list[Row]) -> str:
    return compare_rows(rows, [replace(row, probability=float(row.birads)) for row in rows]).p_value


def cross_fitted_rows() -> dict[str, list[Row]]:
    """RcdNet's rows of each source with the probability that the other folds' calibration gives them."""
    place, parts = ROOT / "assets" / "results", []
    for k in range(4):
        rows = read_predictions(place / f"rcdnet-fold{k + 1}" / "predictions.csv")
        parts.append([replace(row, group=row.group * 4 + k) for row in rows])
    judged = [row for row, _ in cross_fitted(parts)]
    return {source: [row for row in judged if row.source == source] for source in ("busbra", "busi")}


def test_the_readmes_sentences_say_what_the_records_say():
    """The tables have tests of their own."""
    bundle = bundled()
    busbra, busi = (r for r in bundle.validation if r.model == "rcdnet")
    birads, fitted = against_birads(busbra.rows), cross_fitted_rows()
    to_busi, to_busbra = ([r for r in bundle.cross_site if r.figures.name == name] for name in ("busi", "busbra"))
    on_busi, on_busbra = ([against_the_box(r.rows) for r in seeds] for seeds in (to_busi, to_busbra))
    mean_to_busi, mean_to_busbra = (
        f"{np.mean([r.figures.auc_by_group.value for r in seeds]):.3f}" for seeds in (to_busi, to_busbra)
    )
    maps = {(f.source, f.method): f.figures for f in bundle.heatmaps if f.model == "rcdnet"}

    def reader(r: Result, name: str) -> str:
        return f"{r.figures.references[name].auc.value:.3f}"

    def both(key: str, digits: int, method: str = "Grad-CAM", by: int = 1) -> str:
        return " and ".join(f"{by * maps[source, method][key].value:.{digits}f}" for source in ("busbra", "busi"))

    box, alone = "box geometry", "the network without its outline"
    held = [r.figures.held_out for r in (busbra, busi)]
    hit = [round(100 * r.figures.figures["pointing"].value) for r in (busbra, busi)]
    point = both("pointing", 0, by=100).split(" and ")
    again = {
        name: " and ".join(
            f"{r.figures.figures['auc'].value:.3f} ({r.figures.auc_by_group.value:.3f})"
            for r in bundle.seeds
            if r.figures.name == name
        )
        for name in ("busbra", "busi")
    }
    text = " ".join((ROOT / "README.md").read_text().split())
    for r in bundle.cross_site:
        f = r.figures
        assert (
            f"| {r.images} | {f.images} ({f.malignant}) | {cell(f.figures['auc'])} | {f.auc_by_group.value:.3f} | "
            f"{f.figures['sensitivity'].value:.3f} | {f.figures['specificity'].value:.3f} |"
        ) in text
    for said in (
        f"has an AUC of {reader(busbra, box)} (BUS-BRA) and {reader(busi, box)} (BUSI), and the radiologist's BI-RADS category alone "
        f"{reader(busbra, 'BI-RADS category')}.",
        f"better than the first (by DeLong {against_the_box(busbra.rows)} and {against_the_box(busi.rows)}) and than the second "
        f"({birads})",
        f"the same box has {reader(to_busi[0], box)} on BUSI and {reader(to_busbra[0], box)} on BUS-BRA",
        f"not proven better than it on BUSI from any seed ({', '.join(on_busi).replace(', p ', ', ')})",
        f"it is worse than the box from seed 0 ({on_busbra[0]}), and from the other seeds no difference from the box is proven "
        f"({', '.join(on_busbra[1:]).replace(', p ', ', ')})",
        f"The mean of the three seeds by group or patient is {mean_to_busi} and {mean_to_busbra}.",
        f"RcdNet's network by itself has {reader(busbra, alone)} and {reader(busi, alone)}.",
        f"If the other folds calibrate it is {held[0]['auc']:.3f} (by patient {held[0]['auc_by_group']:.3f}) on BUS-BRA and "
        f"{held[1]['auc']:.3f} (by group {held[1]['auc_by_group']:.3f}) on BUSI; RcdNet is then better than the box by DeLong "
        f"{against_the_box(fitted['busbra'])} and {against_the_box(fitted['busi'])}, and than BI-RADS {against_birads(fitted['busbra'])}.",
        f"RcdNet finds {100 * held[0]['sensitivity']:.1f} % of the cancers on BUS-BRA at a specificity of {held[0]['specificity']:.3f}, "
        f"and {100 * held[1]['sensitivity']:.1f} % on BUSI at {held[1]['specificity']:.3f}.",
        f"the calibration error is {busbra.figures.figures['ece'].value:.3f} on BUS-BRA and {busi.figures.figures['ece'].value:.3f} on "
        f"BUSI, and {held[0]['ece']:.3f} and {held[1]['ece']:.3f} if the other folds calibrate.",
        f"for {hit[0]} of 100 images of BUS-BRA and {hit[1]} of BUSI (the hottest point after interpolation for {point[0]} and {point[1]}",
        f"Trained again from two other seeds, RcdNet has an AUC of {again['busbra']} on BUS-BRA and of {again['busi']} on BUSI",
        f"with a Dice of {busbra.figures.figures['dice'].value:.2f} and {busi.figures.figures['dice'].value:.2f}.",
        f"in the lesion on {point[0]} of 100 images of BUS-BRA and {point[1]} of BUSI. A random point would on "
        f"{both('chance', 0, by=100)}, a map of the same network with its channels weighed by chance on "
        f"{both('pointing', 0, FLOOR, by=100)}, the middle of the scan on {both('pointing', 0, CENTRE, by=100)}.",
        f"an IoU of {both('iou', 2)}.",
        f"leaves a mean probability of {both('deletion', 2)} (small is good), against {both('deletion', 2, FLOOR)} for the map by chance, "
        f"but {both('deletion', 2, CENTRE)} for the middle of the scan",
    ):  # fmt: skip
        assert said in text, said


def test_the_readme_compares_like_with_like():
    """RcdNet from random numbers beside the best baseline from random numbers."""

    def of(run: str, source: str) -> list[Row]:
        rows = own_predictions(place / run, read_evaluation(place / run / "evaluation.json"))
        return [row for row in rows if row.source == source]

    place = ROOT / "assets" / "results"
    on_busbra, on_busi = (
        [compare_rows(of("rcdnet-b0-fold4", source), of(f"{name}-fold4", source)) for name in TRAINED[1:]]
        for source in ("busbra", "busi")
    )
    best = TRAINED[1:].index("resnext")
    assert max(c.second for c in on_busbra) == on_busbra[best].second
    assert max(c.second for c in on_busi) == on_busi[best].second
    one, two = on_busbra[best], on_busi[best]
    text = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"had on fold 4 an AUC of {one.first:.3f} by patient (BUS-BRA) and {two.first:.3f} by group (BUSI); the best of the others, "
        f"ResNeXt, has {one.second:.3f} and {two.second:.3f} (by DeLong {one.p_value} and {two.p_value})."
    ) in text
    assert (
        "ours start from ImageNet weights (RcdNet), random numbers (ResNet50,"
        in shown("Beside the paper", "Reported by the paper: internal validation, its table 1").text
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
