"""The command line as a script would use it, in its own process."""

import csv
import hashlib
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from rcdnet.__main__ import main
from rcdnet.reading.inference import load_trained

SAMPLES = sorted((ROOT / "assets" / "samples").glob("*.png"))


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "rcdnet", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_one_object_for_each_image_and_model_and_one_for_the_bad_file(tmp_path):
    bad = tmp_path / "broken.png"
    bad.write_bytes(SAMPLES[0].read_bytes()[:5000])
    maps = tmp_path / "maps"
    done = run("predict", str(SAMPLES[0]), str(bad), str(SAMPLES[1]), "--heatmaps", str(maps))
    assert done.returncode == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    models = [c.spec.name for c in load_trained()[0]]
    assert [(r["image"], r.get("model")) for r in rows] == [
        *((str(SAMPLES[0]), m) for m in models),
        (str(bad), None),
        *((str(SAMPLES[1]), m) for m in models),
    ]
    assert set(rows[0]) == {"image", "sha256", "model", "p_malignant", "threshold", "call", "verdict"}
    assert rows[0]["sha256"] == hashlib.sha256(SAMPLES[0].read_bytes()).hexdigest()
    assert set(rows[len(models)]) == {"image", "error"}
    assert "damaged" in rows[len(models)]["error"]
    for row in rows:
        if "model" in row:
            assert row["call"] == ("malignant" if row["p_malignant"] >= row["threshold"] else "benign")
            overlay = maps / f"{Path(row['image']).stem}.{row['model']}.png"
            assert size_of(overlay) == size_of(Path(row["image"]))
    assert len(list(maps.iterdir())) == 2 * len(models)


def test_csv_for_chosen_models(capsys):
    assert main(["predict", str(SAMPLES[0]), "--models", "rcdnet", "--format", "csv"]) == 0
    (row,) = csv.DictReader(StringIO(capsys.readouterr().out))
    assert row["model"] == "rcdnet"
    assert row["error"] == ""


def test_an_unknown_or_untrained_model_ends_with_its_sentence(capsys):
    assert main(["predict", str(SAMPLES[0]), "--models", "rcdnett"]) == 1
    assert "Did you mean rcdnet" in capsys.readouterr().err


def test_a_missing_file_is_named_and_the_rest_runs(capsys, tmp_path):
    missing = tmp_path / "no such scan.png"
    assert main(["predict", str(missing), str(SAMPLES[0]), "--models", "rcdnet"]) == 1
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert "No such file" in first["error"]
    assert second["model"] == "rcdnet"


def test_overlays_of_two_files_with_one_name_do_not_overwrite_each_other(tmp_path, capsys):
    copies = []
    for index, sample in enumerate(SAMPLES[:2]):
        (tmp_path / str(index)).mkdir()
        copies.append(tmp_path / str(index) / "scan.png")
        copies[-1].write_bytes(sample.read_bytes())
    main(["predict", *map(str, copies), "--models", "rcdnet", "--heatmaps", str(tmp_path / "maps")])
    assert len(list((tmp_path / "maps").glob("scan-*.rcdnet.png"))) == 2


def test_bench_prints_its_ratios(capsys, monkeypatch):
    from rcdnet import __main__ as command_line
    from rcdnet.bench import benchmark

    monkeypatch.setattr(command_line, "benchmark", lambda: benchmark(rounds=1, side=200, models=["rcdnet", "vit"]))
    assert main(["bench"]) == 0
    assert "x bare" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["benign", "malignant", "normal"])
def test_real_scans_are_answered(kind, data_folder, capsys):
    files = [
        str(p) for p in sorted((data_folder / "Dataset_BUSI_with_GT" / kind).glob("*.png")) if "_mask" not in p.name
    ]
    assert main(["predict", *files[:5], "--models", "rcdnet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
