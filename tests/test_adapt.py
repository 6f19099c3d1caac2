"""A hospital's own operating point: chosen on few labelled scans, kept beside the test, never in place of the shipped one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from scipy.special import expit
from streamlit.testing.v1 import AppTest

import pages.shared.access_control
import pages.shared.model_choice
import pages.shared.your_hospital
import train.results.load_results
from rcdnet.errors import CheckpointError, DatasetError
from rcdnet.models.local_operating_point import read_local_operating_point
from rcdnet.present.prediction_report import call_row
from rcdnet.present.prediction_sentences import answer_sentence, site_sentence
from rcdnet.reading.inference import at_site, classify, load_classifier
from rcdnet.scans.scan_and_mask import Scan
from train.__main__ import main
from train.arguments import argument_parser
from train.data.phantoms import write_dataset
from train.evaluate.adapt import (
    adaptation,
    adaptation_sentences,
    bundled_tests,
    local_operating_points,
    save_local_operating_point,
)
from train.evaluate.evaluation_record import read_evaluation
from train.evaluate.external_test import OPERATING_POINT
from train.evaluate.predictions import PredictionRow
from train.metrics.local_operating_point import conformal_verdict_thresholds, local_point, simulate
from train.results.load_results import load_user_results
from train.results.your_hospital_blocks import your_hospital_blocks
from train.runs import external_test_from_page
from train.runs.data_locations import find_datasets


def scans(count: int, apart: float, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, a third of them malignant, and log-odds that are `shift` too high."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 3 == 0).astype(int)
    return labels, rng.normal(size=count) + apart * (labels - 0.5) + shift


def row(number: int, label: int, probability: float) -> PredictionRow:
    return PredictionRow(
        f"scan {number}", "clinic", None, number, label, 0.0, 0.0, 0.0, probability, None, None, None,
        float("nan"), float("nan"), None, float("nan"),
    )  # fmt: skip


def test_a_shift_is_taken_back():
    labels, log_odds = scans(300, 3.0, shift=2.0)
    point = local_point(labels, log_odds)
    assert point.slope > 0
    assert point.probability(log_odds).mean() == pytest.approx(labels.mean(), abs=0.01)
    assert expit(log_odds).mean() > labels.mean() + 0.15


def test_few_scans_move_the_bias_alone():
    labels, log_odds = scans(60, 3.0, shift=2.0)
    point = local_point(labels, log_odds)
    assert point.slope == 1
    assert -3 < point.bias < -1


def test_thresholds_keep_what_conformal_ranks_promise():
    missed, reached = [], []
    new_labels, new = scans(3000, 2.0, seed=1000)
    for seed in range(60):
        labels, log_odds = scans(180, 2.0, seed=seed)
        thresholds = conformal_verdict_thresholds(labels, expit(log_odds))
        missed.append((expit(new[new_labels == 1]) < thresholds.low).mean())
        reached.append((expit(new[new_labels == 0]) >= thresholds.high).mean())
    assert np.mean(missed) <= 0.02 + 0.005
    assert np.mean(reached) <= 0.10 + 0.01


@pytest.mark.parametrize(("cancers", "low"), [(48, False), (49, True)])
def test_below_49_cancers_nothing_is_told_low_suspicion(cancers, low):
    labels = np.array([1] * cancers + [0] * 20)
    probabilities = np.linspace(0.9, 0.1, len(labels))
    assert (conformal_verdict_thresholds(labels, probabilities).low > 0) is low


def test_a_model_that_ranks_nothing_has_no_operating_point():
    labels, log_odds = scans(300, 3.0)
    with pytest.raises(DatasetError, match="cannot tell benign from malignant"):
        local_point(labels, -log_odds)
    with pytest.raises(DatasetError, match="scans of both classes"):
        local_point(np.zeros(30, int), np.arange(30.0))


def test_more_scans_prove_more():
    labels, log_odds = scans(600, 2.0)
    few, many = simulate(labels, log_odds, np.arange(600), [30, 300], draws=40)
    assert many.sensitivity[2] - many.sensitivity[1] < few.sensitivity[2] - few.sensitivity[1]
    assert few.cleared[2] == 0  # too few cancers for a low threshold
    assert many.cleared[0] > 0.1
    assert simulate(labels, log_odds, np.arange(600), [30], draws=5) == simulate(
        labels, log_odds, np.arange(600), [30], draws=5
    )


def test_patients_are_drawn_whole(monkeypatch):
    labels, log_odds = scans(120, 2.0)
    groups, seen = np.repeat(np.arange(40), 3), []

    def watched(chosen_labels, chosen_log_odds):
        seen.append(np.isin(log_odds, chosen_log_odds))
        return local_point(chosen_labels, chosen_log_odds)

    monkeypatch.setattr("train.metrics.local_operating_point.local_point", watched)
    simulate(labels, log_odds, groups, [30], draws=5)
    for drawn in seen:
        assert all(len(set(drawn[groups == group])) == 1 for group in range(40))
        assert 30 <= drawn.sum() < 34


def test_what_is_said_of_a_hospital():
    labels, log_odds = scans(60, 3.0, shift=1.0)
    rows = [row(k, int(y), float(p)) for k, (y, p) in enumerate(zip(labels, expit(log_odds), strict=True))]
    said = adaptation_sentences(adaptation("clinic", "rcdnet", tuple(rows)))
    assert said[1].endswith("of clinic to be malignant; 33 are.")
    assert "Among 20 cancers no threshold can promise" in said[3]
    assert "Chosen on one half of them" in said[4]
    assert "nothing can be said" in adaptation_sentences(adaptation("clinic", "rcdnet", tuple(rows[:30])))[-1]
    with pytest.raises(DatasetError, match="clinic has 19 scans with a label; 20 or more"):
        adaptation("clinic", "rcdnet", tuple(rows[:19]))


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """A folder of runs with the bundled RcdNet tested on a clinic's phantoms, its operating point saved."""
    runs = tmp_path_factory.mktemp("runs")
    write_dataset(runs / "data", 15, seed=3)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("train.__main__", "train.evaluate.external_test", "train.evaluate.adapt"):
            patch.setattr(f"{module}.RUNS_FOLDER", runs)
        assert main(["adapt", "--data", f"folder={runs / 'data'}", "--name", "clinic", "--save"]) == 0
    return runs


