"""External tests started from the page: a finished run's weights on data that it did not learn from."""

import re
from collections.abc import Sequence
from pathlib import Path

from rcdnet.errors import DatasetError, RunFailed
from train.folders import BUNDLED
from train.runs.data_locations import find_datasets, load_samples, resolve_datasets
from train.runs.run_on_device import run_module
from train.runs.run_state import State, device_of, state_of

PATIENCE_S = 3600


def testable(run: Path) -> bool:
    """Whether a run has weights and a threshold that could be tested."""
    return state_of(run) is State.FINISHED and (run / "evaluation.json").exists()


def run_external_test(run: Path, title: str, root: Path) -> str:
    """Test a run on a data set below `root`, in a process of its own; returns the name that the Results page has it under.

    Args:
        title: as `train.runs.data_locations.DatasetLocation.title`.

    Raises:
        ConfigError: a file leaves the root. DatasetError: the data is gone or damaged, or every image of it is known to the run.
    """
    source, path, name = _located(title, root)
    arguments = ["evaluate", str(run), "--data", f"{source}={path}", "--out", str(run / "external" / name)]
    _run(arguments, device_of(run))
    return f"{run.name} on {name}"


def run_bundled_test(model: str, title: str, root: Path) -> str:
    """As `run_external_test`, of a bundled model."""
    source, path, name = _located(title, root)
    _run(["adapt", "--models", model, "--data", f"{source}={path}", "--name", name], "cpu")
    return f"{BUNDLED}{model} on {name}"


def _located(title: str, root: Path) -> tuple[str, str, str]:
    """Source and place of a data set, and the name of tests on it."""
    place = next((place for place in find_datasets(root) if place.title == title), None)
    if place is None:
        raise DatasetError(f"{title} no longer exists. Check the data folder, {root}.")
    ((source, path),) = data = resolve_datasets([place], root)
    load_samples(data, root)
    return source, path, re.sub(r"\W+", "-", place.path).strip("-") or source


def _run(arguments: Sequence[str], device: str) -> None:
    try:
        run_module(["train", *arguments], device, PATIENCE_S)
    except TimeoutError:
        raise DatasetError(f"The test took more than {PATIENCE_S // 60} minutes. Use less data or a GPU.") from None
    except RunFailed as reason:
        raise DatasetError(str(reason)) from None
