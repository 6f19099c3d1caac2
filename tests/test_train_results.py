"""What the Results page and the report show, from drawn records of six models; every number against the predictions."""

import json
from dataclasses import replace

import numpy as np
import plotly.io
import pytest
from conftest import copied
from sklearn.metrics import roc_auc_score

from rcdnet.errors import DatasetError
from rcdnet.models.registry import MODELS
from train.evaluate.compare import compare_rows
from train.evaluate.curves import arrays, point
from train.evaluate.evaluation_record import set_figures
from train.evaluate.figure_columns import COLUMNS, format_estimate
from train.evaluate.predictions import read_predictions
from train.metrics.classification import confusion, group_means, rates
from train.metrics.delong import compare_auc
from train.results.bundle import Bundle
from train.results.load_results import chosen_results, grouped, load_bundled_results, load_user_results
from train.results.operating_point import at_thresholds, operating_point
from train.results.report_block import ReportBlock
from train.results.sections import SECTIONS
from train.results.tables import figures_table, in_a_sentence, measured_how, roles


def blocks_of(section: str, bundle: Bundle, own=()) -> list[ReportBlock]:
    return [block for row in SECTIONS[section](bundle, own) for block in row]


def test_every_result_is_of_the_predictions_that_its_card_names(bundle, drawn_tree):
    assert list(bundle.cards) == list(MODELS)
    assert bundle.missing == {}
    assert [r.images for r in bundle.validation if r.model == "rcdnet"] == [
        "BUS-BRA, official folds 3, 4", "BUSI, folds 3, 4 of near-copies",
    ]  # fmt: skip
    assert len(bundle.folds) == 2 * 2 + 5 * 2
    rows = read_predictions(drawn_tree / "assets" / "results" / "rcdnet-folds" / "predictions.csv")
    assert [row for r in bundle.validation[:2] for row in r.rows] == sorted(rows, key=lambda row: row.source)
    assert list(bundle.runs["rcdnet"]) == ["rcdnet-fold3", "rcdnet-fold4"]


def test_the_overview_sets_other_seeds_beside_the_first(bundle):
    found = blocks_of("Overview", bundle)[-1]
    assert found.title == "RcdNet from 2 seeds"
    assert [row[""] for row in found.data] == [
        "BUS-BRA, official folds 3, 4", "BUS-BRA, official folds 3, 4, seed 1", "BUSI, folds 3, 4 of near-copies",
        "BUSI, folds 3, 4, seed 1 of near-copies",
    ]  # fmt: skip
    assert [row["AUC"] for row in found.data[1::2]] == [r.figures.figures["auc"].value for r in bundle.seeds]
    assert not {r.images for r in bundle.seeds} & {title for title, _ in grouped(bundle, ())}  # beside no other model


def test_figures_are_those_of_the_predictions(bundle, monkeypatch):
    monkeypatch.setattr("train.metrics.bootstrap.BOOTSTRAP_SAMPLES", 20)
    for r in [bundle.validation[0], *bundle.cross_site]:
        again = set_figures(r.figures.name, r.figures.role, r.rows, r.figures.threshold)
        assert repr(again) == repr(r.figures)


def test_the_overview_puts_the_six_side_by_side_on_the_same_images(bundle):
    title, six = grouped(bundle, ())[0]
    assert (title, [r.model for r in six]) == ("BUS-BRA, official fold 4", list(MODELS))
    sentences, table = blocks_of("Overview", bundle)[:2]
    labels, scores = arrays(bundle.validation[0].rows)
    found = rates(confusion(labels, scores, 0.31))["sensitivity"]
    assert f"finds {found * 100:.0f} of 100 cancers" in sentences.text
    assert "malignant at a threshold chosen to find 95 of 100 of these (AUC" in sentences.text
    trained = "RcdNet was trained for 30 epochs on images of 128 to 192 pixels a side; it reads scans at 224."
    others = "ResNet50, MobileNetV2, RegNet, ViT and ResNeXt were trained differently: epochs 20 instead of 30."
    for text in (sentences.text, table.text, blocks_of("Differences", bundle)[0].text):
        assert trained in text
        assert others in text
    other = "ResNet50, MobileNetV2, RegNet, ViT and ResNeXt were trained differently from RcdNet; see Overview."
    assert blocks_of("Curves", bundle)[0].text.endswith(other)
    assert measured_how(bundle.cards).startswith("The weights that the app uses learnt from all of these images")
    itself = replace(bundle.cards["vit"], run=bundle.cards["vit"].validation[0].results)
    assert measured_how({"vit": itself}) == ""
    shown = {row[""]: row for row in table.table}
    for r in six:
        assert shown["AUC"][r.name].startswith(f"{roc_auc_score(*arrays(r.rows)):.3f} [")
        assert all(
            shown[t][r.name] == format_estimate(r.figures.figures[k])
            for k, t in COLUMNS.items()
            if k in r.figures.figures
        )
    assert [trace.name for trace in table.figure.data] == [*(spec.title for spec in MODELS.values()), "reference"]


