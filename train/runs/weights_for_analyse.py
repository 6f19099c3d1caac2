"""A finished run's weights, put beside the bundled ones on the Analyse page under the run's own name."""

import shutil
from pathlib import Path

from rcdnet.models.card import ModelCard
from rcdnet.models.checkpoint import load_checkpoint
from train.folders import RUNS_FOLDER
from train.publish.ship import ship
from train.runs.run_state import readable_runs_in

FOLDER = "app"  # inside the run's own, so that bundled weights are never touched and deleting the run deletes it


def share(run: Path) -> ModelCard:
    """Offer a run's weights on the Analyse page.

    Raises:
        DatasetError: the run is not finished, or nothing validated it. NotTrained: its validation AUC is too low to answer.
        CheckpointError: its weights are damaged.
    """
    new = run / f"{FOLDER}.new"  # nobody is offered what turns out to answer nothing
    shutil.rmtree(new, ignore_errors=True)
    try:
        card = ship(run, weights_folder=new, results_folder=new / "results")
        load_checkpoint(card.model, new)
        withdraw(run)
        new.rename(run / FOLDER)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return card


def withdraw(run: Path) -> None:
    """Take a run's weights off the Analyse page again."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def shared(runs: Path = RUNS_FOLDER) -> dict[str, Path]:
    """Where the weights lie that were offered, by the name of their run."""
    return {run.name: run / FOLDER for run in readable_runs_in(runs) if any((run / FOLDER).glob("*.safetensors"))}
