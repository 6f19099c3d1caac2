"""Sentences, tables and figures say what the predictions say."""

import csv
from dataclasses import replace
from io import BytesIO, StringIO

import numpy as np
import pytest
from PIL import Image

from rcdnet.bench import untrained_classifier
from rcdnet.models.calibration import Calibration
from rcdnet.models.card import Figures
from rcdnet.present.charts import probability_bars
from rcdnet.present.prediction_report import call_row, calls_csv, scan_figure
from rcdnet.present.prediction_sentences import agreement, call_sentence, evidence_sentence, trust_sentence
from rcdnet.present.text import escape_formula, printable
from rcdnet.reading.inference import classify
from rcdnet.scans.scan_and_mask import Scan


@pytest.fixture(scope="module")
def predictions(classifiers, phantom):
    return classify(phantom, [classifiers[name] for name in ("rcdnet", "mobilenetv2", "regnet", "vit")])


@pytest.fixture(scope="module")
def scan(phantom) -> Scan:
    return Scan(phantom, "ab" * 32)


def with_p(prediction, p: float, threshold: float = 0.5):
    return replace(prediction, probabilities=np.array([1 - p, p], np.float32), threshold=threshold)


def test_the_sentence_names_side_threshold_and_rule(predictions):
    rule = "the threshold that found 95 % of the cancers on validation"
    above = replace(with_p(predictions[0], 0.83, 0.31), threshold_rule=rule)
    assert call_sentence(above) == f"Probability of malignancy 0.83: at or above 0.31, {rule}."
    assert "0.12: below 0.31" in call_sentence(with_p(predictions[0], 0.12, 0.31))


def test_a_call_against_the_likelier_class_says_so(predictions):
    """A threshold that finds nearly every cancer calls malignant what is more likely benign."""
    low, high = (call_sentence(with_p(predictions[0], *numbers)) for numbers in ((0.2, 0.08), (0.6, 0.7)))
    assert "0.20: at or above 0.08, " in low and low.endswith(
        " By this probability, benign is more likely than malignant."
    )
    assert "0.60: below 0.70, " in high and high.endswith(" By this probability, malignant is more likely than benign.")


def test_close_numbers_get_the_decimals_that_tell_them_apart(predictions):
    assert "0.308: below 0.312" in call_sentence(with_p(predictions[0], 0.308, 0.312))


def test_agreement(predictions):
    def calls(*values):
        return agreement([with_p(p, v) for p, v in zip(predictions, values, strict=True)])

    assert calls(0.9, 0.9, 0.8, 0.7) == "All 4 models call this scan malignant."
    assert calls(0.9, 0.1, 0.1, 0.2) == "Only RcdNet calls this scan malignant; the other 3 models call it benign."
    assert calls(0.1, 0.9, 0.1, 0.2) == "3 of 4 models call this scan benign, as RcdNet does; MobileNetV2 differs."
    assert calls(0.1, 0.9, 0.1, 0.8).endswith("MobileNetV2 and ViT differ.")
    assert (
        agreement([with_p(predictions[0], 0.9)]) == "RcdNet calls this scan malignant; no other model is compared here."
    )
    two = [with_p(predictions[0], 0.9), with_p(predictions[3], 0.1)]
    assert agreement(two) == "RcdNet calls this scan malignant, ViT benign."


def test_what_a_call_rests_on_is_said(predictions):
    assert evidence_sentence(predictions[0]) == ""  # no outline, nothing beside the network
    parts = {"network": 1.24, "outline": -0.4, "shape": -0.01}
    assert evidence_sentence(replace(with_p(predictions[0], 0.8), parts=parts)) == (
        "The call adds up three parts, in log-odds: the network, explained by the heatmap (+1.2, toward malignant), the inside of its "
        "outline (-0.4, toward benign) and the outline's shape (+0.0, neutral). Every scan also gets a constant of +0.6."
    )
    faint = replace(with_p(predictions[0], 0.8), parts=parts, lesion=np.full((14, 14), 0.3, np.float32))
    assert "the inside of an outline too uncertain to draw (-0.4, toward benign)" in evidence_sentence(faint)


