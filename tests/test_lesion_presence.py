"""A model is asked first whether it sees a lesion; where it sees none it makes no call, on the page, in files and on the command line."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FAULTS, ROOT, damaged_copy, encoded
from PIL import Image
from streamlit.testing.v1 import AppTest
from synthetic_results import draw_results

from rcdnet.__main__ import main as rcdnet_main
from rcdnet.errors import CheckpointError, DatasetError
from rcdnet.models.checkpoint import WEIGHTS_FOLDER
from rcdnet.models.lesion_presence import (
    NAME,
    LesionPresence,
    PresenceCard,
    load_lesion_presence,
    load_presence_cards,
    presence_features,
)
from rcdnet.models.registry import MODELS
from rcdnet.present.answers import answer, label
from rcdnet.present.charts import probability_bars
from rcdnet.present.heatmap_export import grid_maps
from rcdnet.present.heatmap_grid import OWN, PREDICTED_CLASS, Look, build_grid, shown, viewer_data
from rcdnet.present.prediction_report import call_row, scan_figure
from rcdnet.present.prediction_sentences import (
    agreement,
    answer_sentence,
    evidence_sentence,
    numbers,
    presence_sentence,
)
from rcdnet.reading.inference import classify, load_classifier
from rcdnet.scans.preprocessing import letterbox_of
from rcdnet.scans.scan_and_mask import Scan, read_scan
from train.data.dataset_readers import read_sources
from train.data.labels import NO_LESION
from train.data.load_images import read_pixels
from train.data.phantoms import write_dataset
from train.results.lesion_presence_blocks import lesion_presence_blocks
from train.results.load_results import load_bundled_results
from train.studies.lesion_presence import ScanFeatures, publish_lesion_presence, teach

SAMPLES = sorted((WEIGHTS_FOLDER.parent / "samples").glob("*.png"))


@pytest.fixture(scope="module")
def predictions(phantom):
    return classify(phantom, [load_classifier(name) for name in ("rcdnet", "mobilenetv2", "vit")])


@pytest.fixture
def no_lesion(monkeypatch):
    """Every model sees no lesion, whatever it is shown."""
    monkeypatch.setattr(LesionPresence, "sees_lesion", lambda self, features: False)


def test_the_border_of_the_canvas_does_not_count():
    frame = letterbox_of(100, 200, 224)  # a quarter of the canvas above the scan, a quarter below
    maps = [torch.rand(3, side, side, generator=torch.Generator().manual_seed(side)) for side in (28, 14, 8)]
    changed = [level.clone() for level in maps]
    for level in changed:
        level[:, : level.shape[1] // 4] = 9
        level[:, -(level.shape[1] // 4) :] = 9
    found = presence_features(maps, frame)
    assert found.shape == (27,)
    assert found.dtype == np.float32
    assert np.array_equal(found, presence_features(changed, frame))
    assert found[6] == pytest.approx(np.log1p(maps[0][0, 7:21].max().item()))


@pytest.mark.parametrize("name", MODELS)
def test_every_bundled_model_is_asked(name):
    classifier = load_classifier(name)
    assert classifier.presence
    assert classifier.presence.card.weights_sha256 == classifier.card.sha256
    assert {counts.data for counts in classifier.presence.card.left_out} == {"BUS-BRA", "BUSI", "BrEaST"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_model_sees_the_lesion_of_the_apps_own_phantoms(sample):
    made = classify(read_scan(sample.read_bytes()).pixels, [load_classifier(name) for name in MODELS])
    assert [p.title for p in made if p.no_lesion] == []


def test_lesions_are_seen_and_normal_breasts_are_mostly_left_alone(data_folder):
    samples = read_sources([("busi", data_folder / "Dataset_BUSI_with_GT"), ("breast", data_folder / "BrEaST")])
    rcdnet = load_classifier("rcdnet")

    def unseen(chosen) -> float:
        return float(np.mean([classify(read_pixels(sample), [rcdnet])[0].no_lesion for sample in chosen]))

    assert unseen([s for s in samples if s.label == NO_LESION][::5]) >= 0.6
    assert unseen([s for s in samples if s.label != NO_LESION][::20]) <= 0.05


def test_no_lesion_is_no_call(predictions, phantom):
    seen = predictions[0]
    p = replace(seen, no_lesion=True)
    assert p.verdict == "no lesion"
    for binary in (False, True):
        assert answer(p, binary=binary).word == "no lesion seen"
        assert label(p, binary=binary) == "○ no lesion"
        assert numbers(p, binary=binary) == "no call"
        assert "does not rule out cancer" in answer_sentence(p, binary=binary)
    assert evidence_sentence(p) == ""
    row = call_row("scan.png", Scan(phantom, "0" * 64), p)
    assert (row["verdict"], row["call"], row["p_malignant"], row["threshold"]) == ("no lesion", None, None, None)


def test_agreement_names_who_sees_no_lesion(predictions):
    rcdnet, mobilenet, vit = predictions
    none = [replace(p, no_lesion=True) for p in predictions]
    word = answer(mobilenet).word
    assert agreement(none) == "All 3 models see no lesion."
    assert agreement(none[:1]) == "RcdNet sees no lesion; no other model is compared here."
    assert agreement([none[0], mobilenet, none[2]]) == f"RcdNet and ViT see no lesion; MobileNetV2 answers {word}."
    assert agreement([rcdnet, none[1], none[2]]).startswith("Only RcdNet sees a lesion, and answers ")
    assert agreement([rcdnet, none[1], vit]).endswith(" MobileNetV2 sees no lesion.")


def test_a_model_without_a_call_has_a_row_and_no_bar(predictions):
    figure = probability_bars([replace(predictions[0], no_lesion=True), *predictions[1:]])
    assert list(figure.data[0].y) == ["MobileNetV2", "ViT"]
    assert "○ no lesion" in [note.text for note in figure.layout.annotations]


def test_a_figure_shows_the_scan_alone_where_no_lesion_is_seen(predictions, phantom):
    scan, blind = Scan(phantom, "0" * 64), [replace(predictions[0], no_lesion=True)]
    assert scan_figure(scan, blind, opacity=0.1) == scan_figure(scan, blind, opacity=0.9)
    assert scan_figure(scan, predictions[:1], opacity=0.1) != scan_figure(scan, predictions[:1], opacity=0.9)


def test_the_page_gives_no_probability_and_no_heatmap(no_lesion):
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    app.file_uploader[0].upload("scan.png", SAMPLES[0].read_bytes(), "image/png").run()
    assert not app.exception
    shown = " ".join(one.proto.body for one in app.get("html"))
    assert shown.count("no lesion") >= 6
    assert "Probability of malignancy" not in shown
    assert "threshold" not in shown
    captions = " ".join(one.value for one in app.caption)
    assert "In cross-validation" in captions
    assert "Grad-CAM on a" not in captions
    assert "All 6 models see no lesion." in [one.value for one in app.markdown]


def test_compare_shows_maps_of_a_fixed_class_and_no_hidden_call(predictions, phantom):
    given = [replace(predictions[0], no_lesion=True, probabilities=np.array([p, 1 - p])) for p in (0.01, 0.99)]
    notes = []
    for p in given:
        grid = build_grid([shown("Scan 1", phantom)], [[p]], [PREDICTED_CLASS], OWN)
        data = viewer_data(grid, Look(0.5, "Inferno", False), [], [None])
        notes.append((data["rows"], data["panels"][0]["label"], data["panels"][0]["note"]))
        about = json.loads(str(np.load(BytesIO(grid_maps(grid, ["0" * 64], {"rcdnet": "cbam"})))["about"]))
        assert (about[0]["p_malignant"], about[0]["threshold"]) == (None, None)
    assert notes[0] == notes[1]
    assert notes[0][0][0]["note"] == ["○ no lesion"]


def test_what_is_kept_of_a_scan_is_not_that_of_another_question(phantom):
    asked = load_classifier("rcdnet")
    other = replace(asked, presence=replace(asked.presence, card=replace(asked.presence.card, bar=9.0)))
    assert asked.key != other.key
    assert [classify(phantom, [c])[0].no_lesion for c in (asked, other)] == [False, True]


def test_predict_gives_no_number_and_no_heatmap(no_lesion, tmp_path, capsys):
    assert rcdnet_main(["predict", str(SAMPLES[0]), "--models", "rcdnet", "--heatmaps", str(tmp_path / "maps")]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["verdict"], row["call"], row["p_malignant"], row["threshold"]) == ("no lesion", None, None, None)
    assert list((tmp_path / "maps").iterdir()) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_without_a_whole_file_no_model_answers(fault, tmp_path):
    with pytest.raises(CheckpointError, match="Restore"):
        load_lesion_presence("rcdnet", load_classifier("rcdnet").card.sha256, damaged_copy(NAME, fault, tmp_path))


def test_other_weights_are_not_asked(tmp_path):
    assert load_lesion_presence("rcdnet", "0" * 64) is None
    assert load_lesion_presence("rcdnet", load_classifier("rcdnet").card.sha256, tmp_path) is None


def test_features_of_another_network_are_refused():
    presence = load_classifier("rcdnet").presence
    with pytest.raises(CheckpointError, match="does not fit the network of rcdnet"):
        presence.sees_lesion(np.zeros(7, np.float32))


def drawn(rng: np.random.Generator, source: str, lesions: int, normals: int, apart: float) -> ScanFeatures:
    """Features of which the first tells lesions from the rest; the second differs by site alone."""
    lesion = np.arange(lesions + normals) < lesions
    features = rng.normal(size=(len(lesion), 2, 6)).astype(np.float32)
    features[:, :, 0] += apart * lesion[:, None]
    features[:, :, 1] += len(source)
    groups = np.arange(len(lesion)) + 1000 * len(source)
    return ScanFeatures(features, lesion, np.repeat(source, len(lesion)), groups)


def joined(*sites: ScanFeatures) -> ScanFeatures:
    return ScanFeatures(
        *(np.concatenate([getattr(s, name) for s in sites]) for name in ("features", "lesion", "sources", "groups"))
    )


def test_the_bar_is_passed_by_its_share_of_the_lesions_of_every_site():
    rng = np.random.default_rng(0)
    scans = joined(drawn(rng, "busi", 400, 100, 5.0), drawn(rng, "breast", 200, 40, 3.0))
    weight, bias, card = teach(scans, PresenceCard("rcdnet", "0" * 64, 0.0, (), ()))
    assert np.abs(weight).argmax() == 0
    for counts in card.by_fold:
        assert counts.seen / counts.lesions > 0.96
    busi, breast = card.by_fold
    assert busi.passed >= 90
    assert breast.passed < 40
    # Without BUSI the bar comes from lesions that are harder to see, and the other way round.
    assert [counts.data for counts in card.left_out] == ["BUSI", "BrEaST"]
    assert card.left_out[1].seen < card.by_fold[1].seen
    scores = scans.features[:, 0] @ weight + bias
    assert (scores[scans.lesion] >= card.bar).mean() > 0.97


def test_it_is_taught_by_one_command(tmp_path):
    write_dataset(tmp_path / "site", 12)
    for number in range(12):
        strip = Image.fromarray(np.random.default_rng(number).integers(60, 90, (200, 260), dtype=np.uint8))
        (tmp_path / "site" / "normal").mkdir(exist_ok=True)
        (tmp_path / "site" / "normal" / f"{number}.png").write_bytes(encoded(strip))
    cards = publish_lesion_presence([("folder", tmp_path / "site")], models=("mobilenetv2",), folder=tmp_path / "out")
    assert load_presence_cards(tmp_path / "out") == cards
    (card,) = cards.models
    (counts,) = card.by_fold
    assert (counts.data, counts.lesions, counts.normals, counts.passed) == ("phantoms", 24, 12, 12)
    assert counts.seen >= 23
    assert card.left_out == ()
    presence = load_lesion_presence("mobilenetv2", card.weights_sha256, tmp_path / "out")
    asked = replace(load_classifier("mobilenetv2"), presence=presence)
    images = [("folder", Path(tmp_path / "site"))]
    for sample in read_sources(images):
        assert classify(read_pixels(sample), [asked])[0].no_lesion == (sample.label == NO_LESION)


def test_one_kind_of_scan_teaches_nothing(tmp_path):
    write_dataset(tmp_path / "site", 3)
    with pytest.raises(DatasetError, match="No data set has enough scans both with and without a lesion"):
        publish_lesion_presence([("folder", tmp_path / "site")], models=("mobilenetv2",), folder=tmp_path)


def test_figures_of_weights_that_were_replaced_are_not_shown(tmp_path):
    draw_results(tmp_path / "assets")
    weights, results = tmp_path / "assets" / "weights", tmp_path / "assets" / "results"
    path = weights / f"{NAME}.json"
    text = path.read_text()
    assert len(load_bundled_results(weights, results).lesion_presence.models) == len(MODELS)
    digest = json.loads((weights / "vit.json").read_text())["sha256"]
    path.write_text(text.replace(digest, "0" * 64))
    assert "vit" not in [card.model for card in load_bundled_results(weights, results).lesion_presence.models]


def test_results_says_how_many_normal_breasts_are_left_alone():
    bundle = load_bundled_results()
    (by_fold,), (left_out,) = lesion_presence_blocks(bundle, [])
    assert len(by_fold.table) == len(left_out.table) == 3 * len(MODELS)
    busi = next(row for row in by_fold.table if row[""] == "RcdNet, BUSI")
    counts = next(c for c in bundle.lesion_presence.models[0].by_fold if c.data == "BUSI")
    assert busi["no lesion seen"].startswith(f"{counts.passed / counts.normals * 100:.1f} %")
    assert lesion_presence_blocks(replace(bundle, lesion_presence=None), []) == []
    sentence = presence_sentence(bundle.lesion_presence.models[0])
    apart = next(c for c in bundle.lesion_presence.models[0].left_out if c.data == "BUSI")
    assert f"had taught it that, it was {apart.passed} of {apart.normals}." in sentence
    assert f"no call on {counts.passed} of {counts.normals} normal breasts of BUSI." in sentence
