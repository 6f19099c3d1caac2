"""A hospital's own operating point: chosen on few labelled scans, kept beside the test, never in place of the shipped one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
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
    bundled_tests,
    local_operating_points,
    save_local_operating_point,
)
from train.evaluate.evaluation_record import read_evaluation
from train.evaluate.external_test import OPERATING_POINT
from train.results.load_results import load_user_results
from train.results.your_hospital_blocks import your_hospital_blocks
from train.runs import external_test_from_page
from train.runs.data_locations import find_datasets


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


def test_a_run_of_ones_own_is_no_bundled_model(tested, tmp_path):
    shutil.copytree(tested / "bundled-rcdnet", tmp_path / "mine")
    assert bundled_tests(tmp_path) == {}
    assert local_operating_points(tmp_path) == {}
    assert save_local_operating_point(tested / "bundled-rcdnet" / "external" / "clinic").site == "clinic"
