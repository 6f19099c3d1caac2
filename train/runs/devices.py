"""What a run started from the page can train on."""

import csv
import os
import shutil
import subprocess


def devices() -> dict[str, str]:
    """Each device with its name and free memory in words, GPUs first; the CPU is always there.

    Asked of nvidia-smi, because asking torch would keep some of the GPU's memory for the app itself. GPUs that were hidden from the
    app by CUDA_VISIBLE_DEVICES stay hidden.
    """
    found: dict[str, str] = {}
    if program := shutil.which("nvidia-smi"):
        query = ["--query-gpu=index,name,memory.free,memory.total", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run([program, *query], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
            found = read_devices(done.stdout)
        except (OSError, subprocess.SubprocessError):  # a driver that does not answer trains nothing either
            found = {}
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        found = {f"cuda:{k}": found[f"cuda:{k}"] for k in visible.split(",") if f"cuda:{k}" in found}
    return found | {"cpu": f"CPU, {os.cpu_count()} cores"}


def read_devices(text: str) -> dict[str, str]:
    """GPUs from nvidia-smi's rows of index, name, free and total memory in MiB.

    >>> read_devices("0, NVIDIA H200, 140000, 143771")
    {'cuda:0': 'GPU 0, NVIDIA H200, 136.7 of 140.4 GiB free'}
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if len(row) == 4]
    return {
        f"cuda:{index}": f"GPU {index}, {name}, {float(free) / 1024:.1f} of {float(total) / 1024:.1f} GiB free"
        for index, name, free, total in rows
        if free.replace(".", "").isdigit() and total.replace(".", "").isdigit()
    }
