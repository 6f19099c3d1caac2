"""Training one model. `fit` says what happens as it happens; `train.runs.start_and_resume` keeps the files of a run around it."""

import time
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from sklearn.metrics import roc_auc_score, roc_curve
from torch import nn
from torch.nn import functional as F

from rcdnet import cpu_sharing
from rcdnet.errors import ConfigError, DatasetError, Diverged
from rcdnet.models.registry import create_model
from rcdnet.scans.preprocessing import normalise
from train.config import TrainConfig
from train.data.load_images import Decoded
from train.data.splits import Split
from train.fit.auxiliary_supervision import drop_untaught
from train.fit.checkpoints import Progress, read_progress, restore_state, save_state
from train.fit.engine import Engine, Images, device_name
from train.fit.events import Epoch, Finished, Started, Step, line_of
from train.fit.initial_weights import Start, starting_model

CHECK_EVERY = 20  # steps; looking at the loss waits for the device
VALIDATION_BATCH = 64


def fit(
    config: TrainConfig, decoded: Decoded, split: Split, out: Path, accelerator: Accelerator
) -> Generator[Started | Step | Epoch | Finished, None, None]:
    """Train from where `out` left off, or from the start, and keep the checkpoints there. Leaving the iteration stops it.

    What `config` asks the images to teach and they cannot is left out, and named in `Started`.
    On a CPU, a run cut short and resumed ends with the weights of one that was not, bit for bit, unless it is given another number
    of threads.

    Raises:
        DatasetError: fewer training images than one batch.
        Diverged: the loss is no longer a number.
        ConfigError, NotTrained, CheckpointError: the starting weights cannot be had.
    """
    device = accelerator.device
    rows, held_out = decoded.rows_of(split.train), decoded.rows_of_lesions(split.validation)
    whole, passes = len(rows) // config.batch_size * config.batch_size, config.passes(len(rows))
    steps = passes * whole // config.batch_size
    if not steps:
        raise DatasetError(
            f"{len(rows)} training images are fewer than one batch of {config.batch_size}. Add images, or make batches smaller."
        )
    settings = config.to_json()
    config, untaught = drop_untaught(config, decoded, rows)
    torch.manual_seed(config.seed)
    before = read_progress(out)
    begun = before.epoch > 0
    if before.threads and not cpu_sharing.threads_are_set():
        torch.set_num_threads(before.threads)
    start = (
        Start(create_model(config.model, drop_path=config.drop_path))
        if begun
        else starting_model(config.model, config.init, drop_path=config.drop_path)
    )
    engine = Engine(config, start.network, steps, accelerator, start.decoder)
    progress = restore_state(
        out, config.model, engine.raw, engine.averaged, engine.optimiser, mend=accelerator.is_main_process
    )
    _check_same_epoch(progress.epoch, accelerator)

    def there(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array[rows]).to(device)

    images = Images(
        there(decoded.canvases), there(decoded.lesions) if config.mask_weight or config.evidence_weight else None, there(decoded.labels),
        there(decoded.masked), there(decoded.suspicion), there(decoded.content),
    )  # fmt: skip
    validation = torch.from_numpy(decoded.canvases[held_out]).to(device)
    yield Started(
        time=time.time(), model=config.model, device=device_name(device), processes=accelerator.num_processes,
        epoch=progress.epoch, epochs=config.epochs, training=len(rows), validation=len(held_out),
        conflicts=len(split.conflicts), skipped=decoded.skipped, untaught=untaught,
    )  # fmt: skip

    for epoch in range(progress.epoch, config.epochs):
        began = time.monotonic()
        seed = config.seed * 100_003 + epoch
        torch.manual_seed(seed)  # dropout
        generator = torch.Generator(device=device).manual_seed(seed)
        shuffler = torch.Generator().manual_seed(seed)
        order = torch.cat([torch.randperm(len(rows), generator=shuffler)[:whole] for _ in range(passes)]).to(device)
        coin = np.random.default_rng([config.seed, epoch])
        size = config.size_at(epoch)
        engine.raw.train()
        sums = torch.zeros(4, device=device)
        for step in range(steps):
            chosen = order[step * config.batch_size : (step + 1) * config.batch_size]
            sums += engine.augmented_step(epoch * steps + step, images, chosen, size, generator, coin)
            if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
                _check_finite(sums, epoch, config, accelerator)
            yield Step(epoch + 1, step + 1, steps)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.monotonic() - began
        sums = accelerator.reduce(sums, "mean") / steps
        if accelerator.is_main_process:
            event = _epoch(config, epoch, sums, engine, seconds, decoded, held_out, validation, progress)
            progress = Progress(
                epoch=epoch + 1,
                best_epoch=epoch + 1 if event.best else progress.best_epoch,
                best_auc=event.validation_auc if event.best else progress.best_auc,
                event=line_of(event),
                threads=torch.get_num_threads() if device.type == "cpu" else 0,
                settings=settings,
            )
            save_state(out, config.model, progress, engine.raw, engine.averaged, engine.optimiser)
            yield event
        accelerator.wait_for_everyone()
    yield Finished(time.time(), progress.best_epoch, progress.best_auc)


