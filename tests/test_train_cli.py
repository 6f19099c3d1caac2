"""The commands around training: audit, fetch, bench, phantoms."""

import shutil
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from train.__main__ import main
from train.data.public_datasets import PUBLIC_DATASETS


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address where a real server offers it."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_fetch_downloads_unpacks_and_says_how_to_use_it(served, busi, tmp_path, capsys):
    folder, address = served
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for path in busi.rglob("*.png"):
            archive.write(path, f"Dataset_BUSI_with_GT/{path.relative_to(busi)}")
    assert main(["fetch", "busi", "--out", str(tmp_path / "data"), "--url", f"{address}/a.zip"]) == 0
    place = capsys.readouterr().out.strip().rpartition("busi=")[2]
    assert main(["audit", "--data", f"busi={place}"]) == 0
    assert "busi: 11 benign, 11 malignant" in capsys.readouterr().out


def test_fetch_puts_the_table_beside_the_images_that_it_belongs_to(served, tmp_path, monkeypatch, capsys):
    folder, address = served
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("BrEaST-Lesions_USG-images_and_masks/case001.png", b"an image")
    table = "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx"
    assert (PUBLIC_DATASETS["breast"].table or "").endswith(f"/{table}")
    monkeypatch.setitem(PUBLIC_DATASETS, "breast", replace(PUBLIC_DATASETS["breast"], table=f"{address}/{table}"))
    asked = ["fetch", "breast", "--out", str(tmp_path / "data"), "--url", f"{address}/a.zip"]
    assert main(asked) == 1
    assert "The table of BrEaST could not be fetched" in capsys.readouterr().err
    (folder / table).write_bytes(b"a table")
    assert main(asked) == 0
    place = Path(capsys.readouterr().out.strip().rpartition("breast=")[2])
    assert (place / table).read_bytes() == b"a table"
    assert (place / "BrEaST-Lesions_USG-images_and_masks" / "case001.png").exists()


def test_fetch_refuses_another_archive_and_names_a_missing_network(served, tmp_path, capsys):
    folder, address = served
    (folder / "a.zip").write_bytes(b"something else")
    assert main(["fetch", "busbra", "--out", str(tmp_path / "data"), "--url", f"{address}/a.zip"]) == 1
    assert "is not the published archive" in capsys.readouterr().err
    assert not list((tmp_path / "data").rglob("*.png"))
    assert main(["fetch", "busbra", "--out", str(tmp_path / "data"), "--url", "http://127.0.0.1:9/a.zip"]) == 1
    message = capsys.readouterr().err
    assert "Check the network" in message
    assert "--data busbra=DIR" in message
    assert all(dataset.url.startswith("https://") for dataset in PUBLIC_DATASETS.values())


def test_audit_prints_copies_conflicts_and_broken_files(busi, tmp_path, capsys):
    folder = tmp_path / "busi"
    shutil.copytree(busi, folder)
    shutil.copy(folder / "benign" / "benign (3).png", folder / "malignant" / "malignant (13).png")
    (folder / "benign" / "benign (4).png").write_bytes(b"no picture")
    assert main(["audit", "--data", f"busi={folder}"]) == 0
    printed = capsys.readouterr().out
    assert "TWO LABELS  busi/benign (3), busi/malignant (13)" in printed
    assert "unreadable: 1" in printed
    assert "busi/benign (4): " in printed


def test_bench_compares_the_engine_with_its_ceiling_and_a_plain_loop(capsys):
    arguments = ["--model", "mobilenetv2", "--init", "random", "--batch-size", "4", "--rounds", "1"]
    assert main(["bench", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "of the ceiling" in printed
    assert "plain loop" in printed


def test_a_set_of_phantoms_is_the_same_again(tmp_path, capsys):
    for name in ("a", "b"):
        assert main(["phantoms", str(tmp_path / name), "--count", "2", "--seed", "5"]) == 0
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.png"))
    assert len(files) == 8
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert main(["audit", "--data", "ddsm=x"]) == 1
    assert "no reader for 'ddsm'" in capsys.readouterr().err
