"""Runs as jobs: real processes, queued, stopped, killed and resumed; and where their data may lie."""

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import copied
from filelock import FileLock

from rcdnet.errors import ConfigError, DatasetError, NotTrained
from rcdnet.inference import load_own
from train import jobs, outcome, watch
from train.access import refusal
from train.audit import summaries
from train.config import TrainConfig
from train.devices import read_devices
from train.events import Epoch, read_events
from train.form import draft, preset_values, shown_values, starts, suggested_name
from train.jobs import State, state_of
from train.pace import estimate
from train.places import PHANTOMS, Place, data_of, phantoms, places, samples_of
from train.results import own_results
from train.share import share, shared

SMALL = {"model": "mobilenetv2", "init": "random", "batch_size": 8, "start_size": 64, "end_size": 64}


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
    found = subprocess.run(["pgrep", "-f", f"train.worker {runs}"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder for runs; nothing trains there any more when the test ends."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # for whatever else this machine does
    folder = tmp_path / "runs"
    yield folder
    for pid in worker_of(folder):
        os.kill(pid, signal.SIGKILL)
    for run in folder.glob("*"):
        for pid in process_of(run):
            os.kill(pid, signal.SIGKILL)
    for worker in jobs._workers:
        worker.wait(30)


def test_jobs_wait_for_their_device_and_can_be_taken_back(runs, busi):
    config = TrainConfig(**SMALL, epochs=2, data=(("busi", str(busi)),))
    first = jobs.submit("first", config, "cpu", runs)
    second = jobs.submit("second", config, "cpu", runs)
    third = jobs.submit("third", config, "cpu", runs)
    with pytest.raises(ConfigError, match="run named first already"):
        jobs.submit("first", config, "cpu", runs)
    wait_for(lambda: state_of(first) in (State.STARTING, State.RUNNING))
    assert (state_of(second), state_of(third)) == (State.QUEUED, State.QUEUED)
    assert watch.view_of(third).sentence == "Queued for cpu, 1 before it"
    jobs.stop(second)
    assert state_of(second) is State.STOPPED
    assert watch.view_of(third).sentence == "Queued for cpu, next in line"
    at_once = 0
    while not all(state_of(run) is State.FINISHED for run in (first, third)):
        at_once = max(at_once, sum(jobs.held(run / "lock") for run in (first, second, third)))
        time.sleep(0.2)
    assert at_once == 1
    wait_for(lambda: not worker_of(runs))
    jobs.resume(second)
    wait_for(lambda: state_of(second) is State.FINISHED)
    with pytest.raises(ConfigError, match="is finished, so it cannot be resumed"):
        jobs.resume(second)
    jobs.delete(second)
    assert [run.name for run in jobs.runs_in(runs)] == ["third", "first"]
    for run in (first, third):
        assert [e.epoch for e in read_events(run / "events.jsonl") if isinstance(e, Epoch)] == [1, 2]


def test_a_kill_is_seen_and_mended_and_a_killed_worker_frees_no_device(runs, busi):
    run = jobs.submit("long", TrainConfig(**SMALL, epochs=60, data=(("busi", str(busi)),)), "cpu", runs)
    wait_for(lambda: len(watch.view_of(run).epochs) >= 1)
    view = watch.view_of(run)
    assert view.state is State.RUNNING
    assert view.seconds_left > 0
    assert 0 < view.progress < 1
    [worker] = worker_of(runs)
    os.kill(worker, signal.SIGKILL)
    assert state_of(run) is State.RUNNING  # the run outlives whoever started it
    other = jobs.submit("other", TrainConfig(**SMALL, epochs=2, data=(("busi", str(busi)),)), "cpu", runs)
    wait_for(lambda: jobs.held(jobs.worker_lock("cpu", runs)))
    time.sleep(3)
    assert state_of(other) is State.QUEUED
    with pytest.raises(ConfigError, match=r"long is running\. Stop it first"):
        jobs.delete(run)
    jobs.stop(other)
    (pid,) = process_of(run)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: state_of(run) is State.LOST, 10)
    view = watch.view_of(run)
    assert "Resume it" in view.message
    done = len(view.epochs)
    jobs.resume(run)
    assert state_of(run).alive
    wait_for(lambda: len(watch.view_of(run).epochs) > done)
    jobs.stop(run)
    wait_for(lambda: state_of(run) is State.STOPPED)
    assert watch.view_of(run).sentence.startswith("Stopped, ")


def test_a_queue_is_taken_up_again_after_a_restart(runs, busi):
    run = runs / "left"
    run.mkdir(parents=True)
    config = TrainConfig(**SMALL, epochs=1, data=(("busi", str(busi / "gone")),))
    (run / "config.json").write_text(config.to_json())
    (run / "job.json").write_text('{"device": "cpu"}')
    (run / "queued").touch()
    assert state_of(run) is State.QUEUED
    jobs.wake(runs)
    wait_for(lambda: state_of(run) is State.FAILED)
    assert "gone" in watch.view_of(run).message
    assert "does not exist" in watch.view_of(run).message


def test_data_that_goes_away_and_a_full_disk_are_said_with_advice(runs, busi, tmp_path):
    """The disk is full for this run alone: a limit on the size of a file, which its checkpoints pass."""
    run = runs / "full"
    run.mkdir(parents=True)
    (run / "config.json").write_text(TrainConfig(**SMALL, epochs=2, data=(("busi", str(busi)),)).to_json())
    limit = ["bash", "-c", f"ulimit -f 2000; python -m train fit --resume {run}"]
    path = f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(limit, env=os.environ | {"PATH": path}, check=False, capture_output=True, timeout=120)
    view = watch.view_of(run)
    assert view.state is State.FAILED
    assert "disk is full" in view.message
    assert "Free some space and resume" in view.message


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "/root", "", ".hidden", "x" * 61, "bundled-rcdnet", "späť", "a b", "-rf"]
)
def test_names_that_could_leave_the_folder_are_refused(name, tmp_path):
    with pytest.raises(ConfigError, match="is no name for a run"):
        jobs.folder_of(name, tmp_path)


