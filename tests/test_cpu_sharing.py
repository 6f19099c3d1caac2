"""How torch's threads share a machine: set before it is loaded, by every way in, and never against what a person has set."""

import json
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, copied
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rcdnet import cpu_sharing
from train.fit.events import Started, read_events

# Says what the environment holds at the moment at which torch is looked for, and ends there.
WATCHED = """
import os, runpy, sys
class Watch:
    def find_spec(self, name, *_):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Watch())
if sys.argv[1].endswith(".py"):
    exec(open(sys.argv[1]).read().split("st.set_page_config")[0], {"__file__": sys.argv[1]})
    import torch
runpy.run_module(sys.argv[1], run_name="watched")
"""


def without_threads() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))}


@pytest.mark.parametrize(
    "entry",
    [
        "app.py",
        "rcdnet.__main__",
        "train.__main__",
        "train.runs.start_and_resume",
        "train.evaluate.internal_validation",
    ],
)
@pytest.mark.parametrize(("given", "there"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_sleep_before_torch_is_loaded(entry, given, there):
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, entry], cwd=ROOT, env=without_threads() | {"PYTHONPATH": str(ROOT)} | given,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == there, done.stderr


@pytest.mark.parametrize(("processors", "count"), [(1, "1"), (2, "1"), (8, "7")])
def test_a_training_leaves_the_app_a_processor_unless_a_person_says_otherwise(processors, count, monkeypatch):
    monkeypatch.setattr(cpu_sharing, "processors", lambda: processors)
    assert cpu_sharing.background_environment({"PATH": "x"}) == {
        "PATH": "x",
        "OMP_NUM_THREADS": count,
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    given = {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "ACTIVE"}
    assert cpu_sharing.background_environment(given) == given


def test_processors_are_counted_as_torch_counts_them():
    assert 1 <= cpu_sharing.processors() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("given", "used"), [({}, 3), ({"OMP_NUM_THREADS": "1"}, 1)])
def test_a_run_goes_on_with_the_threads_it_was_begun_with(given, used, run, tmp_path):
    """Its sums, divided among others, would end in other bits."""
    out = copied(run, tmp_path / "out")
    with safe_open(out / "last.safetensors", framework="pt") as file:
        progress = json.loads(file.metadata()["progress"])
    assert progress["threads"] >= 1
    about = {"progress": json.dumps(progress | {"threads": 3})}
    save_file(load_file(out / "last.safetensors"), out / "last.safetensors", metadata=about)
    lines = (out / "events.jsonl").read_text().splitlines(keepends=True)
    (out / "events.jsonl").write_text("".join(lines[:-1]))
    command = [sys.executable, "-m", "train", "fit", "--resume", str(out)]
    subprocess.run(command, cwd=ROOT, env=without_threads() | given, check=True, capture_output=True, timeout=300)
    started = [event for event in read_events(out / "events.jsonl") if isinstance(event, Started)][-1]
    assert re.fullmatch(rf"CPU, {used} threads", started.device)
