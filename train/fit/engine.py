"""A model in training on one device: its optimiser, its losses and its step. `train.fit.loop` drives it, `train.fit.bench` times it."""

import os
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from timm.data import Mixup
from timm.layers import convert_sync_batchnorm
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F

from rcdnet.errors import ConfigError
from rcdnet.models.lesion_decoder import LesionDecoder, decoder_for
from rcdnet.models.registry import CLASSES, spec_of
from rcdnet.scans.preprocessing import normalise
from train.config import TrainConfig
from train.data.labels import NO_LESION
from train.fit.augment import Views, augment, sample_params
from train.fit.auxiliary_supervision import MultiTaskModel, Outputs, birads_loss, evidence_loss, lesion_loss

KNOWN = 0.9999  # share, in floats
SEEN = 0.25  # share of a lesion that a view must hold to teach its class
CPU_BF16 = ("avx512_bf16", "amx_bf16")  # torch's names of the units that multiply bf16; without one it is only emulated


def accelerator_for(config: TrainConfig) -> Accelerator:
    """Accelerate's view of the devices: one, or as many as `accelerate launch` or torchrun started.

    Raises:
        ConfigError: bf16 was asked for where there is none, or the batch cannot be divided over the devices.
    """
    cpu = not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true")
    if cpu:
        bf16 = config.precision == "bf16" and any(torch.cpu.get_capabilities().get(unit) for unit in CPU_BF16)
    else:
        bf16 = config.precision != "fp32" and torch.cuda.is_bf16_supported(including_emulation=False)
    if config.precision == "bf16" and not bf16:
        raise ConfigError("precision is bf16, which no device here has. Choose auto or fp32.")
    accelerator = Accelerator(cpu=cpu, mixed_precision="bf16" if bf16 else "no")
    if config.batch_size % (2 * accelerator.num_processes):
        raise ConfigError(
            f"batch_size is {config.batch_size}; with {accelerator.num_processes} devices a multiple of "
            f"{2 * accelerator.num_processes} is expected."
        )
    return accelerator