def test_one_command_tests_and_keeps_an_operating_point_beside_the_test(tested, capsys):
    place = tested / "bundled-rcdnet" / "external" / "clinic"
    point = read_local_operating_point(place / OPERATING_POINT)
    evaluation = read_evaluation(place / "evaluation.json")
    assert (point.site, point.model, point.benign, point.malignant) == ("clinic", "rcdnet", 15, 15)
    assert point.weights_sha256 == load_classifier("rcdnet").card.sha256 == evaluation.weights_sha256[0]
    assert point.verdict.low == 0  # of 15 cancers
    assert local_operating_points(tested) == {"clinic": {"rcdnet": place / OPERATING_POINT}}
    assert list(bundled_tests(tested)) == ["bundled-rcdnet on clinic"]


def test_the_app_answers_by_it_when_asked_and_the_shipped_one_stays(tested, phantom):
    point = read_local_operating_point(tested / "bundled-rcdnet" / "external" / "clinic" / OPERATING_POINT)
    shipped = load_classifier("rcdnet")
    local = at_site(shipped, point)
    before, after = (classify(phantom, [c])[0] for c in (shipped, local))
    assert local.key != shipped.key
    assert before.threshold == shipped.card.threshold
    assert after.threshold == point.threshold
    assert after.thresholds == point.verdict
    assert np.array_equal(before.maps, after.maps)
    assert load_classifier("rcdnet").card == shipped.card
    assert "of clinic" in answer_sentence(after, binary=True)
    assert "nothing is told low suspicion" in site_sentence(point)
    assert "up to 4 % may be told low suspicion" in site_sentence(
        replace(point, verdict=replace(point.verdict, low=0.1), may_miss=0.038)
    )
    row = call_row("scan.png", Scan(phantom, "0" * 64), after)
    assert "By the operating point of clinic." in row["warnings"]
    assert "warnings" not in call_row("scan.png", Scan(phantom, "0" * 64), before)


def test_it_holds_for_these_weights_alone(tested):
    point = read_local_operating_point(tested / "bundled-rcdnet" / "external" / "clinic" / OPERATING_POINT)
    with pytest.raises(CheckpointError, match="of other weights of RcdNet"):
        at_site(load_classifier("rcdnet"), replace(point, weights_sha256="0" * 64))
    with pytest.raises(CheckpointError, match="of other weights of ViT"):
        at_site(load_classifier("vit"), point)


@pytest.mark.parametrize("change", [{"threshold": 0.0}, {"benign": -1}, {"verdict": 1}])
def test_a_damaged_one_is_refused(tested, tmp_path, change):
    given = json.loads((tested / "bundled-rcdnet" / "external" / "clinic" / OPERATING_POINT).read_text())
    (tmp_path / OPERATING_POINT).write_text(json.dumps(given | change))
    with pytest.raises(CheckpointError, match="Make it again: python -m train adapt"):
        read_local_operating_point(tmp_path / OPERATING_POINT)


def test_results_shows_the_shipped_point_beside_the_local_one(tested):
    own, refused = load_user_results(tested)
    assert not refused
    ((block,),) = your_hospital_blocks(None, own["bundled-rcdnet on clinic"])
    assert block.title == "RcdNet on clinic, external test"
    assert [line[""] for line in block.table][:2] == ["cancers called malignant", "benign lesions called benign"]
    assert len(block.table) == 5
    assert "clinic" in block.text


@pytest.fixture
def allowed(monkeypatch):
    """Who is at the page may see runs."""
    for module in (pages.shared.access_control, pages.shared.model_choice, pages.shared.your_hospital):
        monkeypatch.setattr(module, "training_denied_reason", lambda: "")


