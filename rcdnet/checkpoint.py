"""A weight file and the card beside it, put there and read together.

`assets/weights/<name>.safetensors` holds fp16 tensors, `<name>.json` the card.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from rcdnet import preprocessing
from rcdnet.card import MINIMUM_AUC, ModelCard
from rcdnet.errors import CheckpointError, NotTrained
from rcdnet.outline import LesionDecoder, decoder_for, parted
from rcdnet.registry import CLASSES, create_model, spec_of

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "assets" / "weights"


def read_card(name: str, folder: Path = WEIGHTS_FOLDER) -> ModelCard:
    """The card of `name`.

    Raises:
        UnknownModel: no such model. NotTrained: it has no card. CheckpointError: the card cannot be read.
    """
    title = spec_of(name).title
    path = folder / f"{name}.json"
    if not path.exists():
        raise NotTrained(f"{title} is not trained yet. Train it with: {training_hint(name)}")
    try:
        return ModelCard.parse(path)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"The card {path.name} cannot be read ({error}). Restore it from the release.") from error


def card_digest(name: str, folder: Path = WEIGHTS_FOLDER) -> str:
    """SHA-256 of the card of `name` as it lies there now; empty without one."""
    path = folder / f"{name}.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


class Checkpoint(NamedTuple):
    """A network ready to use, float32, in eval mode and frozen; its card; and the decoder of its outline, if it has one."""

    network: nn.Module
    card: ModelCard
    decoder: LesionDecoder | None


def load_checkpoint(name: str, folder: Path = WEIGHTS_FOLDER) -> Checkpoint:
    """The network of `name` with its weights.

    Raises:
        UnknownModel: no such model. NotTrained: it has no weights, or too weak ones.
        CheckpointError: file and card do not belong together, or were made for another input.
    """
    card = read_card(name, folder)
    title = spec_of(name).title
    if not card.answers:
        raise NotTrained(
            f"{title} gives no answer: its validation AUC is {card.validation[0].auc:.2f}, at least {MINIMUM_AUC:.2f} is "
            f"expected. Train it with: {training_hint(name)}"
        )
    if card.classes != CLASSES or card.preprocessing != preprocessing.VERSION:
        raise CheckpointError(
            f"The weights of {title} were made for classes {card.classes} and preprocessing {card.preprocessing}; "
            f"this version uses {CLASSES} and {preprocessing.VERSION}. Train it with: {training_hint(name)}"
        )
    path = folder / f"{name}.safetensors"
    if not path.exists():
        raise CheckpointError(f"The card of {title} is there but {path.name} is not. Restore it from the release.")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise CheckpointError(
            f"{path.name} is not the file its card describes (SHA-256 differs). Restore both together."
        )
    try:
        network, decoder = build(name, data)
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{path.name} does not fit the network of {title}. Restore it from the release."
        ) from error
    return Checkpoint(network.requires_grad_(False), card, decoder.requires_grad_(False) if decoder else None)


def build(name: str, data: bytes) -> tuple[nn.Module, LesionDecoder | None]:
    """The network in the bytes of a safetensors file, and its decoder if there is one, float32 and in eval mode.

    Raises:
        SafetensorError, RuntimeError: the bytes are damaged, or of another network.
    """
    network, decoder = holding(name, load_tensors(data))
    return network.eval(), decoder.eval() if decoder else None


def holding(
    name: str, tensors: Mapping[str, torch.Tensor], *, drop_path: float = 0.0
) -> tuple[nn.Module, LesionDecoder | None]:
    """The network that holds the tensors of a weight file, and its decoder if there are any of it, float32.

    Raises:
        RuntimeError: the tensors are of another network.
    """
    of_network, of_decoder = parted(tensors)
    network = create_model(name, drop_path=drop_path)
    network.load_state_dict(of_network)
    if not of_decoder:
        return network, None
    decoder = decoder_for(network, spec_of(name).input_size)
    decoder.load_state_dict(of_decoder)
    return network, decoder


def write_checkpoint(weights: bytes, card: ModelCard, folder: Path = WEIGHTS_FOLDER) -> None:
    """Write a weight file and, last, its card; the card makes the pair complete. A full disk leaves the earlier pair."""
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise CheckpointError(f"The card of {card.model} carries another SHA-256 than the weights it is written with.")
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"{card.model}.safetensors": weights, f"{card.model}.json": card.to_json().encode()}
    try:
        for name, content in files.items():
            (folder / f"{name}.new").write_bytes(content)
        for name in files:
            (folder / f"{name}.new").replace(folder / name)
    except OSError:
        for name in files:
            (folder / f"{name}.new").unlink(missing_ok=True)
        raise


def training_hint(name: str) -> str:
    """The commands that train and ship `name`, for a message."""
    run = f"runs/{name}"
    return (
        f"python -m train fit --model {name} --data busbra=DIR --data busi=DIR --out {run}, "
        f"then python -m train ship {run}"
    )
