"""What a person types: patterns, folders, a home folder, places that cannot be written to, a pipe that closes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from rcdnet.__main__ import main as rcdnet
from rcdnet.errors import OutputError
from rcdnet.exit_codes import CLOSED_PIPE
from rcdnet.path_arguments import check_writable, expand_pattern, images_in
from train.__main__ import main as train
from train.data.phantoms import write_dataset
from train.runs.data_locations import DatasetLocation, data_root, find_datasets, resolve_datasets

SAMPLES = sorted((ROOT / "assets" / "samples").glob("*.png"))


@pytest.fixture
def scans(tmp_path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, sample in zip(("b.png", "a.PNG", "scan [1].png"), SAMPLES, strict=True):
        shutil.copy(sample, folder / name)
    return folder


def predicted(capsys, *arguments: object) -> tuple[int, list[dict], str]:
    """Exit code, rows and stderr."""
    code = rcdnet(["predict", *map(str, arguments), "--models", "mobilenetv2"])
    message = capsys.readouterr()
    return code, [json.loads(line) for line in message.out.splitlines()], message.err


def test_a_pattern_in_quotes_is_opened_as_windows_needs_it(scans, capsys):
    code, rows, _ = predicted(capsys, scans / "*.png")
    assert (code, [row["image"] for row in rows]) == (0, [str(scans / "b.png"), str(scans / "scan [1].png")])
    code, rows, _ = predicted(capsys, scans.parent / "*" / "?.png", scans / "a.PNG")
    assert (code, [Path(row["image"]).name for row in rows]) == (0, ["b.png", "a.PNG"])
    assert expand_pattern(str(scans.parent / "**" / "*.PNG")) == [str(scans / "a.PNG")]


def test_a_file_whose_name_is_a_pattern_is_itself(scans, capsys):
    """`[1]` as a pattern is the file `scan 1.png`."""
    shutil.copy(SAMPLES[0], scans / "scan 1.png")
    code, rows, _ = predicted(capsys, scans / "scan [1].png")
    assert (code, [row["image"] for row in rows]) == (0, [str(scans / "scan [1].png")])


def test_a_folder_is_read_in_order_and_says_what_it_passes_over(scans, capsys):
    shutil.copy(SAMPLES[0], scans / "b_mask.png")
    shutil.copy(SAMPLES[0], scans / "lone_mask.png")  # no image beside it, so it may be one
    (scans / "notes\u202etxt.exe").write_text("x")
    (scans / "more").mkdir()
    for name in ("._b.png", ".DS_Store", "Thumbs.db"):
        (scans / name).write_text("x")
    code, rows, message = predicted(capsys, scans)
    assert (code, [Path(row["image"]).name for row in rows]) == (0, ["a.PNG", "b.png", "lone_mask.png", "scan [1].png"])
    assert message == f"Skipped in {scans}: b_mask.png, more, notestxt.exe\n"


def test_a_folder_without_images_is_a_row_of_its_own(tmp_path, scans, capsys):
    (tmp_path / "empty").mkdir()
    code, rows, _ = predicted(capsys, tmp_path / "empty", tmp_path, scans / "b.png")
    assert code == 1
    assert rows[0] == {
        "image": str(tmp_path / "empty"), "error": "The folder holds no image: PNG, JPEG, BMP or TIFF is expected.",
    }  # fmt: skip
    assert rows[1]["error"].endswith(f"It has folders inside; give one of them, such as {tmp_path / 'empty'}.")
    assert rows[2]["model"] == "mobilenetv2"


def test_what_cannot_be_opened_is_said_in_words(tmp_path, capsys):
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    code, rows, _ = predicted(capsys, tmp_path / "*.tif", tmp_path / "loop.png", tmp_path / "none.png")
    assert code == 1
    assert rows[0]["error"] == f"No such file or folder: {tmp_path / '*.tif'}"
    assert "loop.png cannot be read or written" in rows[1]["error"]
    assert not any("Errno" in row["error"] for row in rows)


def test_home_is_known_where_the_shell_does_not_look(scans, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    code, rows, _ = predicted(capsys, "~/scans/b.png", "~/scans/a.*", "--heatmaps", "~/maps")
    assert (code, [row["image"] for row in rows]) == (0, [str(scans / "b.png"), str(scans / "a.PNG")])
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a.mobilenetv2.png", "b.mobilenetv2.png"]
    assert train(["phantoms", "~/set", "--count", "2"]) == 0
    assert train(["audit", "--data", "folder=~/set/phantoms.csv"]) == 0
    assert "2 benign, 2 malignant" in capsys.readouterr().out
    monkeypatch.setenv("RCDNET_DATA", "~/set")
    assert data_root() == tmp_path / "set"
    assert len(find_datasets(data_root())) == 1
    assert expand_pattern("~nobody-of-this-name/x") == ["~nobody-of-this-name/x"]


def test_runs_may_be_named_by_a_pattern(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert train(["compare", "assets/results/rcdnet-bus[bi]*-seed2"]) == 0
    lines = [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines() if "| rcdnet |" in line]
    assert set(lines) == {"| rcdnet-busbra-seed2", "| rcdnet-busi-seed2"}
    assert train(["compare", "assets/results/none-*"]) == 1
    assert "none-*" in capsys.readouterr().err


def test_a_folder_for_data_that_is_a_link_in_a_circle_holds_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv("RCDNET_DATA", str(tmp_path / "loop"))
    assert find_datasets(data_root()) == []
    with pytest.raises(Exception, match="no longer exists"):
        resolve_datasets([DatasetLocation("folder", "loop")], tmp_path)
    with pytest.raises(SystemExit):
        train(["fit", "--data", f"folder={tmp_path / 'loop'}", "--out", str(tmp_path / "run")])
    assert "is a broken link" in capsys.readouterr().err


def refused(command: list[str], monkeypatch, capsys) -> str:
    """What a command says that is to find its place before any work: none of that is there to be done."""

    def work(*arguments, **options):
        raise AssertionError("the work was begun")

    for name in (
        "train.__main__.start", "train.__main__.resume", "train.__main__.evaluate_external", "train.__main__.reevaluate_run",
        "train.__main__.ship", "train.__main__.fetch", "train.__main__.write_dataset", "train.__main__.write_samples",
        "train.results.results_report.write_report", "train.studies.held_out.study_input", "rcdnet.__main__.load_classifier",
    ):  # fmt: skip
        monkeypatch.setattr(name, work)
    run = rcdnet if command[0] == "predict" else train
    assert run(command) == 1
    message = capsys.readouterr()
    assert message.out == ""
    assert message.err.count("\n") == 1
    return message.err


WRITING = {
    "fit": ["fit", "--model", "vit", "--data", "folder=DIR", "--out", "PLACE"],
    "resume": ["fit", "--resume", "PLACE"],
    "evaluate": ["evaluate", "rcdnet", "--data", "folder=DIR", "--out", "PLACE"],
    "report": ["report", "--out", "PLACE"],
    "heatmaps": ["heatmaps", "--data", "folder=DIR", "--out", "PLACE"],
    "fetch": ["fetch", "busi", "--out", "PLACE"],
    "phantoms": ["phantoms", "PLACE"],
    "a set of phantoms": ["phantoms", "PLACE", "--count", "3"],
    "overlays": ["predict", str(SAMPLES[0]), "--models", "vit", "--heatmaps", "PLACE"],
}


@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize("below", ["", "deep/inside"])
def test_a_file_where_a_folder_is_to_be_is_said_before_the_work(name, below, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / below
    message = refused([str(place) if word == "PLACE" else word for word in WRITING[name]], monkeypatch, capsys)
    assert (
        message == f"{tmp_path / 'file'} is not a folder, so nothing can be written to {place}. Give another place.\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "name, file",
    [("fit", "events.jsonl"), ("evaluate", "predictions.csv"), ("report", "report.html"), ("heatmaps", "maps.csv")],
)
def test_a_folder_where_a_file_is_to_be_is_said_before_the_work(name, file, tmp_path, monkeypatch, capsys):
    (tmp_path / file).mkdir()
    message = refused([str(tmp_path) if word == "PLACE" else word for word in WRITING[name]], monkeypatch, capsys)
    assert message.startswith(f"{tmp_path / file} is a folder, but a file must be written there.")


def test_weights_that_cannot_be_put_where_the_app_looks_are_not_shipped(tmp_path, monkeypatch, capsys):
    (tmp_path / "weights").touch()
    monkeypatch.setattr("train.__main__.WEIGHTS_FOLDER", tmp_path / "weights")
    assert "is not a folder" in refused(["ship", "runs/rcdnet"], monkeypatch, capsys)


def test_a_place_that_may_not_be_written_to_is_said_before_the_work(tmp_path):
    """In a process of its own: root may write everywhere, unless it gives that up."""
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o555)
    as_anybody = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    if as_anybody and not shutil.which("setpriv"):
        pytest.skip("root, and no setpriv to be somebody else")
    command = [sys.executable, "-m", "train", "phantoms", str(tmp_path / "locked" / "set"), "--count", "1"]
    done = subprocess.run([*as_anybody, *command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"{tmp_path / 'locked' / 'set'} cannot be written to: permission denied. Give another place, or get permission to write there.\n"
    )


def test_what_can_be_written_to_is_left_as_it_was(tmp_path):
    check_writable(tmp_path / "a" / "b", "report.html")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "dead").symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputError, match="dead is not a folder"):
        check_writable(tmp_path / "dead")


@pytest.mark.parametrize(
    "error", [PermissionError(13, "Permission denied", "/x/y"), IsADirectoryError(21, "Is a directory", "/x/y")]
)
def test_a_place_that_fails_after_all_is_said_in_a_sentence(error, monkeypatch, capsys, tmp_path):
    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr("train.__main__.write_samples", fails)
    assert train(["phantoms", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"/x/y cannot be read or written: {error.strerror.lower()}.\n"


@pytest.mark.parametrize(
    "command, code",
    [
        (["rcdnet", "predict", *map(str, SAMPLES), "--models", "mobilenetv2"], CLOSED_PIPE),
        (["train", "compare"], 0),  # all was done when nobody read it
        (["train", "fit", "--help"], 0),
    ],
    ids=["predict", "compare", "help"],
)
def test_a_closed_pipe_ends_without_a_word(command, code):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode in (code, CLOSED_PIPE)  # where the output is longer than a buffer


def test_a_set_of_phantoms_is_read_as_a_folder(tmp_path):
    write_dataset(tmp_path, 2)
    found = images_in(tmp_path / "benign")
    assert [path.name for path in found.paths] == ["benign (1).png", "benign (2).png"]
    assert [path.name for path in found.passed_over] == ["benign (1)_mask.png", "benign (2)_mask.png"]