def test_a_sensitivity_that_was_chosen_is_not_the_headline_where_another_is_known(bundle):
    r = bundle.validation[0]
    held = replace(
        r,
        figures=replace(
            r.figures,
            held_out={"auc": 0.87, "auc_by_group": 0.88, "sensitivity": 0.914, "specificity": 0.72, "ece": 0.04},
        ),
    )
    sentence = in_a_sentence([held])
    assert "finds 91 of 100 cancers and calls 28 of 100 benign lesions malignant (AUC" in sentence
    assert "; 0.87 if the other folds calibrate)" in sentence
    assert "has an AUC of 0.870 by image and 0.880 by patient or group, sensitivity 0.914" in roles([held])


def test_references_and_what_was_left_out_stand_beside(bundle):
    r = bundle.validation[0]
    rows = {row[""]: row[r.name] for row in figures_table([r])}
    box = r.figures.references["box geometry"]
    assert rows["AUC of box geometry"] == f"{format_estimate(box.auc)} on {box.images}"
    told = roles([replace(r, left_out=("a: its patient is in the run's data", "b: its patient is in the run's data"))])
    assert told.endswith("2 left out: its patient is in the run's data.")


def test_a_cell_or_a_column_that_begins_like_a_formula_is_harmless_and_a_number_stays_one():
    shown = ReportBlock("", "", [{"=1+1": -0.5, "run": "@SUM(A1)"}])
    assert shown.csv == "'=1+1,run\n-0.5,'@SUM(A1)\n"


def test_what_a_threshold_is_worth_stands_in_the_report(bundle):
    shown = at_thresholds(bundle, ())[0][0]
    r = bundle.validation[0]
    at = point(r.rows, r.figures.threshold, 0.1)
    assert shown.table[1] == {
        "share malignant": "10 %", "sensitivity": f"{at.sensitivity:.3f}", "specificity": f"{at.specificity:.3f}",
        "PPV": f"{at.ppv:.3f}", "NPV": f"{at.npv:.3f}",
    }  # fmt: skip


def test_every_section_shows_tables_that_its_figures_draw(bundle):
    for section in SECTIONS:
        shown = blocks_of(section, bundle)
        assert shown or section == "Your hospital", section  # which is of tests of one's own
        assert len({block.title for block in shown}) == len(shown)
        for block in shown:
            assert block.csv.count("\n") == len(block.data or block.table) + 1
            assert not any(isinstance(v, str) and "[" in v for row in block.data for v in row.values())  # numbers
            if block.figure is not None:
                assert len(block.figure.data) > 0
                plotly.io.from_json(block.figure.to_json())


def test_the_differences_are_delongs(bundle):
    shown = blocks_of("Differences", bundle)[0]
    assert len(shown.table) == 15
    six = {r.name: r for r in grouped(bundle, ())[0][1]}
    row = next(row for row in shown.table if (row["first"], row["second"]) == ("RcdNet", "ViT"))
    means = []
    for name in ("RcdNet", "ViT"):
        labels, scores = arrays(six[name].rows)
        means.append(group_means(labels, scores, np.array([r.group for r in six[name].rows])))
    c = compare_auc(means[0][0], means[0][1], means[1][1])
    assert c.p == compare_rows(six["RcdNet"].rows, six["ViT"].rows).p
    assert row["p"] == ("< 0.0001" if c.p < 0.0001 else f"{c.p:.4f}")
    drawn = shown.figure.data[0]
    assert drawn.z[0][4] == pytest.approx(c.difference) == -drawn.z[4][0]


def test_the_worst_cases_are_the_most_wrong(bundle):
    shown = blocks_of("Worst cases", bundle)[0].table
    rcdnet = {row.id: row for row in grouped(bundle, ())[0][1][0].rows}
    wrong = [abs(row.label - row.probability) for row in (rcdnet[line["image"]] for line in shown)]
    assert wrong == sorted(wrong, reverse=True)
    assert all((rcdnet[x["image"]].probability >= 0.31) != (x["truth"] == "malignant") for x in shown)
    assert min(wrong) >= max(
        abs(r.label - r.probability)
        for r in rcdnet.values()
        if r.id not in {x["image"] for x in shown} and (r.probability >= 0.31) != r.label
    )


def test_what_the_paper_reports_is_never_in_one_table_with_ours(bundle):
    shown = blocks_of("Paper", bundle)
    reported = [e for e in shown if e.title.startswith("Reported by the paper")]
    assert len(reported) == 2
    assert "0.9351" in reported[1].csv
    assert "cannot be reproduced as stated" in reported[1].text
    for block in [e for e in shown if e not in reported]:
        assert block.title.startswith("Measured here")
        assert "0.9351" not in block.csv


def test_an_operating_point_is_the_engines(bundle):
    result = bundle.validation[0]
    at, chart, scores = operating_point(result, 0.6, 0.1)
    counts = confusion(*arrays(result.rows), 0.6)
    assert at.confusion == counts
    assert f"<b>{counts.true_positive}</b>" in chart.data[0].text[0][0]
    assert sum(len(trace.x) for trace in scores.data) == len(result.rows)