def test_a_launched_process_that_is_never_seen_is_lost(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "starting").touch()
    assert state_of(run) is State.STARTING
    os.utime(run / "starting", (1, 1))
    assert state_of(run) is State.LOST
    with FileLock(run / "lock"):
        assert state_of(run) is State.STARTING
        (run / "stop").touch()
        assert state_of(run) is State.STOPPING


def test_places_are_found_by_their_layout_and_never_outside(tmp_path, busi, busbra):
    root = tmp_path / "data"
    (root / "clinic").mkdir(parents=True)
    copied(busi, root / "sets" / "busi")
    copied(busbra, root / "BUSBRA")
    outside = copied(busi, tmp_path / "outside")
    (root / "link").symlink_to(outside)
    (root / "clinic" / "table.csv").write_text(f"path,label\n{outside}/benign/benign (1).png,benign\n")
    found = places(root)
    assert [(p.source, p.path) for p in found] == [
        ("busbra", "BUSBRA"), ("folder", "clinic/table.csv"), ("busi", "sets/busi"),
    ]  # fmt: skip
    for path in ("../outside", str(outside), "link", "sets/../../outside"):
        with pytest.raises(ConfigError, match="outside the folder for data"):
            data_of([Place("busi", path)], root)
    with pytest.raises(DatasetError, match="is not there any more"):
        data_of([Place("busi", "sets/none")], root)
    with pytest.raises(ConfigError, match="leads out of the folder for data"):
        samples_of(data_of([found[1]], root), root)
    inside = root / "sets" / "busi" / "benign" / "benign (2).png"
    inside.unlink()
    inside.symlink_to(outside / "benign" / "benign (2).png")
    with pytest.raises(ConfigError, match="leads out"):
        samples_of(data_of([found[2]], root), root)
    assert places(tmp_path / "nowhere") == []