@pytest.mark.usefixtures("allowed")
def test_analyse_offers_it_beside_the_shipped_one(tested, monkeypatch):
    monkeypatch.setattr(pages.shared.model_choice, "local_operating_points", lambda: local_operating_points(tested))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    sample = (ROOT / "assets" / "samples" / "phantom-cyst.png").read_bytes()
    app.file_uploader[0].upload("scan.png", sample, "image/png").run()
    assert "Calibration and thresholds are those of" not in " ".join(one.value for one in app.caption)
    app.selectbox(key="keep_site").set_value("clinic").run()
    assert not app.exception
    assert "ResNet50, MobileNetV2, RegNet, ViT and ResNeXt stay as they came." in [one.value for one in app.caption]
    captions = " ".join(one.value for one in app.caption)
    assert (
        "Calibration and thresholds are those of clinic\\, chosen on 30 of its scans\\, 15 of them cancers" in captions
    )
    app.selectbox(key="keep_site").set_value("").run()
    assert "those of clinic" not in " ".join(one.value for one in app.caption)


@pytest.mark.usefixtures("allowed")
def test_the_results_page_offers_it_and_takes_it_back(tested, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    shutil.copytree(tested / "bundled-rcdnet", runs / "bundled-rcdnet")
    point = runs / "bundled-rcdnet" / "external" / "clinic" / OPERATING_POINT
    point.unlink()
    name = "bundled-rcdnet on clinic"
    monkeypatch.setattr(pages.shared.your_hospital, "bundled_tests", lambda: bundled_tests(runs))
    results = load_user_results(runs)
    monkeypatch.setattr(train.results.load_results, "load_user_results", lambda: results)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    app.session_state["keep_own_results"], app.session_state["tab_results"] = [name], "Your hospital"
    app.switch_page("pages/results.py").run()
    assert not app.exception
    assert "RcdNet on clinic\\, external test" in [one.value for one in app.subheader]
    next(button for button in app.button if button.label == "Offer on Analyse").click().run()
    assert read_local_operating_point(point).site == "clinic"
    next(button for button in app.button if button.label == "Take it back").click().run()
    assert not point.exists()
    assert not app.exception


def test_the_page_tests_a_bundled_model_by_the_same_command(tmp_path, monkeypatch):
    write_dataset(tmp_path / "our clinic", 2)
    asked = []
    monkeypatch.setattr(
        external_test_from_page, "run_module", lambda arguments, device, patience: asked.append(arguments)
    )
    (place,) = find_datasets(tmp_path)
    name = external_test_from_page.run_bundled_test("vit", place.title, tmp_path)
    assert name == "bundled-vit on our-clinic-phantoms-csv"
    (arguments,) = asked
    assert arguments[:4] == ["train", "adapt", "--models", "vit"]
    options = argument_parser().parse_args(arguments[1:])
    assert (options.models, options.name, options.save) == (["vit"], "our-clinic-phantoms-csv", False)
    assert Path(options.data[1]) == tmp_path / "our clinic" / "phantoms.csv"
    with pytest.raises(DatasetError, match="no longer exists"):
        external_test_from_page.run_bundled_test("vit", "gone", tmp_path)


def test_another_test_takes_the_operating_point_of_the_last_one_with_it(tested, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    shutil.copytree(tested / "bundled-rcdnet", runs / "bundled-rcdnet")
    for module in ("train.__main__", "train.evaluate.external_test", "train.evaluate.adapt"):
        monkeypatch.setattr(f"{module}.RUNS_FOLDER", runs)
    assert local_operating_points(runs)
    assert main(["adapt", "--data", f"folder={tested / 'data'}", "--name", "clinic"]) == 0
    assert local_operating_points(runs) == {}


@pytest.mark.usefixtures("allowed")
def test_words_in_a_hospitals_name_are_no_html(tested, monkeypatch, tmp_path):
    place = tested / "bundled-rcdnet" / "external" / "clinic" / "operating_point.json"
    point = json.loads(place.read_text()) | {"threshold_rule": "the threshold of <img src=x>"}
    (tmp_path / "point.json").write_text(json.dumps(point))
    sites = {"clinic": {"rcdnet": tmp_path / "point.json"}}
    monkeypatch.setattr(pages.shared.model_choice, "local_operating_points", lambda: sites)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    sample = (ROOT / "assets" / "samples" / "phantom-cyst.png").read_bytes()
    app.session_state["keep_binary"] = True
    app.file_uploader[0].upload("scan.png", sample, "image/png").run()
    app.selectbox(key="keep_site").set_value("clinic").run()
    shown = " ".join(one.proto.body for one in app.get("html"))
    assert "&lt;img src=x&gt;" in shown
    assert "<img src=x" not in shown


def test_a_draw_without_a_rank_is_counted_too():
    labels, log_odds = scans(200, 0.1)
    (found,) = simulate(labels, log_odds, np.arange(200), [160], draws=20)
    assert 0 <= found.sensitivity[1] <= found.sensitivity[2] <= 1


def test_a_run_of_ones_own_is_no_bundled_model(tested, tmp_path):
    shutil.copytree(tested / "bundled-rcdnet", tmp_path / "mine")
    assert bundled_tests(tmp_path) == {}
    assert local_operating_points(tmp_path) == {}
    assert save_local_operating_point(tested / "bundled-rcdnet" / "external" / "clinic").site == "clinic"
