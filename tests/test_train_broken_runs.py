"""Broken and planted run folders: each is one line, whatever lies in it, and no other run is touched."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from broken_runs import DEEP, PLANTED, RESULTS, TRAIN, edited, marked_later, sparse
from conftest import copied
from processes import wait_for

from rcdnet.errors import ConfigError, DatasetError
from rcdnet.safe_read import Count, Share, Unreadable, Within, open_regular, parse_as, parse_json, read_regular
from train.__main__ import main
from train.config import TrainConfig
from train.crash_safe_files import append_line, read_complete_lines
from train.data.splits import Split
from train.fit.events import line_of, read_events
from train.results.load_results import load_user_results
from train.runs import jobs, pace, run_state, training_form, watch, worker
from train.runs.run_state import State, state_of
from train.runs.weights_for_analyse import shared

SECONDS = 60  # after which what waits for a pipe waits for ever


@contextmanager
def bounded() -> Iterator[None]:
    """Fails what hangs, and what takes a second of the processor; one that others keep busy may take longer by the clock."""

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    began = time.process_time()
    try:
        yield
    finally:
        signal.alarm(0)
    assert time.process_time() - began < 1


@pytest.fixture(scope="module")
def runs(run, tmp_path_factory) -> Path:
    """A folder of runs with a good one, whose weights were read once."""
    runs = tmp_path_factory.mktemp("planted") / "runs"
    copied(run, runs / "good")
    load_user_results(runs)
    return runs


@pytest.fixture
def bad(run, runs) -> Iterator[Path]:
    """A run beside the good one, to plant faults into."""
    yield copied(run, runs / "bad")
    shutil.rmtree(runs / "bad", ignore_errors=True)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_folder_is_one_line_and_the_others_stay(name, runs, bad):
    plant, refused_on = PLANTED[name]
    plant(bad)
    with bounded():
        found, refused = watch.views(runs)
        shown, missing = load_user_results(runs)
    on_train, on_results = TRAIN in refused_on, RESULTS in refused_on
    assert {view.name for view in found} == ({"good"} if on_train else {"good", "bad"})
    assert set(shown) == ({"good"} if on_results else {"good", "bad"})
    assert set(refused) == ({"bad"} if on_train else set())
    assert set(missing) == ({"bad"} if on_results else set())
    for sentence in [*refused.values(), *missing.values()]:
        assert sentence.startswith("bad is not shown. ")
        assert len(sentence) < 700
        assert sentence.isprintable()
    with bounded():
        assert "good" in {run.name for run in run_state.runs_in(runs)}
        assert training_form.suggested_name(["bad"], runs) == "bad-1"
        assert training_form.starts(runs)["run good"]
        assert shared(runs) == {}
        assert run_state.queue_of("cpu", runs) == []
        jobs.ensure_workers(runs)
        assert run_state.at_work_on("cpu", runs) == []
        jobs.delete(bad)
    assert [view.name for view in watch.views(runs)[0]] == ["good"]


@pytest.mark.parametrize(
    "plant", ["settings nested deep", "a pipe as events", "a folder that waits", "a pipe as split"]
)
def test_a_planted_run_is_not_gone_on_with(plant, run, tmp_path, capsys):
    bad = copied(run, tmp_path / "bad")
    PLANTED[plant][0](bad)
    with bounded():
        assert main(["fit", "--resume", str(bad)]) == 1
    assert "bad/" in capsys.readouterr().err
    for action in (jobs.resume, jobs.stop):
        if plant != "settings nested deep":  # which says it when it is its turn
            with bounded(), pytest.raises(DatasetError, match="where a file belongs"):
                action(bad)


def test_a_planted_run_leaves_the_queue_to_the_others(run, busi, tmp_path):
    """The worker takes the planted one first, and cannot even begin it."""
    bad = copied(run, tmp_path / "bad")
    (bad / "events.jsonl").write_text("7\n")
    good = tmp_path / "good"
    good.mkdir()
    (good / "config.json").write_text(TrainConfig(data=(("busi", str(busi / "gone")),)).to_json())
    for place in (bad, good):
        (place / "job.json").write_text('{"device": "cpu", "roots": []}')
        (place / "queued").touch()
    os.utime(bad / "queued", (1, 1))
    assert run_state.queue_of("cpu", tmp_path) == [bad, good]
    worker.work(tmp_path, "cpu")
    assert state_of(good) is State.FAILED
    assert "does not exist" in watch.view_of(good).message
    assert run_state.queue_of("cpu", tmp_path) == []


@pytest.mark.parametrize("ahead_s", [60, 3600, 10**9])
def test_a_start_in_the_future_blocks_neither_delete_nor_the_queue(ahead_s, run, tmp_path):
    early = copied(run, tmp_path / "early")
    (early / "events.jsonl").write_text("")
    (early / "starting").touch()
    later = time.time() + ahead_s
    os.utime(early / "starting", (later, later))
    assert state_of(early) is State.LOST
    assert run_state.at_work_on("cpu", tmp_path) == []
    jobs.delete(early)
    assert not early.exists()


def test_a_run_marked_in_the_future_waits_like_any_other(run, tmp_path):
    for name in ("first", "second"):
        copied(run, tmp_path / name)
        (tmp_path / name / "job.json").write_text('{"device": "cpu"}')
        (tmp_path / name / "queued").touch()
    marked_later(tmp_path / "first" / "queued")
    assert [run.name for run in run_state.queue_of("cpu", tmp_path)] == ["second", "first"]


def test_an_estimate_is_given_beside_a_planted_run(run, tmp_path, monkeypatch):
    PLANTED["a pipe as job"][0](copied(run, tmp_path / "bad"))
    monkeypatch.setattr(pace, "seconds_of", lambda *_: 60.0)
    with bounded():
        assert pace.estimate({"mine": TrainConfig()}, 100, "cpu", tmp_path) == "mine: about 1 minute."


def test_a_damaged_job_does_not_let_a_run_read_what_it_likes(run, tmp_path):
    bad = copied(run, tmp_path / "bad")
    (bad / "job.json").write_text('{"device": "cpu", "roots": "/"}')
    with pytest.raises(DatasetError, match=r"does not say where this run may train: roots: '/' is not a list"):
        run_state.roots_of(bad)


def test_of_a_log_of_any_length_the_end_is_shown(run, tmp_path):
    mine = copied(run, tmp_path / "mine")
    sparse("log.txt")(mine)
    with (mine / "log.txt").open("ab") as file:
        file.write("\nfar behind: é\n".encode())
    with bounded():
        assert watch.log_tail(mine).splitlines()[-1] == "far behind: é"
    append_line(mine / "events.jsonl", line_of(read_events(mine / "events.jsonl")[-1]))
    assert len(read_complete_lines(mine / "events.jsonl")) == 6


def test_a_line_is_added_to_a_long_file_without_reading_it(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"whole\n" + b"x" * 200_000)  # killed in the middle of a long line
    append_line(path, "next\n")
    assert path.read_bytes() == b"whole\nnext\n"
    path.write_bytes(b"x" * 200_000)
    append_line(path, "only\n")
    assert path.read_bytes() == b"only\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"train": "all", "validation": [], "conflicts": [], "groups": {}, "rule": ""}', "train: 'all' is not a list"),
        ('{"train": [[1]], "validation": [], "conflicts": [], "groups": {}, "rule": ""}', "is not a text"),
        ('{"train": [], "validation": [], "conflicts": [], "groups": {"a": "b"}, "rule": ""}', "groups: 'b'"),
        ('{"train": [], "validation": [], "conflicts": [], "groups": {}}', "rule is missing"),
        ("[]", "is not an object"),
        (DEEP, "nested too deep"),
    ],
)
def test_a_split_of_another_shape_is_refused(content, reason, tmp_path):
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(DatasetError, match="holds no valid split") as refused:
        Split.read(tmp_path / "split.json")
    assert reason in str(refused.value)


def test_what_a_type_says_is_read_and_nothing_else():
    assert parse_as(tuple[Share, ...] | None, None) is None
    assert parse_as(tuple[int, str], [1, "a"]) == (1, "a")
    assert parse_as(dict[str, float], {"a": 1}) == {"a": 1.0}
    for kind, value in [
        (int, True), (int, 1.0), (float, "1"), (float, True), (str, 1), (bool, 1), (Count, -1), (Share, 1.1),
        (tuple[int, str], [1]), (tuple[int, ...], {}), (dict[str, int], {"a": None}),
    ]:  # fmt: skip
        with pytest.raises(Unreadable):
            parse_as(kind, value)
    assert Within(0, 1) == Within(0, 1, null=None)


@pytest.mark.parametrize(
    "text", ["NaN", "[-Infinity]", "1e999", "9" * 30, "-" + "9" * 5000, '"\\udfff"', "{", "\ufeff1"]
)
def test_what_is_no_json_or_cannot_be_stored_is_refused(text):
    with pytest.raises(Unreadable):
        parse_json(text)


def test_sizes_are_bounded_and_nothing_but_a_file_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"1234")
    assert read_regular(tmp_path / "file", 4) == b"1234"
    with pytest.raises(Unreadable, match="it has 4 bytes; at most 3 bytes are expected"):
        read_regular(tmp_path / "file", 3)
    os.mkfifo(tmp_path / "pipe")
    for place, what in ((tmp_path, "a folder"), (tmp_path / "pipe", "a named pipe"), (Path("/dev/null"), "a device")):
        for append in (False, True):
            with bounded(), pytest.raises(Unreadable, match=what):
                open_regular(place, append=append)
    with pytest.raises(Unreadable, match="it is not there"):
        open_regular(tmp_path / "gone")


def unfinished(run: Path, place: Path) -> Path:
    """A run that has yet to say that it is finished."""
    out = copied(run, place)
    lines = (out / "events.jsonl").read_text().splitlines(keepends=True)
    (out / "events.jsonl").write_text("".join(lines[:-1]))
    return out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 5}, "epochs from 3 to 5"),
        ({"learning_rate": 0.5, "seed": 9}, "learning_rate from 0.001 to 0.5, seed from 0 to 9"),
        ({"split": "all"}, "split from '7:3' to 'all'"),
        ({"data": [["busi", "elsewhere"]]}, "data from ['busbra', 'busi'] to ['busi']"),
    ],
)
def test_settings_that_were_edited_are_not_gone_on_with(changes, message, run, tmp_path, capsys):
    out = unfinished(run, tmp_path / "edited")
    edited("config.json", **changes)(out)
    before = (out / "config.json").read_text()
    assert main(["fit", "--resume", str(out)]) == 1
    assert f"was edited since the run began: {message}. Put it back" in capsys.readouterr().err
    assert (out / "config.json").read_text() == before


def test_an_edited_run_that_is_resumed_from_the_page_says_so_there(run, tmp_path):
    out = unfinished(run, tmp_path / "runs" / "edited")
    edited("config.json", epochs=5)(out)
    jobs.resume(out)
    wait_for(lambda: state_of(out) is State.FAILED)
    assert "epochs from 3 to 5" in watch.view_of(out).message
    for process in jobs._workers:
        process.wait(30)


def test_settings_in_another_form_and_a_checkpoint_of_before_are_gone_on_with(run, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    out = unfinished(run, tmp_path / "same")
    settings = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(dict(reversed(settings.items()))))
    assert main(["fit", "--resume", str(out)]) == 0

    old = unfinished(run, tmp_path / "old")
    with safe_open(old / "last.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["progress"])
    assert about.pop("settings")
    assert about.pop("threads") >= 1
    save_file(load_file(old / "last.safetensors"), old / "last.safetensors", metadata={"progress": json.dumps(about)})
    edited("config.json", epochs=3, gain=0.2)(old)  # nothing says what it was
    assert main(["fit", "--resume", str(old)]) == 0


def test_resume_refuses_in_a_sentence_of_config(run, tmp_path):
    from train.fit.checkpoints import check_settings

    out = unfinished(run, tmp_path / "edited")
    edited("config.json", erase=0.9)(out)
    with pytest.raises(ConfigError, match=r"erase from 0\.3 to 0\.9"):
        check_settings(out, TrainConfig.read(out / "config.json"))
