"""The checkpoints of a run: `last.safetensors` to go on from, `best.safetensors` to use, with the lesion
decoder where there is one; a JSON beside each says what it is.

Every file is written beside its place and moved there, so that a kill at any instant leaves a whole one.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save

from rcdnet.errors import CheckpointError, ConfigError
from rcdnet.models.lesion_decoder import PREFIX
from rcdnet.models.registry import CLASSES
from rcdnet.safe_read import (
    KB,
    MB,
    Count,
    Share,
    Unreadable,
    file_type_error,
    parse_as,
    parse_json,
    quoted,
    read_json,
    read_regular,
)
from rcdnet.scans import preprocessing
from train.config import TrainConfig
from train.crash_safe_files import write_atomic
from train.fit.auxiliary_supervision import MultiTaskModel

ABOUT_LIMIT = 64 * KB  # of best.json
WEIGHTS_LIMIT = 1024 * MB  # of best.safetensors; the largest model takes a third


@dataclass(frozen=True)
class Progress:
    """How far a run is. best_epoch: whose weights are in `best.safetensors`. event: the line of the last epoch.

    preprocessing: the version its weights are valid for. threads: that the sums of a CPU were divided among, on which their last
    bits hang. settings: those it was made with, as `TrainConfig.to_json`. The last two are empty in checkpoints of before.
    """

    epoch: Count = 0
    best_epoch: Count | None = None
    best_auc: Share | None = None
    event: str = ""
    preprocessing: str = preprocessing.VERSION
    threads: Count = 0
    settings: str = ""


@dataclass(frozen=True)
class Best:
    """What `best.json` says of the weights beside it."""

    sha256: str
    epoch: Count | None
    preprocessing: str


def save_state(
    out: Path,
    name: str,
    progress: Progress,
    net: MultiTaskModel,
    averaged: MultiTaskModel,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write `last.*`, and `best.*` where this epoch is the best; `averaged` holds the weights that are kept."""
    tensors = {f"net.{k}": v for k, v in net.state_dict().items()}
    if averaged is not net:
        tensors |= {f"kept.{k}": v for k, v in averaged.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items()}
    write_atomic(out / "last.safetensors", save(_plain(tensors), metadata={"progress": json.dumps(asdict(progress))}))
    _write_about_last(out, name, progress)
    if progress.best_epoch == progress.epoch:
        _save_best(out, name, progress, averaged)


def read_progress(out: Path) -> Progress:
    """How far the run in `out` is; a run that has not ended an epoch has a `Progress` of nothing.

    Raises:
        CheckpointError: the checkpoint is damaged, or of another preprocessing than this version's.
    """
    path = out / "last.safetensors"
    if not os.path.lexists(path):
        return Progress()
    try:
        _check_tensors(path)
        with safe_open(path, framework="pt") as file:
            progress: Progress = parse_as(Progress, parse_json((file.metadata() or {})["progress"]))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Begin a new run.") from error
    _check_preprocessing(path, progress.preprocessing)
    return progress


def check_settings(out: Path, config: TrainConfig) -> None:
    """Refuse settings that are not those of the run's checkpoint; where its data lie may change, for a run can be moved.

    Raises:
        ConfigError: it names what was changed. CheckpointError: as `read_progress`.
    """
    if not (begun := read_progress(out).settings):
        return
    try:
        then = json.loads(TrainConfig(**parse_json(begun)).to_json())
    except (Unreadable, TypeError) as error:
        raise CheckpointError(f"{out / 'last.safetensors'} is damaged ({error}). Begin a new run.") from error
    now = json.loads(config.to_json())
    for settings in (then, now):
        settings["data"] = [source for source, _ in settings["data"]]
    changed = [f"{name} from {quoted(then[name])} to {quoted(now[name])}" for name in now if then[name] != now[name]]
    if changed:
        raise ConfigError(
            f"{out / 'config.json'} was edited since the run began: {', '.join(changed)}. Put it back, or begin a new run with other "
            "settings."
        )


def to_half_precision(content: bytes) -> bytes:
    """A safetensors file with its floats in half precision."""
    return save({k: v.half() if v.is_floating_point() else v for k, v in load(content).items()})


