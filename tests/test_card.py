"""A card that is not what it was makes no call: it ends in a sentence."""

import hashlib
import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load, save

from rcdnet.__main__ import main
from rcdnet.errors import CheckpointError
from rcdnet.models.card import ModelCard
from rcdnet.models.checkpoint import (
    CHECKSUM_FILE,
    WEIGHTS_FOLDER,
    load_checkpoint,
    read_card,
    read_checksums,
    write_checkpoint,
)
from rcdnet.models.registry import MODELS, spec_of
from rcdnet.reading.inference import Classifier, classify, load_custom
from train.__main__ import main as train
from train.data.phantoms import write_dataset

NAME = "mobilenetv2"


@pytest.fixture
def own(tmp_path):
    """A user's own weights, whose card nobody pins."""
    folder = tmp_path / "run" / "app"
    folder.mkdir(parents=True)
    for suffix in (".json", ".safetensors"):
        shutil.copy(WEIGHTS_FOLDER / f"{NAME}{suffix}", folder)
    return folder


def edited(folder, **changes) -> None:
    """Its card with other fields; a dotted name is of an object or list inside."""
    path = folder / f"{NAME}.json"
    card = json.loads(path.read_text())
    for name, value in changes.items():
        *outer, last = name.split("__")
        held = card
        for key in outer:
            held = held[int(key) if key.isdigit() else key]
        held[last] = value
    path.write_text(json.dumps(card))


def nested(levels: int):
    value: object = 0.5
    for _ in range(levels):
        value = [value]
    return value


NINE = {
    "a threshold that is no number": ({"threshold": float("nan")}, "NaN is no number"),
    "a threshold that no probability reaches": ({"threshold": 2}, "threshold: 2 is not between 0 and 1"),
    "a threshold of a truth value": ({"threshold": True}, "threshold: True is not a number"),
    "a calibration that is no number": ({"calibration__network": float("nan")}, "NaN is no number"),
    "a calibration of turned signs": ({"calibration__network": -1.9}, "calibration: network: -1.9 is not within 0"),
    "a bias that decides alone": ({"calibration__bias": -1000.0}, "calibration: bias: -1000 is not within -20 and 20"),
    "a threshold in words": ({"threshold": "0.09"}, "threshold: '0.09' is not a number"),
    "a threshold of nothing": ({"threshold": None}, "threshold: None is not a number"),
    "a card nested deep": ({"recipe": nested(60)}, "nested too deep"),
}
MORE = {
    "a threshold of nought": ({"threshold": 0}, "threshold: 0 is not between 0 and 1"),
    "a threshold of one": ({"threshold": 1.0}, "threshold: 1 is not between 0 and 1"),
    "an infinite weight": ({"calibration__network": float("inf")}, "Infinity is no number"),
    "a network without a say": ({"calibration__network": 0.0}, "the network has no weight in the probability"),
    "an outline that speaks the wrong way": ({"calibration__outline": -0.5}, "calibration: outline: -0.5 is not within"),
    "a box of another length": ({"calibration__box": [1.0, 2.0]}, "calibration: box has 2 numbers, not 9"),
    "a calibration that is none": ({"calibration": None}, "calibration: None is not an object"),
    "figures above one": ({"validation__0__auc": 7}, "validation: auc: 7 is not within"),
    "figures in words": ({"validation__0__auc": "0.9"}, "validation: auc: '0.9' is not a number"),
    "no figures": ({"validation": []}, "validation: it is empty"),
    "more cancers than images": ({"validation__0__malignant": 10**6}, "1000000 malignant and"),
    "an interval turned round": ({"validation__0__auc_interval": [0.9, 0.1]}, "its first end lies above"),
    "a number too large to be one": ({"input_size": 10**400}, "is too large a number"),
    "another model": ({"model": "vit"}, "it is of 'vit'"),
    "other weights": ({"sha256": "0" * 64}, "SHA-256 differs"),
    "a digest that is none": ({"sha256": "abc"}, "sha256: 'abc' is no SHA-256"),
    "another input": ({"input_size": 64}, "64 pixels; this version uses"),
    "a field that nobody knows": ({"surprise": 1}, "'surprise' is no field of a card"),
    "settings within settings": ({"recipe__seed": [[1]]}, "recipe: seed: [[1]] is no setting"),
}  # fmt: skip


