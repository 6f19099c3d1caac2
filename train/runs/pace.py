"""How long a run will take, from a few of its own steps: python -m train.runs.pace IMAGES DEVICE < config.json"""

import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from rcdnet.errors import RunFailed
from rcdnet.models.registry import create_model, spec_of
from train.config import TrainConfig
from train.fit.engine import Engine, Images, accelerator_for
from train.folders import RUNS_FOLDER
from train.runs.run_on_device import run_module
from train.runs.run_state import at_work_on
from train.runs.watch import in_words

STEPS = 3  # of each size, the first of which warms up
PATIENCE_S = 300


def seconds_of(config: TrainConfig, images: int, device: str) -> float:
    """Seconds that training on so many images will take on a device, by steps in a process of its own.

    Raises:
        RunFailed: the steps failed, as they would in the run; or took minutes.
    """
    try:
        output = run_module(["train.runs.pace", str(images), device], device, PATIENCE_S, config.to_json())
    except TimeoutError:
        raise RunFailed(
            f"{STEPS} steps took more than {PATIENCE_S} seconds. Choose smaller batches or a GPU."
        ) from None
    except RunFailed as reason:
        raise RunFailed(f"A few steps were tried and failed: {reason}") from None
    return float(json.loads(output))


def estimate(configs: Mapping[str, TrainConfig], images: int, device: str, runs: Path = RUNS_FOLDER) -> str:
    """How long each run will take, in a sentence each; or why a few of its steps failed, or are better not taken now."""
    if busy := [run.name for run in at_work_on(device, runs)]:
        return f"{busy[0]} is training on {device}. A trial now would slow it down and give a wrong estimate. Ask again later."
    try:
        return " ".join(f"{name}: about {in_words(seconds_of(c, images, device))}." for name, c in configs.items())
    except RunFailed as error:
        return str(error)


def measure(config: TrainConfig, images: int) -> float:
    """As `seconds_of`, in this process."""
    accelerator = accelerator_for(config)
    engine = Engine(config, create_model(config.model, drop_path=config.drop_path), 1000, accelerator)
    sizes = [config.size_at(epoch) for epoch in range(config.epochs)]
    taken = {size: _step_seconds(config, engine, accelerator.device, size) for size in {min(sizes), max(sizes)}}
    per_pixel = {size: seconds / size**2 for size, seconds in taken.items()}
    steps = max(1, images // config.batch_size) * config.passes(images)
    # A size between was not measured; it costs what the larger measured one costs for each pixel.
    return sum(steps * size**2 * per_pixel[size if size in per_pixel else max(sizes)] for size in sizes)


def _step_seconds(config: TrainConfig, engine: Engine, device: torch.device, size: int) -> float:
    side = spec_of(config.model).input_size
    canvases = torch.randint(0, 256, (config.batch_size, side, side), dtype=torch.uint8, device=device)
    known = torch.ones(config.batch_size, device=device)
    lesions = (canvases > 200).to(torch.uint8) if config.mask_weight or config.evidence_weight else None
    labels = torch.arange(config.batch_size, device=device) % 2
    images = Images(canvases, lesions, labels, known.bool(), known)
    generator, coin = torch.Generator(device=device).manual_seed(0), np.random.default_rng(0)
    times = []
    for step in range(STEPS):
        began = time.perf_counter()
        rows = torch.arange(config.batch_size, device=device)
        engine.augmented_step(step, images, rows, size, generator, coin)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


if __name__ == "__main__":
    asked = TrainConfig(**json.load(sys.stdin))
    sys.stdout.write(json.dumps(measure(asked, int(sys.argv[1]))))
