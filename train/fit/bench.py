"""How fast training runs, beside what the device could do and beside a plain loop; all in one process.

engine   this project's step: images on the device as bytes, augmented there in batches
ceiling  the same step on images that are already augmented
plain    a torchvision data set and DataLoader, every image transformed on its own, fp32
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from rcdnet.models.registry import create_model, spec_of
from rcdnet.scans.preprocessing import MEAN, STD, prepare
from train.config import TrainConfig
from train.fit.augment import Views
from train.fit.engine import Engine, Images, accelerator_for, device_name

IMAGES = 512
SIDE = (400, 500)


@dataclass(frozen=True)
class Throughput:
    """Images per second, the median of the rounds; the three ways took turns."""

    device: str
    engine: float
    ceiling: float
    plain: float


class _Scans(Dataset):
    """Scans as a plain loop shows them: transformed and normalised one by one. They were prepared and decoded before."""

    def __init__(self, scans: np.ndarray, config: TrainConfig, size: int):
        self.pictures = [Image.fromarray(prepare(scan, size)[0]) for scan in scans]
        self.transform = v2.Compose(
            [
                v2.RandomResizedCrop(size, scale=(config.crop**2, 1.0), ratio=(1.0, 1.0)),
                v2.RandomHorizontalFlip(config.flip),
                v2.RandomRotation(config.rotation),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([MEAN], [STD]),
            ]
        )

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.pictures[index % len(self.pictures)]), index % 2


def throughput(config: TrainConfig, *, rounds: int = 5, steps: int = 4) -> Throughput:
    """Time the three ways in turn, `rounds` times over `steps` steps, on random scans; speed does not depend on the images."""
    accelerator = accelerator_for(config)
    device = accelerator.device
    size, batch = spec_of(config.model).input_size, config.batch_size
    rng = np.random.default_rng(0)
    scans = rng.integers(0, 256, (32, *SIDE), dtype=np.uint8)
    engine = Engine(config, create_model(config.model, drop_path=config.drop_path), steps * 1000, accelerator)
    canvases = torch.from_numpy(rng.integers(0, 256, (IMAGES, size, size), dtype=np.uint8)).to(device)
    masks = config.mask_weight or config.evidence_weight
    lesions = (canvases > 200).to(torch.uint8) if masks else None
    known = torch.ones(IMAGES, device=device)
    images = Images(canvases, lesions, (torch.arange(IMAGES) % 2).to(device), known.bool(), known)
    generator, coin = torch.Generator(device=device).manual_seed(0), np.random.default_rng(0)
    done = 0

    def engine_steps() -> None:
        nonlocal done
        for _ in range(steps):
            rows = torch.randperm(IMAGES, generator=generator, device=device)[:batch]
            engine.augmented_step(done, images, rows, size, generator, coin)
            done += 1

    ready = torch.rand(batch, 1, size, size, device=device)
    ready_lesions = (ready > 0.8).float() if masks else None
    first = images.of(torch.arange(batch, device=device))

    def ceiling_steps() -> None:
        nonlocal done
        for _ in range(steps):
            engine.step(done, Views(ready, ready_lesions, torch.ones(batch, device=device)), first)
            done += 1

    plain_steps = _plain(config, scans, size, steps, accelerator)
    ways: list[Callable[[], None]] = [engine_steps, ceiling_steps, plain_steps]
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds + 1):  # the first round warms up
        for way, times in zip(ways, seconds, strict=True):
            _wait(device)
            began = time.perf_counter()
            way()
            _wait(device)
            times.append(time.perf_counter() - began)
    speeds = [batch * steps / statistics.median(times[1:]) for times in seconds]
    return Throughput(device_name(device), *speeds)


def _plain(
    config: TrainConfig, scans: np.ndarray, size: int, steps: int, accelerator: Accelerator
) -> Callable[[], None]:
    model = create_model(config.model).to(accelerator.device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    loader = DataLoader(
        _Scans(scans, config, size), config.batch_size, shuffle=True, drop_last=True, num_workers=os.cpu_count() or 1,
        persistent_workers=True,
    )  # fmt: skip

    def forever():
        while True:
            yield from loader

    batches = forever()

    def run() -> None:
        for _ in range(steps):
            x, y = (t.to(accelerator.device) for t in next(batches))
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()

    return run


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
