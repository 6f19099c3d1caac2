"""Runs as jobs: real processes, queued, stopped, killed and resumed; and where their data may lie."""

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SMALL, copied
from filelock import FileLock
from processes import process_of, wait_for, worker_of

from rcdnet.errors import ConfigError, DatasetError, NotTrained
from rcdnet.reading.inference import load_custom
from train.config import TrainConfig
from train.data.phantoms import write_dataset
from train.fit.events import Epoch, read_events
from train.lock_check import is_locked
from train.results.load_results import load_user_results
from train.runs import external_test_from_page, jobs, run_results, run_state, watch
from train.runs.run_state import State, state_of
from train.runs.start_and_resume import failure_of
from train.runs.training_form import shown_values, starts
from train.runs.weights_for_analyse import share, shared, withdraw


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
    with pytest.raises(ConfigError, match="already a run named first"):
        jobs.submit("first", config, "cpu", runs)
    wait_for(lambda: state_of(first) in (State.STARTING, State.RUNNING))
    assert (state_of(second), state_of(third)) == (State.QUEUED, State.QUEUED)
    assert watch.view_of(third).sentence == "Queued for cpu, 1 ahead of it"
    jobs.stop(second)
    assert state_of(second) is State.STOPPED
    assert watch.view_of(third).sentence == "Queued for cpu, next in line"
    at_once = 0
    until = time.monotonic() + 180
    while not all(state_of(run) is State.FINISHED for run in (first, third)):
        assert time.monotonic() < until
        at_once = max(at_once, sum(is_locked(run / "lock") for run in (first, second, third)))
        time.sleep(0.2)
    assert at_once == 1
    wait_for(lambda: not worker_of(runs))
    jobs.resume(second)
    wait_for(lambda: state_of(second) is State.FINISHED)
    with pytest.raises(ConfigError, match="is finished, so it cannot be resumed"):
        jobs.resume(second)
    jobs.delete(second)
    assert [run.name for run in run_state.runs_in(runs)] == ["third", "first"]
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
    wait_for(lambda: is_locked(jobs.worker_lock("cpu", runs)))
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
    jobs.ensure_workers(runs)
    wait_for(lambda: state_of(run) is State.FAILED)
    assert "gone" in watch.view_of(run).message
    assert "does not exist" in watch.view_of(run).message


def test_why_a_run_could_not_begin_is_said(runs, busi, monkeypatch):
    """It ends before it holds its lock, so that nobody but the worker can say so."""
    config = TrainConfig(**SMALL, epochs=2, data=(("busi", str(busi)),))
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "nonsense")
    run = jobs.submit("impossible", config, "cpu", runs)
    wait_for(lambda: state_of(run) is State.FAILED)
    assert "not a valid DynamoBackend" in watch.view_of(run).message


def test_data_that_leaves_its_folder_while_a_run_waits_is_not_read(runs, busi, tmp_path):
    root = tmp_path / "data"
    place = copied(busi, root / "busi")
    runs.mkdir()
    (runs / "left").mkdir()
    config = TrainConfig(**SMALL, epochs=2, data=(("busi", str(place)),))
    (runs / "left" / "config.json").write_text(config.to_json())
    (runs / "left" / "job.json").write_text(json.dumps({"device": "cpu", "roots": [str(root), str(runs)]}))
    image = place / "benign" / "benign (2).png"
    image.unlink()
    image.symlink_to(busi / "benign" / "benign (2).png")
    jobs.resume(runs / "left")
    wait_for(lambda: state_of(runs / "left") is State.FAILED)
    assert "points outside the data folder" in watch.view_of(runs / "left").message