def device_name(device: torch.device) -> str:
    """The device in words, for an event or a table."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


@dataclass(frozen=True)
class Images:
    """Training images on the device where they train.

    canvases: uint8 (N, S, S). lesions: uint8 (N, S, S), or None where masks do not supervise.
    labels: int64 (N,), indices into `CLASSES`, or `NO_LESION`.
    masked: bool (N,), whether it is known where the lesion is, and that there is none. suspicion: float (N,), `Decoded.suspicion`.
    content: float (N, 4), left, top, right and bottom of the scan on its canvas, which reaches from -1 to 1; None
    where it fills it.
    """

    canvases: torch.Tensor
    lesions: torch.Tensor | None
    labels: torch.Tensor
    masked: torch.Tensor
    suspicion: torch.Tensor
    content: torch.Tensor | None = None

    def of(self, rows: torch.Tensor) -> "Images":
        lesions = None if self.lesions is None else self.lesions[rows]
        content = None if self.content is None else self.content[rows]
        return Images(self.canvases[rows], lesions, self.labels[rows], self.masked[rows], self.suspicion[rows], content)


def share_of(batch: int, accelerator: Accelerator) -> torch.Tensor:
    """Positions in the global batch that this process takes, on its device; the two that Mixup pairs stay together."""
    positions = torch.arange(batch, device=accelerator.device)
    chunk = batch // 2 // accelerator.num_processes
    mine = slice(accelerator.process_index * chunk, (accelerator.process_index + 1) * chunk)
    return torch.cat([positions[mine], positions.flip(0)[mine].flip(0)])


class Engine:
    """A model in training on one device: its data, its augmentation and its step. `fit` drives it, `train.fit.bench` times it."""

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        steps: int,
        accelerator: Accelerator,
        decoder: LesionDecoder | None = None,
    ):
        """`decoder`: one that the model's weights came with; where masks supervise and there is none, it begins anew."""
        self.config, self.steps, self.accelerator = config, steps, accelerator
        size = spec_of(config.model).input_size
        supervised = MultiTaskModel(
            model,
            size,
            decoder=(decoder or decoder_for(model, size)) if config.mask_weight else None,
            birads=config.birads_weight > 0,
            evidence=config.evidence_weight > 0,
        )
        self.raw = supervised.to(memory_format=torch.channels_last)
        if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
            self.raw = convert_sync_batchnorm(self.raw)
        self.raw = self.raw.to(accelerator.device).train()
        # It begins as the plain mean of the steps from the second on, so that the weights before them have no part in it.
        self.average = ModelEmaV3(self.raw, decay=config.ema, use_warmup=True, warmup_power=1.0) if config.ema else None
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
        self.mine = share_of(config.batch_size, accelerator)
        self.net = accelerator.prepare(self.raw)
        if config.compile:
            self.net = torch.compile(self.net)

    @property
    def averaged(self) -> MultiTaskModel:
        """The network whose weights are kept: the averaged one, or the one that trains."""
        return self.average.module if self.average else self.raw

    def augmented_step(
        self,
        number: int,
        images: Images,
        rows: torch.Tensor,
        size: int,
        generator: torch.Generator,
        coin: np.random.Generator,
    ) -> torch.Tensor:
        """`step` on some rows of `images`, the global batch, of which this process takes its share."""
        moves = sample_params(self.config, len(rows), size, generator, coin)
        if self.accelerator.num_processes > 1:
            rows, moves = rows[self.mine], moves.of(self.mine)
        batch = images.of(rows)
        return self.step(number, augment(batch.canvases, batch.lesions, batch.content, size, moves), batch)

    def step(self, number: int, views: Views, truth: Images) -> torch.Tensor:
        """One update, counted from 0. A view teaches a class only where its lesion is still in it, and there is one.

        Returns:
            class loss, added loss, share called right, and the norm of the gradient, float (4,).
        """
        self.schedule.step_update(number)
        grey, lesions, left = views
        count, size = len(grey), grey.shape[-1]
        labels, classed = truth.labels.clamp(min=0), (truth.labels != NO_LESION) & (left >= SEEN)
        # Everything that Mixup has to mix alike goes through it as one row for each image.
        rows = [grey.flatten(1), classed.float()[:, None]]
        rows += [truth.suspicion.nan_to_num()[:, None], truth.suspicion.isfinite().float()[:, None]]
        if lesions is not None:
            own = F.one_hot(labels, len(CLASSES)).view(-1, len(CLASSES), 1, 1)
            rows += [truth.masked.float()[:, None], (lesions * own).flatten(1)]
        np.random.seed([self.config.seed, number])  # timm's Mixup draws from numpy's own generator
        mixed, targets = self.mixup(torch.cat(rows, dim=1), labels)
        x, rest = mixed[:, : size * size].reshape(count, 1, size, size), mixed[:, size * size :]
        out: Outputs = self.net(normalise(x).contiguous(memory_format=torch.channels_last))
        classed = rest[:, 0] > KNOWN
        losses = -(targets * out.logits.float().log_softmax(dim=1)).sum(dim=1)
        class_loss = (losses * classed).sum() / classed.sum().clamp(min=1)
        added = torch.zeros((), device=grey.device)
        # A known share below 1 is a mixture with an unknown one.
        if out.category is not None:
            added = added + self.config.birads_weight * birads_loss(
                out.category.float(), rest[:, 1], rest[:, 2] > KNOWN
            )
        if lesions is not None:
            maps, masked = rest[:, 4:].reshape(count, len(CLASSES), size, size), rest[:, 3] > KNOWN
            if out.pixels is not None:
                added = added + self.config.mask_weight * lesion_loss(out.pixels.float(), maps, masked)
            if out.evidence is not None:
                added = added + self.config.evidence_weight * evidence_loss(out.evidence.float(), maps, masked)
        self.optimiser.zero_grad()
        self.accelerator.backward(class_loss + added)
        norm = self.accelerator.clip_grad_norm_(self.raw.parameters(), 5.0)
        self.optimiser.step()
        if self.average:
            self.average.update(self.raw, step=number)
        right = ((out.logits.argmax(dim=1) == targets.argmax(dim=1)) & classed).sum() / classed.sum().clamp(min=1)
        return torch.stack([class_loss, added, right, norm]).detach()
