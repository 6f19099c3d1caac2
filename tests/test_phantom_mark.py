"""Weights that drawn phantoms taught never answer beside real calls without saying so."""

from dataclasses import replace

import pytest
from conftest import ROOT
from streamlit.testing.v1 import AppTest

import pages.shared.model_choice
from rcdnet.__main__ import main
from rcdnet.present.statements import ON_PHANTOMS
from rcdnet.reading.inference import Classifier, load_trained

SAMPLE = (ROOT / "assets" / "samples" / "phantom-cyst.png").read_bytes()


def taught_by(trained_on: str, own: str = "toy") -> Classifier:
    """Weights of somebody's own, as a card says what they learnt from."""
    vit = next(c for c in load_trained()[0] if c.spec.name == "vit")
    return replace(vit, card=replace(vit.card, trained_on=trained_on), own=own)


@pytest.mark.parametrize(
    ("trained_on", "marked"),
    [
        ("64 images of phantoms, from random weights", True),
        ("1200 images of BUS-BRA and 64 images of phantoms, from ImageNet weights", True),
        ("1200 images of BUS-BRA and 526 images of BUSI, from ImageNet weights", False),
        ("64 images of clinic, from random weights", False),
        ("64 images of phantoms-compared, from random weights", False),
    ],
)
def test_a_card_says_whether_phantoms_taught(trained_on, marked):
    assert taught_by(trained_on).on_phantoms == marked
    assert ("trained on phantoms" in taught_by(trained_on).title) == marked


@pytest.fixture
def app(monkeypatch) -> AppTest:
    """The app where somebody shows weights of phantoms and of scans of their own beside the others."""
    offered = {
        "toy": taught_by("64 images of phantoms, from random weights"),
        "mine": taught_by("9 images of x", "mine"),
    }
    monkeypatch.setattr(pages.shared.model_choice, "shared", lambda: dict.fromkeys(offered, ROOT))
    monkeypatch.setattr(pages.shared.model_choice, "load_custom", lambda name, folder: offered[name])
    monkeypatch.setattr(pages.shared.model_choice, "training_denied_reason", str)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    app.session_state["keep_own_models"] = list(offered)
    app.run()
    return app.file_uploader[0].upload("scan.png", SAMPLE, "image/png").run()


def test_a_call_of_such_weights_is_marked_on_analyse_and_counts_for_nothing(app):
    assert not app.exception
    cards = [html for html in (element.proto.body for element in app.get("html")) if "card" in html]
    (toy,) = (card for card in cards if "toy (your ViT)" in card)
    assert ON_PHANTOMS in toy
    assert "validation AUC" not in toy
    (mine,) = (card for card in cards if "mine (your ViT)" in card)
    assert ON_PHANTOMS not in mine
    assert "validation AUC" in mine
    assert any("All 7 models" in text.value or "of 7 models" in text.value for text in app.markdown)  # of eight


def test_its_calls_are_marked_in_the_table(app, monkeypatch):
    """The file is what is handed on."""
    tables: list[list[dict]] = []
    monkeypatch.setattr("rcdnet.present.prediction_report.calls_csv", lambda rows: tables.append(rows) or "")
    app.run()
    warnings = {row["model"]: row.get("warnings", "") for row in tables[-1]}
    assert len(warnings) == 8
    assert {model for model, warning in warnings.items() if ON_PHANTOMS in warning} == {"own:toy"}


def test_compare_says_it_and_does_not_count_it(app):
    app.session_state["keep_models"] = ["RcdNet", "ViT", "toy (your ViT), trained on phantoms"]
    app.session_state["keep_methods"] = ["Grad-CAM"]
    app.switch_page("pages/compare.py").run()
    assert not app.exception
    (message,) = (str(shown.proto) for shown in app.get("bidi_component") if "rcdnet_viewer" in str(shown.proto))
    assert "toy (your ViT), trained on phantoms, not on scans: its calls mean nothing here." in message
    assert "RcdNet answers" in message or "All 2 models" in message


@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_command_line_marks_them_too(monkeypatch, capsys, form):
    taught = [taught_by("64 images of phantoms, from random weights"), taught_by("9 images of x", "mine")]
    monkeypatch.setattr("rcdnet.__main__.load_trained", lambda: (taught, {}))
    scan = ROOT / "assets" / "samples" / "phantom-cyst.png"
    assert main(["predict", str(scan), "--format", form]) == 0
    toy, mine = [line for line in capsys.readouterr().out.splitlines() if "own:" in line]
    assert f"{ON_PHANTOMS}." in toy
    assert ON_PHANTOMS not in mine
