"""Runs that are killed or stopped, and go on."""

import signal
import subprocess
import time
from collections.abc import Callable
from filecmp import cmp
from pathlib import Path

import torch
from conftest import ROOT, TINY, command, copied
from safetensors.torch import load_file

from train.__main__ import main
from train.crash_safe_files import append_line, read_complete_lines, write_atomic
from train.fit.events import Epoch, Finished, Stopped, read_events


def kill_and_resume(out: Path, data: list[str], ready: Callable[[], bool]) -> None:
    process = subprocess.Popen(command(*TINY, *data, "--out", out), cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not ready() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not any(isinstance(e, Finished) for e in read_events(out / "events.jsonl"))
    subprocess.run(command("--resume", out), cwd=ROOT, check=True, capture_output=True, timeout=300)


def test_a_killed_run_goes_on_and_ends_bit_for_bit_as_if_never_killed(run, data, tmp_path):
    moments = {
        "while a checkpoint is written": lambda out: (out / "last.safetensors.new").exists(),
        "right after a checkpoint": lambda out: (out / "best.json").exists(),
    }
    for number, ready in enumerate(moments.values()):
        out = tmp_path / str(number)
        kill_and_resume(out, data, lambda out=out, ready=ready: ready(out))
        whole, resumed = load_file(run / "last.safetensors"), load_file(out / "last.safetensors")
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
        assert cmp(out / "best.safetensors", run / "best.safetensors", shallow=False)
        assert cmp(out / "predictions.csv", run / "predictions.csv", shallow=False)
        events = read_events(out / "events.jsonl")
        assert [e.epoch for e in events if isinstance(e, Epoch)] == [1, 2, 3]
        assert isinstance(events[-1], Finished)


def test_an_epoch_line_lost_to_a_kill_is_written_again(run, tmp_path):
    out = copied(run, tmp_path / "lost")
    lines = (out / "events.jsonl").read_text().splitlines(keepends=True)
    (out / "events.jsonl").write_text("".join(lines[:3]))  # killed before the line of epoch 3
    assert main(["fit", "--resume", str(out)]) == 0
    events = read_events(out / "events.jsonl")
    assert events[:4] == read_events(run / "events.jsonl")[:4]
    assert (events[4].event, events[4].epoch, events[5].event) == ("started", 3, "finished")


def test_a_stop_file_ends_the_run_between_batches_and_it_can_be_resumed(run, data, tmp_path):
    out = tmp_path / "stopped"
    process = subprocess.Popen(command(*TINY, *data, "--out", out), cwd=ROOT, stdout=subprocess.DEVNULL)
    while not (out / "last.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # held, so that it cannot finish meanwhile
    second = subprocess.run(command("--resume", out), cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert second.returncode == 1
    assert "Another process is training in" in second.stderr
    (out / "stop").touch()
    process.send_signal(signal.SIGCONT)
    assert process.wait(100) == 0
    stopped = read_events(out / "events.jsonl")[-1]
    assert isinstance(stopped, Stopped)
    assert 1 <= stopped.epoch < 3
    assert main(["fit", "--resume", str(out)]) == 0
    assert cmp(out / "best.safetensors", run / "best.safetensors", shallow=False)


def test_writing_survives_what_a_kill_or_a_full_disk_leaves(tmp_path):
    path = tmp_path / "lines"
    append_line(path, "one é\n")
    with path.open("ab") as file:
        file.write("half a line é".encode()[:-1])  # killed in the middle of a letter
    assert read_complete_lines(path) == ["one é"]
    append_line(path, "two\n")
    assert read_complete_lines(path) == ["one é", "two"]
    assert read_complete_lines(tmp_path / "none") == []
    write_atomic(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["lines"]
