"""What is published of a run beside the weights: its settings, its curves and its predictions; nothing of the machine it ran on."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from train.config import TrainConfig
from train.data.public_datasets import TITLES
from train.evaluate.evaluation_files import EVALUATION
from train.fit.events import Epoch, Finished, Started, line_of, read_events


def public_tests(run: Path) -> list[Path]:
    """Where the tests of a run on public data sets alone lie."""
    return [place for place in sorted((run / "external").glob("*")) if set(place.name.split("+")) <= TITLES.keys()]


def publish(run: Path, folder: Path, *, external: bool = False) -> None:
    """Put the record of a run, or of a pooled evaluation, into `folder`, in place of one of the same name.

    Left behind are weights, checkpoints, the split, the log, failures with their paths, and tests on other data unless
    `external` asks for those on public data: ids and patients of a clinic's own images stay where they are.
    """
    place = folder / run.name
    if place.exists():
        shutil.rmtree(place)
    place.mkdir(parents=True)
    if (run / "config.json").exists():
        config = TrainConfig.read(run / "config.json")
        settings = asdict(config) | {"data": [[source, "DIR"] for source, _ in config.data]}
        if config.init.endswith(".safetensors"):
            settings["init"] = Path(config.init).name
        (place / "config.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        events = [e for e in read_events(run / "events.jsonl") if isinstance(e, Started | Epoch | Finished)]
        (place / "events.jsonl").write_text("".join(map(line_of, events)), encoding="utf-8")
    sources = [run, *(public_tests(run) if external else [])]
    for source in sources:
        target = place / source.relative_to(run)
        target.mkdir(parents=True, exist_ok=True)
        for name in EVALUATION:
            if (source / name).exists():
                shutil.copyfile(source / name, target / name)
