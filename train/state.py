"""The checkpoints of a run: `last.safetensors` to go on from, `best.safetensors` to use; a JSON beside each says what it is.

Every file is written beside its place and moved there, so that a kill at any instant leaves a whole one.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from rcdnet import preprocessing
from rcdnet.errors import CheckpointError
from rcdnet.registry import CLASSES
from train.decoder import Supervised


@dataclass(frozen=True)
class Progress:
    """How far a run is. best_epoch: whose weights are in `best.safetensors`. event: the line of the last epoch."""

    epoch: int = 0
    best_epoch: int | None = None
    best_auc: float | None = None
    event: str = ""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at every instant the old one or the new one is there."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def save_state(
    out: Path, name: str, progress: Progress, net: Supervised, kept: Supervised, optimiser: torch.optim.Optimizer
) -> None:
    """Write `last.*`, and `best.*` where this epoch is the best; `kept` holds the weights that are kept."""
    tensors = {f"net.{k}": v for k, v in net.state_dict().items()}
    if kept is not net:
        tensors |= {f"kept.{k}": v for k, v in kept.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items()}
    content = save(_plain(tensors), metadata={"progress": json.dumps(asdict(progress))})
    write_whole(out / "last.safetensors", content)
    about = {"model": name, "epoch": progress.epoch, "sha256": hashlib.sha256(content).hexdigest()}
    write_whole(out / "last.json", json.dumps(about, indent=1).encode())
    if progress.best_epoch == progress.epoch:
        _save_best(out, name, progress, kept.model)


def read_progress(out: Path) -> Progress:
    """How far the run in `out` is; a run that has not ended an epoch has a `Progress` of nothing."""
    path = out / "last.safetensors"
    if not path.exists():
        return Progress()
    try:
        with safe_open(path, framework="pt") as file:
            return Progress(**json.loads(file.metadata()["progress"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Begin a new run.") from error


def restore_state(
    out: Path, name: str, net: Supervised, kept: Supervised, optimiser: torch.optim.Optimizer
) -> Progress:
    """Put net, kept weights and optimiser where the run in `out` left them."""
    progress = read_progress(out)
    if not progress.epoch:
        return progress
    tensors = load_file(out / "last.safetensors")
    net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
    if kept is not net:
        kept.load_state_dict({k[5:]: v for k, v in tensors.items() if k.startswith("kept.")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name_ = key.split(".")
            state.setdefault(int(index), {})[name_] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    best = out / "best.json"
    written = json.loads(best.read_text()).get("epoch") if best.exists() else None
    if progress.best_epoch == progress.epoch != written:  # killed between the two files
        _save_best(out, name, progress, kept.model)
    return progress


def _save_best(out: Path, name: str, progress: Progress, model: nn.Module) -> None:
    content = save(_plain(model.state_dict()))
    about = {
        "model": name,
        "classes": CLASSES,
        "preprocessing": preprocessing.VERSION,
        "epoch": progress.epoch,
        "validation_auc": progress.best_auc,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_whole(out / "best.safetensors", content)
    write_whole(out / "best.json", json.dumps(about, indent=1).encode())


def _plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU, contiguous and sharing no memory, as safetensors wants them."""
    return {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
