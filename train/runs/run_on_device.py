"""Processes beside the app: what they see of the machine, and what they answer."""

import os
import subprocess
import sys
from collections.abc import Sequence

from rcdnet.cpu_sharing import background_environment
from rcdnet.errors import RunFailed
from train.folders import HOME


def environment_for(device: str) -> dict[str, str]:
    """The variables of a process that is to see this device alone; Streamlit's settings stay behind."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMLIT_")}
    if device == "cpu":
        return kept | {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    # nvidia-smi, which named the devices, counts them by their place on the bus.
    return kept | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": device.removeprefix("cuda:")}


def run_module(arguments: Sequence[str], device: str, patience_s: float, given: str = "") -> str:
    """What `python -m ARGUMENTS` prints, run to its end in a process of its own that sees one device.

    Raises:
        RunFailed: it failed; the message is the last line it said. TimeoutError: it took longer than the patience.
    """
    try:
        done = subprocess.run(  # noqa: S603, no shell; callers give modules, numbers, and places that they have checked
            [sys.executable, "-m", *arguments],
            cwd=HOME, env=background_environment(environment_for(device)), input=given, capture_output=True, text=True,
            timeout=patience_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    if done.returncode:
        raise RunFailed((done.stderr.strip().splitlines() or ["It ended without a message; memory may be full."])[-1])
    return done.stdout