def restore_state(
    out: Path,
    name: str,
    net: MultiTaskModel,
    averaged: MultiTaskModel,
    optimiser: torch.optim.Optimizer,
    *,
    mend: bool = True,
) -> Progress:
    """Put net, averaged weights and optimiser where the run in `out` left them.

    `mend` also writes the files that a kill kept from being written after the checkpoint; one process does that.
    """
    progress = read_progress(out)
    if not progress.epoch:
        return progress
    tensors = load_file(out / "last.safetensors")
    if {k[4:] for k in tensors if k.startswith("net.")} != net.state_dict().keys():
        raise CheckpointError(
            f"{out / 'last.safetensors'} holds other parts than this run trains: lesion masks or BI-RADS categories were added or "
            "removed since it began. Put the data back as it was, or begin a new run."
        )
    net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
    if averaged is not net:
        averaged.load_state_dict({k[5:]: v for k, v in tensors.items() if k.startswith("kept.")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name_ = key.split(".")
            state.setdefault(int(index), {})[name_] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for parameter, moments in optimiser.state.items():  # fused optimisers want them laid out as their parameter
        for key, value in moments.items():
            if value.shape == parameter.shape:
                moments[key] = torch.empty_like(parameter).copy_(value)
    if mend:
        _write_about_last(out, name, progress)
        if progress.best_epoch == progress.epoch and _epoch_of_best(out) != progress.epoch:
            _save_best(out, name, progress, averaged)
    return progress


def read_best(out: Path) -> bytes:
    """The best weights of the run in `out`, a safetensors file, once it is sure that they are what the run says.

    Raises:
        CheckpointError: there are none yet, they are damaged, of another preprocessing, or behind the checkpoint.
    """
    path, progress = out / "best.safetensors", read_progress(out)
    if not os.path.lexists(path) or not os.path.lexists(out / "best.json"):
        raise CheckpointError(f"{out} holds no weights yet. Resume the run: python -m train fit --resume {out}")
    about = _read_about_best(out)
    try:
        _check_tensors(path)
        content = read_regular(path, WEIGHTS_LIMIT)
    except (SafetensorError, OSError, Unreadable) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Begin a new run.") from error
    if (hashlib.sha256(content).hexdigest(), progress.best_epoch) != (about.sha256, about.epoch):
        raise CheckpointError(
            f"The best weights in {out} are not those of epoch {progress.best_epoch}. Resume the run: python -m train fit --resume {out}"
        )
    _check_preprocessing(path, about.preprocessing)
    return content


def _read_about_best(out: Path) -> Best:
    try:
        about: Best = parse_as(Best, read_json(out / "best.json", ABOUT_LIMIT))
    except Unreadable as error:
        raise CheckpointError(f"{out / 'best.json'} is damaged ({error}). Begin a new run.") from error
    return about


def _check_tensors(path: Path) -> None:
    """See that a file holds tensors from end to end, which its head alone tells; `Unreadable`, `SafetensorError` if not."""
    if what := file_type_error(path):
        raise Unreadable(f"it is {what}; a file is expected")
    with safe_open(path, framework="pt"):
        pass


def _check_preprocessing(path: Path, version: str) -> None:
    if version != preprocessing.VERSION:
        raise CheckpointError(
            f"{path} was made for preprocessing {version}; this version uses {preprocessing.VERSION}. Begin a new run."
        )


def _epoch_of_best(out: Path) -> int | None:
    return _read_about_best(out).epoch if os.path.lexists(out / "best.json") else None


def _write_about_last(out: Path, name: str, progress: Progress) -> None:
    about = {
        "model": name,
        "epoch": progress.epoch,
        "best_epoch": progress.best_epoch,
        "preprocessing": progress.preprocessing,
    }
    write_atomic(out / "last.json", json.dumps(about, indent=1).encode())


def _save_best(out: Path, name: str, progress: Progress, averaged: MultiTaskModel) -> None:
    tensors = averaged.model.state_dict()
    if averaged.decoder is not None:
        tensors |= {PREFIX + key: value for key, value in averaged.decoder.state_dict().items()}
    content = save(_plain(tensors))
    about = {
        "model": name,
        "classes": CLASSES,
        "preprocessing": preprocessing.VERSION,
        "epoch": progress.epoch,
        "validation_auc": progress.best_auc,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    write_atomic(out / "best.safetensors", content)
    write_atomic(out / "best.json", json.dumps(about, indent=1).encode())


def _plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the CPU, contiguous and sharing no memory, as safetensors wants them."""
    return {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
