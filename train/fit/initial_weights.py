"""The weights a run starts from."""

from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from rcdnet.errors import CheckpointError, ConfigError, DatasetError
from rcdnet.models.checkpoint import IMAGENET_FOLDER, WEIGHTS_FOLDER, load_checkpoint, model_from_tensors
from rcdnet.models.lesion_decoder import LesionDecoder, split_state_dict
from rcdnet.models.rcdnet import TRUNK
from rcdnet.models.registry import create_model, spec_of
from train.config import INITS
from train.data.splits import Split

IMAGENET_TRUNKS = {name: IMAGENET_FOLDER / f"{name}-trunk.safetensors" for name in ("rcdnet", "mobilenetv2")}


class Start(NamedTuple):
    """A network to train, and the lesion decoder that its weights came with, if there is one."""

    network: nn.Module
    decoder: LesionDecoder | None = None


def starting_model(name: str, init: str, *, drop_path: float = 0.0) -> Start:
    """A network of `name`, ready to train.

    Args:
        init: "random"; "imagenet", those in `IMAGENET_TRUNKS` from there and the others' from timm's cache or the network; "bundled", the
            app's own; or a safetensors file, of one of this project's runs or of timm's ImageNet weights.

    Raises:
        ConfigError: the weights cannot be had, or do not fit.
        NotTrained, CheckpointError: there are no bundled weights for `name`, or they are damaged.
    """
    title = spec_of(name).title
    if init == "random":
        return Start(_with_silent_head(create_model(name, drop_path=drop_path)))
    if init == "bundled":
        load_checkpoint(name)  # refuses what is missing, damaged or too weak
        return _from_file(name, WEIGHTS_FOLDER / f"{name}.safetensors", drop_path)
    if init == "imagenet" and name in IMAGENET_TRUNKS:
        return _from_file(name, IMAGENET_TRUNKS[name], drop_path)
    if init == "imagenet":
        try:
            return Start(_with_silent_head(create_model(name, pretrained=True, drop_path=drop_path)))
        except Exception as error:  # the hub's own errors have no common root
            raise ConfigError(
                f"The ImageNet weights of {title} could not be fetched ({type(error).__name__}). Connect once to "
                "huggingface.co, or start from random weights. On the command line you can also give timm's weight file: --init FILE."
            ) from error
    return _from_file(name, Path(init), drop_path)


def check_start_leakage(init: str, split: Split) -> None:
    """Refuse to start from the weights of a run that trained on images which validate here.

    Raises:
        DatasetError: it names how many.
    """
    if init in INITS:
        return
    other = Path(init).parent / "split.json"
    shared = set(split.validation) & set(Split.read(other).train) if other.exists() else set()
    if shared:
        raise DatasetError(
            f"{len(shared)} validation images of this run were used to train the weights of {Path(init).parent.name}. Start from other "
            f"weights, or use that run's split on the command line: --split-file {other}"
        )


def _from_file(name: str, path: Path, drop_path: float) -> Start:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"{path.name} cannot be read as safetensors ({error}). Expected weights of a run or of timm."
        ) from error
    model = create_model(name)
    if split_state_dict(tensors)[0].keys() == model.state_dict().keys():
        try:
            network, decoder = model_from_tensors(name, tensors, drop_path=drop_path)
            return Start(network.train(), decoder)
        except RuntimeError as error:
            raise CheckpointError(f"{path.name} does not fit {spec_of(name).title}: {error}") from error
    # timm itself is silent about weights that are missing from a file.
    if missing := _trunk_names(model) - tensors.keys():
        wanted = TRUNK if name == "rcdnet" else spec_of(name).timm_name
        raise ConfigError(
            f"{path.name} fits neither {spec_of(name).title} nor timm's {wanted}: {len(missing)} tensors are missing, "
            f"{min(missing)} among them. Choose another file."
        )
    return Start(_with_silent_head(create_model(name, pretrained=True, weights_file=path, drop_path=drop_path)))


def _trunk_names(model: nn.Module) -> set[str]:
    """The tensors that timm's ImageNet weights have to bring: all but the classifier, and of RcdNet those of its trunk."""
    classifier = next(name for name, module in model.named_modules() if module is model.get_classifier())
    names = {
        k for k in model.state_dict() if not k.endswith("num_batches_tracked") and not k.startswith(f"{classifier}.")
    }
    trunk = {k.removeprefix("trunk.") for k in names if k.startswith("trunk.")}
    return trunk or names


def _with_silent_head(model: nn.Module) -> nn.Module:
    """With a classifier of zeros, which says 0.5 to everything.

    Its two outputs then stay each other's opposite in all training. So the heatmap of a class shows what speaks for it against
    the other, not what both outputs happened to share at random.
    """
    classifier = model.get_classifier()
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    return model