def test_trust_names_both_sets_and_what_the_threshold_costs():
    chosen = Figures("set A", "the threshold was chosen here", 365, 119, 200, 0.87, (0.82, 0.91), 0.88, 0.958, 0.4)
    applied = Figures("set B", "the threshold was only applied here", 98, 28, 90, 0.8, (0.7, 0.9), 0.8, 0.786, 0.529)
    card = replace(untrained_classifier("mobilenetv2").card, validation=(chosen, applied))
    assert trust_sentence(card) == (
        "On set A, where the threshold was chosen: AUC 0.87 (0.82 to 0.91), 60 % of the benign lesions called malignant. "
        "On set B: 79 % of 28 cancers found, 47 % of the benign lesions called malignant. "
        "The probability is not calibrated. It is not an individual patient's risk."
    )
    assert "The weights used here were trained on them too." in trust_sentence(replace(card, run="all of it"))
    assert "is calibrated on those images alone" in trust_sentence(replace(card, calibration=Calibration(network=0.8)))


def test_csv_reads_back_and_a_formula_in_a_file_name_is_disarmed(predictions, scan):
    noted = replace(scan, warnings=("coloured",))
    rows = [call_row("=HYPERLINK(1).png", noted, p) for p in predictions] + [{"image": "a,b.png", "error": "broken"}]
    read = list(csv.DictReader(StringIO(calls_csv(rows))))
    assert read[0]["image"] == "'=HYPERLINK(1).png"
    assert read[-1] == dict.fromkeys(read[0], "") | {"image": "a,b.png", "error": "broken"}
    for row, p in zip(read[:-1], predictions, strict=True):
        assert row["model"] == p.model
        assert row["warnings"] == "coloured"
        assert float(row["p_malignant"]) == p.p_malignant
        assert row["call"] == p.call


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "   +1", "\u00a0=1", "\u3000=1", "\u200b=1", "\ufeff=1", "\u2060@x",
        "\u202e=1", "\x00=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20x", "\ufe661", "\u22121", " \u200b \uff1d1", "\u2800=1", "\u3164=1",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_looks_like_a_formula_is_disarmed(cell):
    assert escape_formula(cell).startswith("'")
    (row,) = csv.DictReader(StringIO(calls_csv([{"image": cell, "error": cell}])))
    assert row["image"] == row["error"] == escape_formula(cell)


@pytest.mark.parametrize(
    "cell", ["scan-1.png", "a=b.png", "Müller 3.png", "スキャン.png", "0.915 [0.893, 0.934]", "1-2", ""]
)
def test_other_names_stay_as_they_are(cell):
    assert escape_formula(cell) == cell


def test_a_name_is_shown_without_what_nobody_sees():
    assert printable("a\u202egnp.exe") == "agnp.exe"  # which a page would show as aexe.png
    assert printable("\u2066a\u2069\u200e\u200f\u061c") == "a"
    assert printable("a\nb\rc\x1b[31md\x00\x7f\x9b") == "abc[31md"
    assert printable("a\u2028b\u2029\udcfc") == "ab"
    assert printable("Ünal é.png") == "Ünal é.png"


def test_the_figure_is_a_picture_of_every_model(predictions, scan):
    one = Image.open(BytesIO(scan_figure(scan, predictions[:1])))
    all_four = Image.open(BytesIO(scan_figure(scan, predictions)))
    assert one.format == all_four.format == "PNG"
    assert all_four.width > one.width
    assert np.asarray(all_four.convert("L")).std() > 20


def test_bars_carry_probability_threshold_and_call(predictions):
    figure = probability_bars(predictions, {"ResNeXt": "not trained yet"})
    bars, marks = figure.data
    assert list(bars.y) == [p.title for p in predictions] == list(marks.y)
    assert list(bars.x) == [p.p_malignant for p in predictions]
    assert list(marks.x) == [p.threshold for p in predictions]
    *message, untrained = [(a.y, a.text) for a in figure.layout.annotations]
    assert all(p.title == title and p.call in text for p, (title, text) in zip(predictions, message, strict=True))
    assert untrained == ("ResNeXt", "not trained yet")
