"""What several tests share: real scans where they are present, drawn ones everywhere, and models without training."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rcdnet.bench import untrained_classifier
from rcdnet.inference import Classifier
from rcdnet.registry import MODELS
from train.phantoms import RECIPES, draw

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real data sets, which are never part of the repository."""
    if not DATA.exists():
        pytest.skip("the BUSI and BUS-BRA data sets are not beside this checkout")
    return DATA


@pytest.fixture(scope="session")
def phantom() -> np.ndarray:
    """A drawn scan, uint8 (440, 520)."""
    return draw(RECIPES["phantom-irregular-mass"], seed=2).image


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
