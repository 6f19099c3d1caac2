"""A weight file and the card beside it, put there and read together.

`assets/weights/<name>.safetensors` holds fp16 tensors, `<name>.json` the card, which names the SHA-256 of the weights; `SHA256SUMS`
that of every bundled card. A user's own weights have no such file: their card is held to what any card must be.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.torch import load as load_tensors
from torch import nn

from rcdnet.errors import CheckpointError, NotTrained
from rcdnet.models.card import LIMIT, MINIMUM_AUC, ModelCard
from rcdnet.models.lesion_decoder import LesionDecoder, decoder_for, split_state_dict
from rcdnet.models.registry import CLASSES, create_model, spec_of
from rcdnet.safe_read import MB, Unreadable, parse_as, parse_json, quoted, read_regular
from rcdnet.scans import preprocessing

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent.parent / "assets" / "weights"
IMAGENET_FOLDER = WEIGHTS_FOLDER.parent / "imagenet"  # trunks that came with the app, as the README beside them says
CHECKSUM_FILE = "SHA256SUMS"  # as sha256sum writes it
LARGEST_WEIGHTS = 1024 * MB


def read_card(name: str, folder: Path = WEIGHTS_FOLDER) -> ModelCard:
    """The card of `name`.

    Raises:
        UnknownModel: no such model. NotTrained: it has no card.
        CheckpointError: the card cannot be read, is of something else, or is not the one that was shipped.
    """
    title = spec_of(name).title
    path = folder / f"{name}.json"
    if not path.exists() and not path.is_symlink():
        raise NotTrained(f"{title} is not trained yet. Train it with: {training_hint(name)}")
    try:
        content = read_regular(path, LIMIT)
        if not is_as_shipped(path.name, content, folder):
            raise CheckpointError(
                f"The card {path.name} is not the one that was shipped (SHA-256 differs from {CHECKSUM_FILE}). Restore it from the "
                "release, or ship its run again: python -m train ship RUN"
            )
        card = ModelCard.from_json(content)
        if card.model != name:
            raise Unreadable(f"it is of {quoted(card.model)}")
    except Unreadable as error:
        raise CheckpointError(f"The card {path.name} cannot be read ({error}). Restore it from the release.") from error
    return card


def card_digest(name: str, folder: Path = WEIGHTS_FOLDER) -> str:
    """SHA-256 of the card of `name` as it lies there now; empty without one that can be read."""
    try:
        return hashlib.sha256(read_regular(folder / f"{name}.json", LIMIT)).hexdigest()
    except Unreadable:
        return ""


def is_as_shipped(name: str, content: bytes, folder: Path) -> bool:
    """Whether a card's content is what `CHECKSUM_FILE` holds it to; also where the folder has none. Raises as `read_checksums`."""
    pins = read_checksums(folder)
    return pins is None or pins.get(name) == hashlib.sha256(content).hexdigest()


def parse_pinned(kind: Any, name: str, content: bytes, folder: Path) -> Any:
    """The `kind` in the content of a card that `write_pinned` put there; `Unreadable` if it is none, or not the one that was shipped."""
    if not is_as_shipped(name, content, folder):
        raise Unreadable("it is not the one that was shipped")
    return parse_as(kind, parse_json(content))


def read_pinned_arrays(path: Path, limit: int, sha256: str) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file whose card names this SHA-256, float32.

    Raises:
        Unreadable: it is not there, or another one. SafetensorError: it is damaged.
    """
    data = read_regular(path, limit)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Unreadable("the arrays beside it are of another one")
    return {name: array.astype(np.float32) for name, array in load_arrays(data).items()}


def read_checksums(folder: Path) -> dict[str, str] | None:
    """SHA-256 by the name of each card that was shipped into a folder; None where the folder holds nobody to it.

    Raises:
        CheckpointError: the list is damaged.
    """
    path = folder / CHECKSUM_FILE
    if not path.exists():
        return None
    try:
        lines = [line.split() for line in read_regular(path, LIMIT).decode().splitlines()]
        return {card.removeprefix("*"): digest for digest, card in lines}
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}). Restore it from the release.") from error


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
    own, side = (card.classes, card.preprocessing, card.input_size), spec_of(name).input_size
    if own != (CLASSES, preprocessing.VERSION, side):
        raise CheckpointError(
            f"The weights of {title} were made for classes {card.classes}, preprocessing {card.preprocessing} and {card.input_size} "
            f"pixels; this version uses {CLASSES}, {preprocessing.VERSION} and {side}. Train it with: {training_hint(name)}"
        )
    if not card.calibration.network > 0:
        raise CheckpointError(
            f"On the card of {title}, the network has no weight in the probability, so every scan would get the same one. Restore the "
            f"card, or train the model with: {training_hint(name)}"
        )
    path = folder / f"{name}.safetensors"
    if not path.exists():
        raise CheckpointError(f"The card of {title} is there but {path.name} is not. Restore it from the release.")
    try:
        data = read_regular(path, LARGEST_WEIGHTS)
    except Unreadable as error:
        raise CheckpointError(f"{path.name} cannot be read ({error}). Restore it from the release.") from error
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
    network, decoder = model_from_tensors(name, load_tensors(data))
    return network.eval(), decoder.eval() if decoder else None


def model_from_tensors(
    name: str, tensors: Mapping[str, torch.Tensor], *, drop_path: float = 0.0
) -> tuple[nn.Module, LesionDecoder | None]:
    """The network that holds the tensors of a weight file, and its decoder if there are any of it, float32.

    Raises:
        RuntimeError: the tensors are of another network.
    """
    of_network, of_decoder = split_state_dict(tensors)
    network = create_model(name, drop_path=drop_path)
    network.load_state_dict(of_network)
    if not of_decoder:
        return network, None
    decoder = decoder_for(network, spec_of(name).input_size)
    decoder.load_state_dict(of_decoder)
    return network, decoder


def write_checkpoint(weights: bytes, card: ModelCard, folder: Path = WEIGHTS_FOLDER) -> None:
    """Write a weight file and its card as `write_pinned` does."""
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise CheckpointError(f"The card of {card.model} carries another SHA-256 than the weights it is written with.")
    write_pinned({f"{card.model}.safetensors": weights}, f"{card.model}.json", card.to_json().encode(), folder)


def write_pinned(files: Mapping[str, bytes], card: str, content: bytes, folder: Path) -> None:
    """Write files and, last, the card of this name that makes them complete; a full disk leaves the earlier ones.

    Where the folder holds its cards to `SHA256SUMS`, the card's line there is renewed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = dict(files)
    if (pins := read_checksums(folder)) is not None:
        pins[card] = hashlib.sha256(content).hexdigest()
        written[CHECKSUM_FILE] = "".join(f"{digest}  {name}\n" for name, digest in sorted(pins.items())).encode()
    written[card] = content
    try:
        for name, data in written.items():
            (folder / f"{name}.new").write_bytes(data)
        for name in written:
            (folder / f"{name}.new").replace(folder / name)
    except OSError:
        for name in written:
            (folder / f"{name}.new").unlink(missing_ok=True)
        raise


def training_hint(name: str) -> str:
    """The commands that train and ship `name`, for a message."""
    run = f"runs/{name}"
    return (
        f"python -m train fit --model {name} --data busbra=DIR --data busi=DIR --out {run}, "
        f"then python -m train ship {run}"
    )
