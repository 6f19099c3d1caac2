"""Real processes that tests wait for."""

import subprocess
import time
from pathlib import Path


def wait_for(what, seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, f"waited {seconds} seconds for it"
        time.sleep(0.1)


def process_of(run: Path) -> list[int]:
    """The processes that train in a run's folder."""
    found = subprocess.run(["pgrep", "-f", f"train fit --resume {run}$"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def worker_of(runs: Path) -> list[int]:
    found = subprocess.run(["pgrep", "-f", f"train.runs.worker {runs}"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]