def test_a_form_says_all_its_mistakes_each_by_its_field(tmp_path, busi):
    root = tmp_path / "data"
    copied(busi, root / "busi")
    runs = tmp_path / "runs"
    values = preset_values("paper") | {"init": "random"}
    wrong = draft([], values | {"batch_size": 7, "warmup_epochs": 90}, [], "a/b", runs, root)
    assert set(wrong.mistakes) == {"model", "data", "batch_size", "warmup_epochs", "name"}
    assert wrong.configs == {}
    assert "expected an even number" in wrong.mistakes["batch_size"]
    right = draft(["rcdnet", "vit"], values, ["busi (BUSI)"], "pair", runs, root)
    assert list(right.configs) == ["pair-rcdnet", "pair-vit"]
    assert right.configs["pair-vit"] == TrainConfig(model="vit", data=(("busi", str(root / "busi")),), **values)
    assert right.images == int(22 * 0.7)  # BUSI's rules leave two out by name
    assert right.found[0].startswith("busi: 11 benign and 11 malignant images, patients unknown, 22 with lesion masks.")
    assert right.found == summaries(data_of([Place("busi", "busi")], root), root)
    official = draft(["vit"], values | {"split": "official"}, ["busi (BUSI)"], "one", runs, root)
    assert official.mistakes == {
        "split": "None of these data sets has official folds. Choose 7:3 or k-fold, or add BUS-BRA."
    }
    jobs.folder_of("pair-vit", runs).mkdir(parents=True)
    assert "name" in draft(["rcdnet", "vit"], values, ["busi (BUSI)"], "pair", runs, root).mistakes
    dry = draft(["vit"], values, [PHANTOMS], "dry", runs, root)
    assert dry.mistakes == {}
    assert dry.configs["dry"].data == phantoms(runs)
    assert len(samples_of(phantoms(runs), runs)) == 80
    assert suggested_name(["vit"], runs) == "vit-1"


def test_a_run_is_cloned_shown_and_offered_to_the_analyse_page(run, tmp_path):
    runs = tmp_path / "runs"
    copied(run, runs / "mine")
    other = copied(run, runs / "other")
    (other / "config.json").write_text(json.dumps(json.loads((other / "config.json").read_text()) | {"seed": 4}))
    view = watch.view_of(runs / "mine")
    assert (view.state, view.sentence, view.seconds_left, view.progress) == (
        State.FINISHED,
        "Finished, 3 of 3 epochs",
        None,
        1.0,
    )
    assert starts(runs)["run mine"] == str(runs / "mine" / "best.safetensors")
    assert shown_values(view.config, runs)["epochs"] == 3
    from_mine = replace(view.config, init=str(runs / "mine" / "best.safetensors"))
    assert shown_values(from_mine, runs)["init"] == "run mine"
    found, refused = watch.views(runs)
    assert (sorted(v.name for v in found), refused) == (["mine", "other"], {})
    assert watch.differing(found) == [{"setting": "seed"} | {v.name: str(v.config.seed) for v in found}]
    shown = outcome.exhibits(["mine", "other"], found, runs)
    assert len(shown) == 4
    assert list(shown[2].table[0]) == ["", "mine", "other"]
    assert len(outcome.worst_images(runs / "mine")) == outcome.WORST
    assert own_results(runs)[1] == {}
    assert shared(runs) == {}
    try:
        share(runs / "mine")
    except NotTrained as reason:  # three epochs on phantoms may fall short of what may answer
        assert "gives no answer" in str(reason)
    else:
        classifier = load_own("mine", shared(runs)["mine"])
        assert (classifier.name, classifier.title) == ("mine", "mine (your MobileNetV2)")
    assert list(shared(runs)) == ["mine"]


def test_an_estimate_is_measured_and_a_failure_said(busi):
    config = TrainConfig(**SMALL, epochs=2, data=(("busi", str(busi)),))
    assert estimate({"a": config}, 16, "cpu").startswith("a: about ")
    assert "A few steps were tried and failed: " in estimate({"a": replace(config, precision="bf16")}, 16, "cpu")


@pytest.mark.parametrize(
    ("signed_in", "address", "said"),
    [
        (None, "127.0.0.1", ""),
        (None, "0.0.0.0", "asks nobody to sign in"),
        (None, None, "asks nobody to sign in"),
        ({"is_logged_in": False}, "0.0.0.0", "Sign in to train"),
        ({"is_logged_in": True, "email": "a@b.example"}, "0.0.0.0", ""),
        ({"is_logged_in": True, "email": "A@B.example"}, "127.0.0.1", ""),
        ({"is_logged_in": True, "email": "x@b.example"}, "127.0.0.1", "not on the list"),
        ({"is_logged_in": True}, "127.0.0.1", "not on the list"),
        ({"is_logged_in": True, "email": "a@b.example", "email_verified": False}, "127.0.0.1", "not verified"),
    ],
)
def test_who_may_train(signed_in, address, said):
    reason = refusal(signed_in, ["a@b.example"], address)
    assert said in reason
    assert bool(said) == bool(reason)


def test_gpus_are_read_from_what_the_driver_says():
    assert read_devices("0, NVIDIA A100, 1024, 2048\n1, [N/A], [N/A], [N/A]\nno GPU") == {
        "cuda:0": "NVIDIA A100, 1.0 of 2.0 GiB free"
    }
