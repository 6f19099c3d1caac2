"""Weights are only loaded whole, matching and good enough."""

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from rcdnet.errors import CheckpointError, NotTrained
from rcdnet.models.card import Figures, ModelCard
from rcdnet.models.checkpoint import CHECKSUM_FILE, WEIGHTS_FOLDER, load_checkpoint, read_card, write_checkpoint
from rcdnet.models.registry import CLASSES, MODELS, create_model
from rcdnet.scans import preprocessing

GOOD = Figures("some scans", "the threshold was chosen here", 100, 40, 90, 0.9, (0.85, 0.94), 0.91, 0.95, 0.6)


@pytest.fixture
def pair() -> tuple[bytes, ModelCard]:
    """Random fp16 weights of the smallest model, and a card that fits."""
    torch.manual_seed(1)
    weights = save(
        {k: v.half() if v.is_floating_point() else v for k, v in create_model("mobilenetv2").state_dict().items()}
    )
    card = ModelCard(
        model="mobilenetv2",
        classes=CLASSES,
        input_size=224,
        preprocessing=preprocessing.VERSION,
        threshold=0.31,
        threshold_rule="a rule",
        validation=(GOOD,),
        trained_on="some other scans",
        training_command="python -m train fit",
        split_sha256="0" * 64,
        date="2026-11-22",
        known_failures=("normal scans",),
        sha256=hashlib.sha256(weights).hexdigest(),
    )
    return weights, card


def test_round_trip(pair, tmp_path):
    weights, card = pair
    write_checkpoint(weights, card, tmp_path)
    network, read, decoder = load_checkpoint("mobilenetv2", tmp_path)
    assert read == card
    assert decoder is None
    assert not network.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in network.parameters())


def test_a_disk_that_is_full_leaves_the_weights_that_answer(pair, tmp_path, monkeypatch):
    weights, card = pair
    write_checkpoint(weights, card, tmp_path)

    def half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(weights, replace(card, threshold=0.5), tmp_path)
    assert load_checkpoint("mobilenetv2", tmp_path)[1] == card
    assert len(list(tmp_path.iterdir())) == 2


def test_no_weights_says_how_to_train(tmp_path):
    with pytest.raises(NotTrained, match="python -m train fit --model vit"):
        load_checkpoint("vit", tmp_path)


def test_weights_too_weak_on_validation_give_no_answer(pair, tmp_path):
    weights, card = pair
    write_checkpoint(weights, replace(card, validation=(replace(GOOD, auc=0.74),)), tmp_path)
    with pytest.raises(NotTrained, match=r"validation AUC is 0\.74, at least 0\.75"):
        load_checkpoint("mobilenetv2", tmp_path)


def test_a_changed_weight_file_is_refused(pair, tmp_path):
    weights, card = pair
    write_checkpoint(weights, card, tmp_path)
    (tmp_path / "mobilenetv2.safetensors").write_bytes(weights[:-1] + b"x")
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load_checkpoint("mobilenetv2", tmp_path)


def test_weights_of_another_network_are_refused(tmp_path, pair):
    weights, card = pair
    write_checkpoint(weights, replace(card, model="rcdnet"), tmp_path)
    with pytest.raises(CheckpointError, match="does not fit the network of RcdNet"):
        load_checkpoint("rcdnet", tmp_path)


def test_weights_for_another_preprocessing_are_refused(pair, tmp_path):
    weights, card = pair
    write_checkpoint(weights, replace(card, preprocessing="stretched"), tmp_path)
    with pytest.raises(CheckpointError, match="preprocessing stretched"):
        load_checkpoint("mobilenetv2", tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model": "vit", "surprise": 1}'])
def test_a_broken_card_is_refused(text, tmp_path):
    (tmp_path / "vit.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"vit\.json cannot be read"):
        read_card("vit", tmp_path)


def test_the_shipped_weights_fit_their_cards_and_together_stay_under_130_mb():
    shipped = [name for name in MODELS if (WEIGHTS_FOLDER / f"{name}.json").exists()]
    assert "rcdnet" in shipped
    for name in shipped:
        network, card, _ = load_checkpoint(name)
        assert card.model == name
        assert next(network.parameters()).dtype == torch.float32
    assert sum(path.stat().st_size for path in WEIGHTS_FOLDER.iterdir()) < 130e6
    assert {path.suffix or path.name for path in WEIGHTS_FOLDER.iterdir()} == {".json", ".safetensors", CHECKSUM_FILE}


def test_cards_are_plain_json():
    for name in MODELS:
        assert json.loads((WEIGHTS_FOLDER / f"{name}.json").read_text())["validation"][0]["images"] > 0
