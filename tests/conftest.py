"""What several tests share: real scans where they are present, drawn ones everywhere, and models without training."""

import csv
import os
import shutil
import subprocess
import sys

if "PYTEST_XDIST_WORKER" in os.environ:  # several test processes share the cores; numpy reads it when it is loaded
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from rcdnet.bench import untrained_classifier
from rcdnet.models.checkpoint import CHECKSUM_FILE, WEIGHTS_FOLDER
from rcdnet.models.registry import CLASSES, MODELS
from rcdnet.reading.inference import Classifier
from train.data.phantoms import SAMPLE_PHANTOMS, random_lesion, render_phantom, write_dataset
from train.results.bundle import Bundle
from train.results.load_results import load_bundled_results

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
# Settings of a run that takes seconds and passes through every part of the engine.
TINY = [
    "--model", "mobilenetv2", "--init", "random", "--epochs", "3", "--batch-size", "8", "--start-size", "64",
    "--end-size", "96", "--mask-weight", "1", "--ema", "0.9", "--noise", "0.02", "--gamma", "1.2", "--gain", "0.1",
    "--softened", "0.5", "--birads-weight", "0.5", "--evidence-weight", "0.5", "--erase", "0.3",
    "--drop-path", "0.1",
]  # fmt: skip
# The same for the library.
SMALL = {"model": "mobilenetv2", "init": "random", "batch_size": 8, "start_size": 64, "end_size": 64}


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real data sets, which are never part of the repository."""
    if not DATA.exists():
        pytest.skip("the BUSI and BUS-BRA data sets are not beside this checkout")
    return DATA


FAULTS = ["no card", "no arrays", "changed card", "changed arrays"]


def damaged_copy(name: str, fault: str, place: Path) -> Path:
    """What was shipped under a name, card and arrays, with one of `FAULTS`, in a folder that is held to its checksums."""
    for file in (f"{name}.json", f"{name}.safetensors", CHECKSUM_FILE):
        shutil.copy(WEIGHTS_FOLDER / file, place / file)
    path = place / f"{name}.{'json' if 'card' in fault else 'safetensors'}"
    if fault.startswith("no"):
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"\n")
    return place


@pytest.fixture(scope="session")
def phantom() -> np.ndarray:
    """A drawn scan, uint8 (440, 520)."""
    return render_phantom(SAMPLE_PHANTOMS["phantom-irregular-mass"], seed=2).image


@pytest.fixture(scope="session")
def classifiers() -> dict[str, Classifier]:
    """All six models with random, seeded weights; fit for everything but the truth of a call."""
    torch.manual_seed(0)
    untrained = {name: untrained_classifier(name) for name in MODELS}
    for classifier in untrained.values():
        # As strong as a trained layer, so that maps of different scans differ by more than rounding.
        torch.nn.init.normal_(classifier.network.get_classifier().weight, std=1.0)
    return untrained


def encoded(image: Image.Image, format_name: str = "PNG", **options) -> bytes:
    """An image as file bytes."""
    buffer = BytesIO()
    image.save(buffer, format=format_name, **options)
    return buffer.getvalue()


def ramp(height: int = 100, width: int = 120) -> np.ndarray:
    """A diagonal ramp over all grey levels, uint8 (height, width)."""
    rows, columns = np.mgrid[:height, :width]
    return ((rows + columns) * 255 / (height + width - 2)).astype(np.uint8)


def write_busbra(folder: Path, patients: int) -> Path:
    """Two views of each patient in BUS-BRA's layout, folds 3 and 4 in turn, two scanners, BI-RADS 3 or 4."""
    for name in ("Images", "Masks"):
        (folder / name).mkdir(parents=True)
    rows, folds = [], []
    for case in range(1, patients + 1):
        label = case % 2
        for side in "lr":
            name = f"bus_{case:04d}-{side}"
            rng = np.random.default_rng([9, case, side == "r"])
            phantom = render_phantom(random_lesion(label, rng), seed=int(rng.integers(2**31)))
            Image.fromarray(phantom.image).save(folder / "Images" / f"{name}.png")
            Image.fromarray(phantom.mask.astype(np.uint8) * 255).save(
                folder / "Masks" / f"{name.replace('bus', 'mask')}.png"
            )
            where = np.argwhere(phantom.mask)
            (top, left), (bottom, right) = where.min(axis=0).tolist(), (where.max(axis=0) + 1).tolist()
            rows.append({
                "ID": name, "Case": case, "Pathology": CLASSES[label], "BIRADS": 3 + label, "Device": f"scanner {case % 3}",
                "BBOX": f"[{left},{top},{right - left},{bottom - top}]",
            })  # fmt: skip
            folds.append({"ID": name, "kFold": 3 + (case // 2) % 2})
    for path, content in ((folder / "bus_data.csv", rows), (folder / "5-fold-cv.csv", folds)):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, content[0].keys())
            writer.writeheader()
            writer.writerows(content)
    return folder


def made_once(tmp_path_factory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` fills, made by the first test process that asks and read by all."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    folder = place / name
    with FileLock(place / f"{name}.lock"):
        if not (place / f"{name}.whole").exists():
            make(folder)
            (place / f"{name}.whole").touch()
    return folder


@pytest.fixture(scope="session")
def busi(tmp_path_factory) -> Path:
    """Twelve benign and twelve malignant phantoms in BUSI's layout, with a table; tests that change files copy them first."""

    def make(folder: Path) -> None:
        write_dataset(folder, 12)
        (folder / "phantoms.csv").rename(folder / "mine.csv")  # by which phantoms are known, and these stand for scans

    return made_once(tmp_path_factory, "busi", make)


@pytest.fixture(scope="session")
def busbra(tmp_path_factory) -> Path:
    """Sixteen patients with two views each in BUS-BRA's layout."""
    return made_once(tmp_path_factory, "busbra", lambda folder: write_busbra(folder, 16))


@pytest.fixture(scope="session")
def data(busi, busbra) -> list[str]:
    """Both drawn data sets, as the command line takes them."""
    return ["--data", f"busbra={busbra}", "--data", f"busi={busi}"]


def command(*arguments: object) -> list[str]:
    """The training command with these arguments."""
    return [sys.executable, "-m", "train", "fit", *map(str, arguments)]


@pytest.fixture(scope="session")
def run(data, tmp_path_factory) -> Path:
    """A finished run, made by the command itself; tests that change it copy it first."""

    def train(out: Path) -> None:
        subprocess.run(command(*TINY, *data, "--out", out), cwd=ROOT, check=True, timeout=300, capture_output=True)

    return made_once(tmp_path_factory, "whole", train)


@pytest.fixture(scope="session")
def drawn_tree(tmp_path_factory) -> Path:
    """The app with drawn results of six models and of a user's own test; tests that change it copy it first."""
    from synthetic_results import app_tree, draw_own_test

    def draw_tree(tree: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("train.metrics.bootstrap.BOOTSTRAP_SAMPLES", 20)
            draw_own_test(app_tree(tree))

    return made_once(tmp_path_factory, "tree", draw_tree)


@pytest.fixture(scope="session")
def bundle(drawn_tree) -> Bundle:
    """What the app reads of the drawn tree's results."""
    return load_bundled_results(drawn_tree / "assets" / "weights", drawn_tree / "assets" / "results")


def copied(run: Path, place: Path) -> Path:
    shutil.copytree(run, place)
    return place
