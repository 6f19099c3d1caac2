"""A finished run's weights, put beside the bundled ones on the Analyse page under the run's own name."""

import shutil
from pathlib import Path

from rcdnet.card import ModelCard
from rcdnet.errors import RcdnetError
from rcdnet.inference import load_own
from train.evaluate.ship import ship
from train.folders import RUNS_FOLDER
from train.runs.jobs import runs_in

FOLDER = "app"  # inside the run's own, so that bundled weights are never touched and deleting the run deletes it


def share(run: Path) -> ModelCard:
    """Offer a run's weights on the Analyse page.

    Raises:
        DatasetError: the run is not finished, or nothing validated it. NotTrained: its validation AUC is too low to answer.
        CheckpointError: its weights are damaged.
    """
    card = ship(run, weights_folder=run / FOLDER, results_folder=run / FOLDER / "results")
    try:
        load_own(run.name, run / FOLDER)
    except RcdnetError:
        withdraw(run)
        raise
    return card


def withdraw(run: Path) -> None:
    """Take a run's weights off the Analyse page again."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def shared(runs: Path = RUNS_FOLDER) -> dict[str, Path]:
    """Where the weights lie that were offered, by the name of their run."""
    return {run.name: run / FOLDER for run in runs_in(runs) if any((run / FOLDER).glob("*.safetensors"))}