@pytest.mark.parametrize("name", [*NINE, *MORE])
def test_an_edited_card_ends_in_a_sentence(name, own):
    changes, sentence = (NINE | MORE)[name]
    edited(own, **changes)
    with pytest.raises(CheckpointError) as caught:
        load_custom("mine", own)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b'"a text"', b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"model":' * 5000, b" " * 2_000_000, b'{"model": "\\ud800"}'],
    ids=["empty", "null", "text", "list", "half", "no text", "lists", "objects", "large", "surrogate"],
)  # fmt: skip
def test_what_is_no_card_ends_in_a_sentence(content, own):
    (own / f"{NAME}.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"The card {NAME}\.json cannot be read"):
        load_custom("mine", own)


@pytest.mark.parametrize("kind", ["folder", "pipe", "dead link"])
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_what_is_no_file_is_not_waited_for(kind, suffix, own):
    path = own / f"{NAME}{suffix}"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    with pytest.raises(CheckpointError):
        load_custom("mine", own)


def test_a_card_may_say_that_figures_are_undefined(own):
    edited(own, validation__0__ece=None, subgroups__0__sensitivity=None)
    card = load_custom("mine", own).card
    assert np.isnan([card.validation[0].ece, card.subgroups[0].sensitivity]).all()
    assert json.loads(card.to_json())["validation"][0]["ece"] is None


def test_every_bundled_card_is_pinned_and_comes_back_as_it_is():
    shipped = [name for name in MODELS if (WEIGHTS_FOLDER / f"{name}.json").exists()]
    assert shipped
    for name in shipped:
        content = (WEIGHTS_FOLDER / f"{name}.json").read_bytes()
        assert read_checksums(WEIGHTS_FOLDER)[f"{name}.json"] == hashlib.sha256(content).hexdigest()
        assert (
            json.loads(ModelCard.parse(WEIGHTS_FOLDER / f"{name}.json").to_json()).items()
            >= json.loads(content).items()
        )


@pytest.mark.parametrize("change", [{"threshold": 0.5}, {"calibration__bias": 2.0}, {"citations": []}], ids=str)
def test_a_bundled_card_is_the_one_that_was_shipped_or_none(change, own):
    """Each of these cards could be one; none is the one that was measured."""
    shutil.copy(WEIGHTS_FOLDER / CHECKSUM_FILE, own)
    assert load_checkpoint(NAME, own).card == read_card(NAME)
    edited(own, **change)
    with pytest.raises(CheckpointError, match="is not the one that was shipped") as caught:
        load_checkpoint(NAME, own)
    assert "python -m train ship RUN" in str(caught.value)


def test_shipping_renews_the_pin_of_its_card_alone(own):
    shutil.copy(WEIGHTS_FOLDER / CHECKSUM_FILE, own)
    before = read_checksums(own)
    card = replace(read_card(NAME), threshold=0.42)
    write_checkpoint((own / f"{NAME}.safetensors").read_bytes(), card, own)
    assert load_checkpoint(NAME, own).card.threshold == 0.42
    assert {name for name, digest in read_checksums(own).items() if before[name] != digest} == {f"{NAME}.json"}
    (own / CHECKSUM_FILE).write_text("nonsense\n")
    with pytest.raises(CheckpointError, match=f"{CHECKSUM_FILE} is damaged"):
        read_card(NAME, own)


def test_an_edited_card_of_the_app_makes_no_call(own, monkeypatch, capsys):
    """As it was found: a phantom at a probability of 0.989 was called benign without a word."""
    edited(own, threshold=float("nan"))
    monkeypatch.setattr("rcdnet.reading.inference.load_checkpoint", lambda name: load_checkpoint(name, own))
    monkeypatch.setattr("rcdnet.reading.inference.card_digest", lambda name: "edited")
    scan = WEIGHTS_FOLDER.parent / "samples" / "phantom-irregular-mass.png"
    assert main(["predict", str(scan), "--models", NAME]) == 1
    message = capsys.readouterr()
    assert message.out == ""
    assert "cannot be read (NaN is no number)" in message.err


def test_a_probability_that_is_no_number_is_an_error_and_no_call(own):
    tensors = load((own / f"{NAME}.safetensors").read_bytes())
    weights = save({k: v * float("nan") if k.startswith("classifier") else v for k, v in tensors.items()})
    write_checkpoint(weights, replace(read_card(NAME), sha256=hashlib.sha256(weights).hexdigest()), own)
    with pytest.raises(CheckpointError, match="gives no valid number"):
        load_custom("mine", own)  # here, so that it takes no scan with it


def test_a_card_made_by_hand_with_a_threshold_that_is_no_number_makes_no_call(phantom):
    network, card, decoder = load_checkpoint(NAME)
    with pytest.raises(CheckpointError, match="MobileNetV2 gave no valid number for this scan, so it makes no call"):
        classify(phantom, [Classifier(spec_of(NAME), replace(card, threshold=float("nan")), network, decoder)])


def test_weights_that_give_no_number_are_no_evaluation(own, tmp_path, capsys):
    write_dataset(tmp_path / "set", 2)
    tensors = load((own / f"{NAME}.safetensors").read_bytes())
    weights = save({k: v * float("nan") if k.startswith("classifier") else v for k, v in tensors.items()})
    write_checkpoint(weights, replace(read_card(NAME), sha256=hashlib.sha256(weights).hexdigest()), own)
    data, out = f"folder={tmp_path / 'set' / 'phantoms.csv'}", tmp_path / "test"
    assert train(["evaluate", str(own / f"{NAME}.safetensors"), "--data", data, "--out", str(out)]) == 1
    assert "The weights give no valid number for 4 of 4 images" in capsys.readouterr().err
    assert not out.exists()
