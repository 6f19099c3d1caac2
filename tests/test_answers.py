"""Three answers on screen and in files: words, sentences, agreement, and what they meant on scans that did not choose them."""

from dataclasses import replace

import numpy as np
import pytest

from rcdnet.bench import untrained_classifier
from rcdnet.models.card import Figures, ModelCard
from rcdnet.models.verdict import ConformalThresholds, VerdictCounts, VerdictThresholds
from rcdnet.present.answers import TONES, answer, label
from rcdnet.present.charts import probability_bars
from rcdnet.present.prediction_report import call_row
from rcdnet.present.prediction_sentences import agreement, answer_sentence, numbers, trust_sentence, verdict_meaning
from rcdnet.reading.inference import classify
from rcdnet.safe_read import Unreadable
from rcdnet.scans.scan_and_mask import Scan

THRESHOLDS = VerdictThresholds(0.04, 0.27, 0.02, 0.1)


@pytest.fixture(scope="module")
def predictions(classifiers, phantom):
    return classify(phantom, [classifiers[name] for name in ("rcdnet", "mobilenetv2", "regnet", "vit")])


def with_p(prediction, p: float):
    return replace(prediction, probabilities=np.array([1 - p, p]), threshold=0.07, thresholds=THRESHOLDS)


@pytest.mark.parametrize(
    ("p", "word", "sentence"),
    [
        (0.02, "low suspicion", "0.02: below 0.04, so suspicion is low. This does not rule out cancer."),
        (0.1, "uncertain", "0.10: between 0.04 and 0.27. A person has to read this scan."),
        (0.27, "high suspicion", "0.27: at or above 0.27, so suspicion is high."),
    ],
)
def test_an_answer_is_one_word_and_one_sentence(predictions, p, word, sentence):
    told = with_p(predictions[0], p)
    assert answer(told).word == word
    if p != 0.27:
        assert answer_sentence(told) == f"Probability of malignancy {sentence}"
    else:  # as close as can be: more decimals do not tell them apart
        assert "at or above" in answer_sentence(told)
    assert answer(told, binary=True).word == told.call
    assert "0.07" in answer_sentence(told, binary=True)


def test_nobody_is_told_malignant_at_one_in_ten(predictions):
    told = with_p(predictions[0], 0.1)
    assert told.call == "malignant"  # at the paper's one threshold
    shown = [
        answer(told).word,
        answer_sentence(told),
        label(told),
        agreement([told, *[with_p(p, 0.1) for p in predictions[1:]]]),
    ]
    shown += [annotation.text for annotation in probability_bars([told]).layout.annotations]
    assert not any("malignant" in text for text in shown if not text.startswith("Probability of malignancy"))
    assert shown[3] == "All 4 models answer uncertain."


def test_agreement_counts_answers_and_not_calls(predictions):
    def answers(*values):
        return agreement([with_p(p, v) for p, v in zip(predictions, values, strict=True)])

    assert answers(0.02, 0.03, 0.1, 0.9) == "2 of 4 models answer low suspicion, as RcdNet does; RegNet and ViT differ."
    assert answers(0.02, 0.1, 0.1, 0.2) == "Only RcdNet answers low suspicion; the other 3 models answer uncertain."
    assert answers(0.02, 0.1, 0.1, 0.9).startswith("Only RcdNet answers low suspicion; the others differ")
    two = [with_p(p, v) for p, v in zip(predictions[:2], (0.02, 0.9), strict=True)]
    assert agreement(two) == "RcdNet answers low suspicion, MobileNetV2 high suspicion."
    assert agreement(two, binary=True) == "RcdNet calls this scan benign, MobileNetV2 malignant."


def test_a_row_has_the_verdict_beside_the_call(predictions, phantom):
    scan = Scan(phantom, "ab" * 32)
    row = call_row("a.png", scan, with_p(predictions[0], 0.1))
    assert (row["call"], row["verdict"]) == ("malignant", "uncertain")
    assert call_row("a.png", scan, predictions[0])["verdict"] is None  # weights of before, without thresholds
    assert answer(predictions[0]).word == predictions[0].call
    assert numbers(with_p(predictions[0], 0.1)) == "p 0.10, low 0.04, high 0.27"


def test_the_answers_differ_in_sign_and_colour(predictions):
    given = [answer(with_p(predictions[0], p)) for p in (0.01, 0.1, 0.9)]
    given.append(answer(replace(predictions[0], no_lesion=True)))
    assert len({a.sign for a in given}) == len({a.colour for a in given}) == 4
    assert {a.tone for a in given} == TONES.keys()


def test_what_the_answers_meant_comes_from_the_card():
    card = untrained_classifier("mobilenetv2").card
    assert verdict_meaning(card) == ""
    counts = tuple(VerdictCounts(data, "", (30, 60, 10), (1, 9, 40), 100, (90, 45)) for data in ("A", "B"))
    set_a = Figures("A", "", 200, 50, 200, 0.9, (0.85, 0.95), 0.9, 0.95, 0.5)
    card = replace(
        card,
        sha256="0" * 64,
        validation=(set_a,),
        verdict=THRESHOLDS,
        conformal=ConformalThresholds(0.9, 0.7, 0.1),
        verdict_counts=counts,
    )
    assert verdict_meaning(card) == (
        "Low suspicion was given to 2 of 100 cancers (2.0 %) and 30 % of 200 benign lesions; high suspicion to 80 % of the cancers and "
        "10 % of the benign lesions (A and B, cross-validation)."
    )
    assert verdict_meaning(card) in trust_sentence(card, binary=False)
    assert verdict_meaning(card) not in trust_sentence(card)
    assert ModelCard.from_json(card.to_json().encode()) == card
    wrong = replace(card, verdict=replace(THRESHOLDS, low=0.5))
    with pytest.raises(Unreadable, match=r"above the 0\.27 where high begins"):
        ModelCard.from_json(wrong.to_json().encode())
