"""Training one model from nothing, with lesion masks as supervision. Files of a run:

config.json         the settings
split.json          who trained and who validated
events.jsonl        one line an epoch
state.safetensors   everything needed to go on, replaced after each epoch
model.safetensors   the averaged weights alone, once the run is finished
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F

from rcdnet.errors import ConfigError, DatasetError
from rcdnet.preprocessing import normalise
from rcdnet.registry import create_model, spec_of
from train.augment import augment, resized, softened
from train.config import TrainConfig
from train.decoder import LEVELS, LesionDecoder, lesion_loss
from train.sources import read_canvases, read_sources
from train.splits import Split, make_split

MINIMUM_STEPS = 10  # below it the learning-rate cycle has no room to rise and fall
VALIDATE_EVERY = 5  # epochs; the curve is for looking at, no weights are chosen by it


@dataclass(frozen=True)
class EpochEnd:
    """One line of `events.jsonl`. `validation_auc` by source, empty where the epoch was not validated."""

    epoch: int
    size: int
    loss: float
    lesion_loss: float
    learning_rate: float
    seconds: float
    validation_auc: dict[str, float]


class Supervised(nn.Module):
    """A model with the lesion decoder on its trunk."""

    def __init__(self, model: nn.Module, size: int):
        super().__init__()
        self.model = model
        # timm draws MobileNetV2's last layer from a range that is right for 1000 classes and far too wide for two.
        nn.init.trunc_normal_(model.get_classifier().weight, std=0.02)
        with torch.no_grad():
            maps = model.eval().forward_intermediates(torch.zeros(1, 1, size, size))[1][-LEVELS:]
        self.decoder = LesionDecoder([m.shape[1] for m in maps])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised images float (N, 1, S, S) to class logits (N, 2) and pixel logits (N, 3, h, w)."""
        features, maps = self.model.forward_intermediates(x)
        return self.model.forward_head(features), self.decoder(maps[-LEVELS:])


