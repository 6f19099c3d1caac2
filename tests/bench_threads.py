"""Seconds from a file's bytes to six predictions, alone and beside others: PYTHONPATH=. python tests/bench_threads.py [TREE...]

One tree or several of this project, which take turns, so that what else the machine does weighs on each alike. Every figure is the
median of two scans in each of the rounds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROUNDS = 5
BUSY = "while True: pass"
ANSWERING = """
import sys, time
import rcdnet
from rcdnet.scans.scan_and_mask import read_scan
from rcdnet.reading.inference import classify, load_trained
from pathlib import Path
scan = Path(sys.argv[1]).read_bytes()
classifiers = load_trained()[0]
while True:
    began = time.perf_counter()
    assert len(classify(read_scan(scan).pixels, classifiers)) == 6
    print(time.perf_counter() - began, flush=True)
    sys.stdin.readline() or sys.exit()
"""
# As the page starts one, on phantoms; it ends when its files are gone.
TRAINING = """
import sys
from pathlib import Path
from train.config import TrainConfig
from train.presets import PRESETS
from train.runs import jobs
from train.runs.data_locations import phantoms
runs = Path(sys.argv[1])
settings = dict(PRESETS["scratch"]) | {"split": "7:3", "epochs": 500}
jobs.submit("bench", TrainConfig(model="rcdnet", data=phantoms(runs), **settings), "cpu", runs)
"""


def environment() -> dict[str, str]:
    """As a person's who has set nothing."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))}


class Reader:
    """A process of a tree that holds the six models, as the app does, and reads the same scan whenever it is asked."""

    def __init__(self, tree: Path):
        scan = HERE / "assets" / "samples" / "phantom-irregular-mass.png"
        self.process = subprocess.Popen(
            [sys.executable, "-c", ANSWERING, str(scan)], cwd=tree, env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.process.stdout.readline()  # the first scan warms up

    def seconds(self) -> float:
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextmanager
def alone(tree: Path) -> Iterator[None]:
    yield


@contextmanager
def beside_a_busy_process(tree: Path) -> Iterator[None]:
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


@contextmanager
def beside_a_training(tree: Path) -> Iterator[None]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        run = Path(place) / "bench"
        subprocess.run([sys.executable, "-c", TRAINING, place], cwd=tree, env=environment(), check=True)
        try:
            wait_for(lambda: (run / "step.json").exists())
            yield
        finally:
            (run / "stop").touch()
            wait_for(lambda: "Stopped" in (run / "log.txt").read_text())


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def main(trees: list[Path]) -> None:
    readers = {tree: Reader(tree) for tree in trees}
    for beside in (alone, beside_a_busy_process, beside_a_training):
        times: dict[Path, list[float]] = {tree: [] for tree in trees}
        for _ in range(ROUNDS):
            for tree, reader in readers.items():
                with beside(tree):
                    times[tree] += [reader.seconds(), reader.seconds()]
        for tree, taken in times.items():
            shown = " ".join(f"{t:.2f}" for t in taken)
            print(
                f"{beside.__name__.replace('_', ' '):22} {tree}: {statistics.median(taken):.2f} s  ({shown})",
                flush=True,
            )
    for reader in readers.values():
        reader.process.communicate(timeout=60)


if __name__ == "__main__":
    main([Path(place).resolve() for place in sys.argv[1:]] or [HERE])
