"""A weight file and the card beside it: what the weights are, how good they are, and for which input they hold.

`assets/weights/<name>.safetensors` holds fp16 tensors, `<name>.json` the card.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import nn

from rcdnet import preprocessing
from rcdnet.errors import CheckpointError, NotTrained
from rcdnet.registry import CLASSES, create_model, spec_of

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "assets" / "weights"
MINIMUM_AUC = 0.75  # on validation; below it a model's answer would mislead more than it helps


@dataclass(frozen=True)
class Figures:
    """How a model did on one set of images that it was not trained on.

    data: which images. role: what else they were used for. auc_interval: 95 %, bootstrap over patients or groups.
    sensitivity, specificity: at the card's threshold.
    """

    data: str
    role: str
    images: int
    malignant: int
    groups: int
    auc: float
    auc_interval: tuple[float, float]
    auc_by_group: float
    sensitivity: float
    specificity: float


@dataclass(frozen=True)
class ModelCard:
    """What must be known about a weight file to use it and to judge it.

    classes: in the order of the outputs. threshold: of the malignant probability, at or above which the call is malignant.
    threshold_rule: how the threshold was chosen, as the end of a sentence.
    validation: the first entry is the one the threshold was chosen on.
    sha256: of the weight file, checked at load.
    temperature: of the calibration; logits are divided by it. 1 where none was fitted.
    """

    model: str
    classes: tuple[str, ...]
    input_size: int
    preprocessing: str
    threshold: float
    threshold_rule: str
    validation: tuple[Figures, ...]
    trained_on: str
    training_command: str
    split_sha256: str
    date: str
    known_failures: tuple[str, ...]
    sha256: str
    temperature: float = 1.0

    @property
    def answers(self) -> bool:
        """Whether the model is good enough on validation to be shown."""
        return self.validation[0].auc >= MINIMUM_AUC


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
        data = json.loads(path.read_text(encoding="utf-8"))
        figures = tuple(Figures(**f | {"auc_interval": tuple(f["auc_interval"])}) for f in data.pop("validation"))
        data |= {key: tuple(data[key]) for key in ("classes", "known_failures")}
        return ModelCard(**data, validation=figures)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"The card {path.name} cannot be read ({error}). Restore it from the release.") from error


def load_checkpoint(name: str, folder: Path = WEIGHTS_FOLDER) -> tuple[nn.Module, ModelCard]:
    """The network of `name` with its weights, float32, in eval mode and frozen, and its card.

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
    network = create_model(name)
    try:
        network.load_state_dict(load_tensors(data))
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(
            f"{path.name} does not fit the network of {title}. Restore it from the release."
        ) from error
    return network.float().eval().requires_grad_(False), card


def write_checkpoint(weights: bytes, card: ModelCard, folder: Path = WEIGHTS_FOLDER) -> None:
    """Write a weight file and, last, its card; the card makes the pair complete."""
    if hashlib.sha256(weights).hexdigest() != card.sha256:
        raise CheckpointError(f"The card of {card.model} carries another SHA-256 than the weights it is written with.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{card.model}.safetensors").write_bytes(weights)
    (folder / f"{card.model}.json").write_text(json.dumps(asdict(card), indent=1, ensure_ascii=False) + "\n", "utf-8")


def training_hint(name: str) -> str:
    """The commands that train and ship `name`, for a message."""
    run = f"runs/{name}"
    return (
        f"python -m train fit --model {name} --data busbra=DIR --data busi=DIR --out {run}, "
        f"then python -m train evaluate {run} --ship"
    )