def fit(config: TrainConfig, out: Path, *, report: Callable[[EpochEnd], None] = lambda event: None) -> None:
    """Train `config.model` and leave the files of the run in `out`; a run cut short goes on from its last epoch.

    Raises:
        DatasetError: the data is missing or not laid out as expected.
        ConfigError: `out` holds a run with other settings.
    """
    torch.manual_seed(config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out.mkdir(parents=True, exist_ok=True)
    if (out / "config.json").exists() and TrainConfig.read(out / "config.json") != config:
        raise ConfigError(f"{out} holds a run with other settings. Give the settings it began with, or another --out.")
    (out / "config.json").write_text(config.to_json())
    samples = read_sources({name: Path(folder) for name, folder in config.data.items()})
    split = _split(out / "split.json", config, samples)
    by_id = {sample.id: sample for sample in samples}
    training = [by_id[i] for i in split.train]
    validation = [by_id[i] for i in split.validation]
    steps = len(training) // config.batch_size
    if steps * config.epochs < MINIMUM_STEPS:
        raise DatasetError(
            f"{len(training)} training images in batches of {config.batch_size} give {steps * config.epochs} steps; "
            f"at least {MINIMUM_STEPS} are needed. Add images or epochs, or make the batches smaller."
        )
    full_size = spec_of(config.model).input_size
    canvases, lesions = (torch.from_numpy(a).to(device) for a in read_canvases(training, full_size))
    labels = torch.tensor([sample.label for sample in training], device=device)
    held_out = torch.from_numpy(read_canvases(validation, full_size)[0]).to(device)

    net = Supervised(create_model(config.model), full_size).to(device).to(memory_format=torch.channels_last).train()
    average = ModelEmaV3(net, decay=config.ema_decay)
    optimiser = torch.optim.AdamW(_parameter_groups(net, config.weight_decay), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=steps * config.epochs + 1, pct_start=0.2
    )
    done = _restore(out / "state.safetensors", net, average, optimiser, schedule)

    for epoch in range(done, config.epochs):
        started = time.monotonic()
        torch.manual_seed(config.seed * 1000 + epoch)  # dropout; a resumed run then equals one never cut short
        generator = torch.Generator(device=device).manual_seed(config.seed * 1000 + epoch)
        rng = np.random.default_rng([config.seed, epoch])
        size = config.size_at(epoch)
        net.train()
        losses = torch.zeros(2)
        order = torch.randperm(len(training), generator=generator, device=device)
        for rows in order[: steps * config.batch_size].split(config.batch_size):
            grey, lesion = augment(canvases[rows], lesions[rows], size, generator)
            if config.softened and rng.random() < config.softened:
                grey = softened(grey, generator)
            share = rng.beta(config.mixup, config.mixup) if config.mixup else 1.0
            mixed = share * grey + (1 - share) * grey.flip(0)  # each image with the one opposite in the batch
            logits, pixels = net(normalise(mixed).contiguous(memory_format=torch.channels_last))
            class_loss, mask_loss = (
                share * own + (1 - share) * opposite
                for own, opposite in zip(
                    _losses(logits, pixels, lesion, labels[rows], config.label_smoothing),
                    _losses(logits, pixels, lesion.flip(0), labels[rows].flip(0), config.label_smoothing),
                    strict=True,
                )
            )
            optimiser.zero_grad()
            (class_loss + mask_loss).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            average.update(net)
            losses += torch.tensor([class_loss.item(), mask_loss.item()])
        seconds = time.monotonic() - started
        validation_auc: dict[str, float] = {}
        if (epoch + 1) % VALIDATE_EVERY == 0 or epoch + 1 == config.epochs:
            validation_auc = _auc_by_source(validation, scores_of(average.module.model, held_out, size))
        class_loss_mean, lesion_loss_mean = (losses / steps).tolist()
        event = EpochEnd(
            epoch=epoch + 1,
            size=size,
            loss=class_loss_mean,
            lesion_loss=lesion_loss_mean,
            learning_rate=float(schedule.get_last_lr()[0]),
            seconds=seconds,
            validation_auc=validation_auc,
        )
        _save(out / "state.safetensors", epoch + 1, net, average, optimiser, schedule)
        with (out / "events.jsonl").open("a") as file:
            file.write(json.dumps(asdict(event)) + "\n")
        report(event)
    weights = {key: value.cpu().contiguous() for key, value in average.module.model.state_dict().items()}
    halves = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    save_file(halves, out / "model.safetensors")


def _losses(
    logits: torch.Tensor, pixels: torch.Tensor, lesions: torch.Tensor, labels: torch.Tensor, label_smoothing: float
) -> tuple[torch.Tensor, torch.Tensor]:
    class_loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return class_loss, lesion_loss(pixels, lesions, labels)


@torch.no_grad()
def scores_of(model: nn.Module, canvases: torch.Tensor, size: int) -> torch.Tensor:
    """Probability of malignancy, float32 (N,) on the CPU, for canvases uint8 (N, S, S) at `size` pixels."""
    model.eval()
    probabilities = []
    for batch in canvases.split(64):
        grey = resized(batch.unsqueeze(1).float() / 255, size)
        probabilities.append(model(normalise(grey)).softmax(dim=1)[:, 1].float().cpu())
    return torch.cat(probabilities)


def _split(path: Path, config: TrainConfig, samples: list) -> Split:
    if not path.exists():
        path.write_text(make_split(samples, fold=config.fold, seed=config.seed).to_json())
    return Split.from_json(path.read_text())


def _parameter_groups(net: nn.Module, weight_decay: float) -> list[dict]:
    """Weights decay; biases, norms and position embeddings do not."""
    named = list(net.named_parameters())
    free = [p for name, p in named if p.ndim <= 1 or name.endswith(("pos_embed", "cls_token"))]
    return [
        {"params": [p for name, p in named if not any(p is q for q in free)], "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def _auc_by_source(validation: list, scores: torch.Tensor) -> dict[str, float]:
    figures = {}
    for source in sorted({sample.source for sample in validation}):
        rows = [i for i, sample in enumerate(validation) if sample.source == source]
        figures[source] = float(roc_auc_score([validation[i].label for i in rows], scores[rows]))
    return figures


def _save(path: Path, epochs: int, net, average, optimiser, schedule) -> None:
    """Tensors only, never a pickle; written beside and moved, so that a kill leaves the last whole state."""
    tensors = {f"net.{k}": v for k, v in net.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.module.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items()}
    tensors = {k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    save_file(tensors, path.with_suffix(".new"), metadata={"epochs": str(epochs), "step": str(schedule.last_epoch)})
    path.with_suffix(".new").replace(path)


def _restore(path: Path, net, average, optimiser, schedule) -> int:
    """Load what `_save` wrote; the number of epochs done, 0 where there is nothing to go on from."""
    if not path.exists():
        return 0
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        meta = file.metadata()
    net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
    average.module.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("average.")})
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for _ in range(int(meta["step"])):
        schedule.step()
    return int(meta["epochs"])