def test_figures_of_other_weights_are_refused_with_the_command(drawn_tree, tmp_path):
    tree = copied(drawn_tree, tmp_path / "tree")
    weights, results = tree / "assets" / "weights", tree / "assets" / "results"
    (weights / "vit.safetensors").write_bytes(b"trained anew")
    table = results / "regnet-folds" / "predictions.csv"
    table.write_text(table.read_text().replace(",0.1", ",0.2", 1))
    path = weights / "resnet50.json"
    card = json.loads(path.read_text())
    card["validation"][0]["predictions_sha256"] = "0" * 64
    path.write_text(json.dumps(card))
    (weights / "mobilenetv2.json").unlink()
    (results / "resnext-fold4" / "evaluation.json").unlink()
    now = load_bundled_results(weights, results)
    assert list(now.cards) == ["rcdnet"]
    assert {r.model for r in [*now.validation, *now.folds, *now.cross_site]} == {"rcdnet"}
    assert "ship RUN" in now.missing["vit"]
    assert "other weights" in now.missing["vit"]
    assert "is not the file its evaluation was made from" in now.missing["regnet"]
    assert "python -m train evaluate" in now.missing["resnet50"]
    assert "not trained yet" in now.missing["mobilenetv2"]
    assert "are not there" in now.missing["resnext"]
    assert blocks_of("Overview", now)


def test_own_runs_and_tests_stand_under_their_own_names(bundle, drawn_tree, run, tmp_path):
    runs = copied(drawn_tree, tmp_path / "tree") / "runs"
    copied(run, runs / "mine")
    copied(run, runs / "RcdNet")
    own, missing = load_user_results(runs)
    assert own["RcdNet"][0].name == "RcdNet (yours)"  # never one curve with the bundled model's
    assert list(own) == ["RcdNet", "mine"]  # the bundled RcdNet of this checkout has other weights than the drawn one
    assert "python -m train evaluate rcdnet --data SOURCE=DIR" in missing["bundled-rcdnet on our-clinic"]
    [first, second] = own["mine"]
    assert (first.name, first.images, second.images) == (
        "mine", "BUS-BRA, its own validation images", "BUSI, its own validation images",
    )  # fmt: skip
    titles = [e.title for e in blocks_of("Curves", bundle, own["mine"])]
    assert "ROC curve. mine: BUS-BRA, its own validation images" in titles
    assert chosen_results(["mine"], runs) == [first, second]
    with pytest.raises(DatasetError, match=r"no evaluation named 'yours'.*there is: RcdNet, mine"):
        chosen_results(["yours"], runs)
    with pytest.raises(DatasetError, match="other weights"):
        chosen_results(["bundled-rcdnet on our-clinic"], runs)
    best = runs / "mine" / "best.json"
    best.write_text(best.read_text().replace('"sha256": "', '"sha256": "0'))
    assert load_user_results(runs)[1]["mine"].startswith("mine is not shown.")


def test_tests_of_several_models_on_one_folder_stand_together_and_never_beside_validation(bundle):
    six = grouped(bundle, ())[0][1]
    clinic = [replace(r, name=f"{r.name} on clinic", images="clinic, external test", external=True) for r in six[:2]]
    assert [r.rows for r in clinic] == [r.rows for r in six[:2]]  # the very images of validation
    groups = grouped(bundle, clinic)
    assert groups[:-1] == grouped(bundle, ())
    assert groups[-1] == ("clinic, external test", clinic)
    assert "clinic, external test" in {e.title for e in blocks_of("Differences", bundle, clinic)}
    assert grouped(bundle, clinic[:1])[-1][0] == "RcdNet on clinic: clinic, external test"


def test_a_card_that_says_otherwise_than_its_evaluation_is_refused(drawn_tree, tmp_path):
    assets = copied(drawn_tree, tmp_path / "tree") / "assets"
    for model, key, number in (("rcdnet", "threshold", 0.5), ("vit", "sensitivity", 1.0)):
        card = assets / "weights" / f"{model}.json"
        data = json.loads(card.read_text())
        (data if key in data else data["validation"][0])[key] = number
        card.write_text(json.dumps(data))
    found = load_bundled_results(assets / "weights", assets / "results")
    assert set(found.missing) == {"rcdnet", "vit"}
    assert all("do not say the same" in reason for reason in found.missing.values())


def test_a_test_of_weights_that_may_have_seen_the_images_stands_alone(bundle):
    """The app's weights were trained on every image of the public sets; on them they would beat their own validation."""
    own = replace(bundle.validation[0], name="bundled-rcdnet on busi", external=True)
    groups = grouped(bundle, [own])
    assert groups[-1][1] == [own]
    assert all(own not in members for _, members in groups[:-1])
    beside = replace(own, name="my run", external=False)
    assert any(beside in members and len(members) > 1 for _, members in grouped(bundle, [beside]))


def test_images_of_the_same_name_under_other_labels_are_others(bundle):
    result = bundle.validation[0]
    turned = [replace(row, label=1 - row.label) for row in result.rows]
    assert compare_rows(result.rows, turned) is None
    other = replace(result, name="my run", rows=tuple(turned))
    assert grouped(bundle, [other])[-1][1] == [other]