def _epoch(config, epoch, sums, engine, seconds, decoded, held_out, validation, progress) -> Epoch:
    """The event of an epoch that ended, with the averaged weights validated at the size they will be used at."""
    class_loss, added, accuracy, _ = sums.tolist()
    figures: dict = {"validation_loss": None, "validation_accuracy": None, "validation_auc": None, "roc": None}
    auc_by_source: dict[str, float] = {}
    if len(held_out) and ((epoch + 1) % config.validate_every == 0 or epoch + 1 == config.epochs):
        logits = logits_of(engine.averaged.model, validation)
        scores, labels = logits.softmax(dim=1)[:, 1].numpy(), decoded.labels[held_out]
        sources = np.array([decoded.samples[row].source for row in held_out])
        auc_by_source = _auc_by_source(labels, scores, sources)
        rates = roc_curve(labels, scores)[:2]
        figures = {
            "validation_loss": float(F.cross_entropy(logits, torch.from_numpy(labels))),
            "validation_accuracy": float(((scores >= 0.5) == labels).mean()),
            "validation_auc": float(np.mean(list(auc_by_source.values()))),
            "roc": tuple(tuple(round(float(v), 4) for v in rate) for rate in rates),
        }
    cuda = engine.accelerator.device.type == "cuda"
    return Epoch(
        epoch=epoch + 1,
        size=config.size_at(epoch),
        loss=class_loss,
        added_loss=added,
        accuracy=accuracy,
        **figures,
        auc_by_source=auc_by_source,
        best=config.keep == "last" or not len(held_out) or _higher(figures["validation_auc"], progress.best_auc),
        learning_rate=float(engine.optimiser.param_groups[0]["lr"]),
        seconds=seconds,
        images_per_second=engine.steps * config.batch_size / seconds,
        gpu_memory_mib=torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
    )


def _higher(auc: float | None, before: float | None) -> bool:
    return auc is not None and (before is None or auc > before)


@torch.no_grad()
def logits_of(model: nn.Module, canvases: torch.Tensor) -> torch.Tensor:
    """Logits float32 (N, 2) on the CPU, for canvases uint8 (N, S, S); leaves the model in eval mode."""
    model.eval()
    return torch.cat([model(as_input(batch)).float().cpu() for batch in canvases.split(VALIDATION_BATCH)])


def as_input(canvases: torch.Tensor) -> torch.Tensor:
    """Canvases uint8 (N, S, S) as a network takes them, float32 (N, 1, S, S)."""
    return normalise(canvases.unsqueeze(1).float() / 255)


def _auc_by_source(labels: np.ndarray, scores: np.ndarray, sources: np.ndarray) -> dict[str, float]:
    """AUC of each source that has both classes, or of all images where no single source has."""
    both = [s for s in np.unique(sources) if len(np.unique(labels[sources == s])) == 2]
    if not both:
        return {"all": float(roc_auc_score(labels, scores))}
    return {str(s): float(roc_auc_score(labels[sources == s], scores[sources == s])) for s in both}


def _check_finite(sums: torch.Tensor, epoch: int, config: TrainConfig, accelerator: Accelerator) -> None:
    """All processes look at the same sum, so that all of them leave together."""
    if not torch.isfinite(accelerator.reduce(sums.clone(), "sum")).all():
        raise Diverged(
            f"The loss is no longer a number in epoch {epoch + 1}. The last whole epoch is kept. Begin again with a smaller "
            f"learning_rate than {config.learning_rate:g}, or with more warmup_epochs."
        )


def _check_same_epoch(epoch: int, accelerator: Accelerator) -> None:
    epochs = accelerator.gather(torch.tensor([epoch], device=accelerator.device))
    if len(set(epochs.tolist())) > 1:
        raise ConfigError("The machines do not see the same run folder. Put --out on a disk that all of them share.")