def test_data_that_goes_away_while_a_run_reads_it_and_memory_that_is_full(runs, busi, tmp_path):
    place = copied(busi, tmp_path / "gone")
    run = jobs.submit("gone", TrainConfig(**SMALL, epochs=60, data=(("busi", str(place)),)), "cpu", runs)
    wait_for(lambda: len(watch.view_of(run).epochs) >= 1)
    jobs.stop(run)
    wait_for(lambda: state_of(run) is State.STOPPED)
    shutil.rmtree(place / "benign")
    jobs.resume(run)
    wait_for(lambda: state_of(run) is State.FAILED)
    assert "benign does not exist. Expected the data set as it was downloaded" in watch.view_of(run).message
    assert run_results.worst_images(run) == []
    for error in (MemoryError(), RuntimeError("CUDA error: out of memory"), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")):
        kind, advice = failure_of(error)
        assert kind == "out_of_memory"
        assert "Start again with a smaller batch_size or start_size" in advice


def test_a_run_is_deleted_once_and_never_through_a_link(tmp_path, run):
    runs = tmp_path / "runs"
    copied(run, runs / "mine")
    outside = copied(run, tmp_path / "outside")
    (runs / "link").symlink_to(outside)
    with pytest.raises(ConfigError, match="link to another folder"):
        jobs.delete(runs / "link")
    assert (outside / "config.json").exists()
    (runs / "mine" / "events.jsonl").write_bytes(b'{"event": "\xff"}\n')
    assert "damaged" in watch.views(runs)[1]["mine"]
    jobs.delete(runs / "mine")
    for action in (jobs.delete, jobs.resume, jobs.stop):
        with pytest.raises(ConfigError, match="no longer exists"):
            action(runs / "mine")
    (runs / ".deleted-half-1").mkdir()
    jobs.ensure_workers(runs)
    assert [path.name for path in runs.iterdir()] == ["link"]


def test_a_name_is_not_kept_by_a_run_that_could_not_be_queued(tmp_path, busi, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(jobs, "_enqueue", full)
    config = TrainConfig(**SMALL, epochs=2, data=(("busi", str(busi)),))
    with pytest.raises(OSError, match="No space left"):
        jobs.submit("mine", config, "cpu", tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "two-vit").mkdir()
    with pytest.raises(ConfigError, match="already a run named two-vit"):
        jobs.submit_all({"two-rcdnet": config, "two-vit": config}, "cpu", tmp_path)
    assert not (tmp_path / "two-rcdnet").exists()


def test_two_who_ask_whether_a_lock_is_held_do_not_fool_each_other(tmp_path):
    lock = tmp_path / "lock"
    assert not is_locked(lock)
    assert not lock.exists()
    with FileLock(lock):
        assert is_locked(lock)
    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(lambda _: is_locked(lock), range(4000)))


def test_a_full_disk_is_said_with_advice(runs, busi, tmp_path):
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
    with pytest.raises(ConfigError, match="is not a valid name for a run"):
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
    shown = run_results.result_blocks(["mine", "other"], found, runs)
    assert len(shown) == 4
    assert list(shown[2].table[0]) == ["", "mine", "other"]
    assert len(run_results.worst_images(runs / "mine")) == run_results.WORST
    assert load_user_results(runs)[1] == {}
    assert shared(runs) == {}
    try:
        share(runs / "mine")
    except NotTrained as reason:  # three epochs on phantoms may fall short of what may answer
        assert "gives no answer" in str(reason)
    else:
        classifier = load_custom("mine", shared(runs)["mine"])
        assert (classifier.name, classifier.title) == ("own:mine", "mine (your MobileNetV2)")
        assert list(shared(runs)) == ["mine"]
        withdraw(runs / "mine")
    assert shared(runs) == {}  # refused weights are not offered, and offered ones can be taken back


def test_a_finished_run_is_tested_on_a_data_set_below_the_root(run, runs, tmp_path):
    mine, root = copied(run, runs / "mine"), tmp_path / "data"
    write_dataset(root / "our clinic", 3, seed=8)
    (root / "our clinic" / "phantoms.csv").unlink()  # by which phantoms are known
    assert external_test_from_page.testable(mine)
    assert external_test_from_page.run_external_test(mine, "our clinic (BUSI)", root) == "mine on our-clinic"
    (result,) = load_user_results(runs)[0]["mine on our-clinic"]
    assert (result.figures.images, result.images, result.external) == (6, "our-clinic, external test", True)
    with pytest.raises(DatasetError, match="no longer exists"):
        external_test_from_page.run_external_test(mine, "../elsewhere (BUSI)", root)
    (mine / "evaluation.json").unlink()
    assert not external_test_from_page.testable(mine)
    with pytest.raises(DatasetError, match="Make one with: python -m train evaluate"):
        external_test_from_page.run_external_test(mine, "our clinic (BUSI)", root)
