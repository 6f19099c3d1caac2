"""A model in training on one device: its optimiser, its losses and its step. `train.loop` drives it, `train.bench` times it."""

from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from timm.data import Mixup
from timm.layers import convert_sync_batchnorm
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F

from rcdnet.errors import ConfigError
from rcdnet.preprocessing import normalise
from rcdnet.registry import CLASSES, spec_of
from train.config import TrainConfig
from train.decoder import Supervised, birads_loss, lesion_loss

KNOWN = 0.9999  # share, in floats


def accelerator_for(config: TrainConfig) -> Accelerator:
    """Accelerate's view of the devices: one, or as many as `accelerate launch` or torchrun started.

    Raises:
        ConfigError: bf16 was asked for where there is none, or the batch cannot be divided over the devices.
    """
    cuda = torch.cuda.is_available()
    bf16 = cuda and torch.cuda.is_bf16_supported()
    if config.precision == "bf16" and not bf16:
        raise ConfigError("precision is bf16, which no device here has. Choose auto or fp32.")
    accelerator = Accelerator(cpu=not cuda, mixed_precision="bf16" if bf16 and config.precision != "fp32" else "no")
    if config.batch_size % (2 * accelerator.num_processes):
        raise ConfigError(
            f"batch_size is {config.batch_size}; with {accelerator.num_processes} devices a multiple of "
            f"{2 * accelerator.num_processes} is expected."
        )
    return accelerator


@dataclass(frozen=True)
class Truth:
    """What is known of the images of a batch, or of all. labels: int64 (N,). masked: bool (N,), whether the lesion is known.

    suspicion: float (N,), `Decoded.suspicion`.
    """

    labels: torch.Tensor
    masked: torch.Tensor
    suspicion: torch.Tensor

    def of(self, rows: torch.Tensor) -> "Truth":
        return Truth(self.labels[rows], self.masked[rows], self.suspicion[rows])


class Engine:
    """A model in training on one device: its data, its augmentation and its step. `fit` drives it, `train.bench` times it."""

    def __init__(self, config: TrainConfig, model: nn.Module, steps: int, accelerator: Accelerator):
        self.config, self.steps, self.accelerator = config, steps, accelerator
        size = spec_of(config.model).input_size
        model = Supervised(model, size, decoder=config.mask_weight > 0, birads=config.birads_weight > 0)
        self.raw = model.to(memory_format=torch.channels_last)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            self.raw = convert_sync_batchnorm(self.raw)
        self.raw = self.raw.to(accelerator.device).train()
        self.average = ModelEmaV3(self.raw, decay=config.ema) if config.ema else None
        self.optimiser = create_optimizer_v2(
            self.raw,
            config.optimizer,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=accelerator.device.type == "cuda" or None,
        )
        # It computes the rate of any step from its number alone, so a resumed run needs no state of it.
        self.schedule = create_scheduler_v2(
            self.optimiser,
            "cosine",
            num_epochs=config.epochs,
            warmup_epochs=config.warmup_epochs,
            warmup_lr=config.learning_rate / 25,
            min_lr=config.learning_rate / 1000,
            step_on_epochs=False,
            updates_per_epoch=steps,
        )[0]
        self.mixup = Mixup(
            mixup_alpha=config.mixup, prob=float(config.mixup > 0), label_smoothing=config.label_smoothing,
            num_classes=len(CLASSES),
        )  # fmt: skip
        self.class_loss = SoftTargetCrossEntropy()
        self.net = accelerator.prepare(self.raw)
        if config.compile:
            self.net = torch.compile(self.net)

    @property
    def kept(self) -> Supervised:
        """The network whose weights are kept: the averaged one, or the one that trains."""
        return self.average.module if self.average else self.raw

    def step(self, number: int, grey: torch.Tensor, lesions: torch.Tensor | None, truth: Truth) -> torch.Tensor:
        """One update on augmented images, counted from 0; class loss, added loss and share called right, float (3,)."""
        self.schedule.step_update(number)
        count, size = len(grey), grey.shape[-1]
        # Everything that Mixup has to mix alike goes through it as one row for each image.
        rows = [grey.flatten(1), truth.suspicion.nan_to_num()[:, None], truth.suspicion.isfinite().float()[:, None]]
        if lesions is not None:
            own = F.one_hot(truth.labels, len(CLASSES)).view(-1, len(CLASSES), 1, 1)
            rows += [truth.masked.float()[:, None], (lesions * own).flatten(1)]
        np.random.seed([self.config.seed, number])  # timm's Mixup draws from numpy's own generator
        mixed, targets = self.mixup(torch.cat(rows, dim=1), truth.labels)
        x, rest = mixed[:, : size * size].reshape(count, 1, size, size), mixed[:, size * size :]
        logits, pixels, category = self.net(normalise(x).contiguous(memory_format=torch.channels_last))
        class_loss = self.class_loss(logits, targets)
        added = torch.zeros((), device=grey.device)
        if category is not None:  # a known share below 1 is a mixture with an unknown one
            added = added + self.config.birads_weight * birads_loss(category.float(), rest[:, 0], rest[:, 1] > KNOWN)
        if pixels is not None:
            maps = rest[:, 3:].reshape(count, len(CLASSES), size, size)
            added = added + self.config.mask_weight * lesion_loss(pixels.float(), maps, rest[:, 2] > KNOWN)
        self.optimiser.zero_grad()
        self.accelerator.backward(class_loss + added)
        self.accelerator.clip_grad_norm_(self.raw.parameters(), 5.0)
        self.optimiser.step()
        if self.average:
            self.average.update(self.raw)
        right = (logits.argmax(dim=1) == targets.argmax(dim=1)).float().mean()
        return torch.stack([class_loss, added, right]).detach()
