"""What the file system brings along: litter, pictures of every suffix, folders of other names, links, pipes and what cannot be opened."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import copied
from PIL import Image

from rcdnet.errors import DatasetError
from rcdnet.models.registry import CLASSES
from rcdnet.scans.file_kinds import is_image_file
from train.__main__ import main
from train.data.audit import audit
from train.data.bus_bra import read_busbra
from train.data.busi import is_busi, read_busi
from train.data.csv_tables import is_table
from train.data.custom_dataset import read_folder
from train.data.dataset_readers import read_sources
from train.data.folder_listing import class_folders
from train.runs.data_locations import DatasetLocation, find_datasets


@pytest.fixture
def clinic(busi, tmp_path) -> Path:
    """A clinic's own scans in class folders, two of each class, without masks."""
    for label in CLASSES:
        (tmp_path / "clinic" / label).mkdir(parents=True)
        for number in (1, 2):
            shutil.copy(busi / label / f"{label} ({number}).png", tmp_path / "clinic" / label / f"{number}.png")
    return tmp_path / "clinic"


def heard(place: Path, reader: str = "folder") -> tuple[list[str], list[str]]:
    """The ids in a place without its name, and what was said of it."""
    message: list[str] = []
    samples = read_sources([(reader, str(place))], message.append)
    return [sample.id.partition("/")[2] for sample in samples], message


WHOLE = ["benign/1.png", "benign/2.png", "malignant/1.png", "malignant/2.png"]


@pytest.mark.parametrize(
    "litter",
    [
        ".ipynb_checkpoints/1-checkpoint.png", "@eaDir/1.png/SYNOPHOTO_THUMB_M.png", ".Trash-1000/files/misfiled.png", "._1.png",
        "__MACOSX/._1.png", "$RECYCLE.BIN/S-1-5/$R1.png", "System Volume Information/x.png", "lost+found/1.png", "#recycle/1.png",
        ".AppleDouble/1.png", ".thumbnails/1.png", "Thumbs.db", "desktop.ini", ".DS_Store", ".syncthing.1.png.tmp", "deep/er/@eaDir/1.png",
        "~$labels.xlsx",
    ],
)  # fmt: skip
def test_litter_is_counted_and_is_no_scan(clinic, litter):
    """A copy that was deleted, for it stood under the wrong label, took the good one out with it."""
    path = clinic / "benign" / litter
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(clinic / "malignant" / "1.png", path)
    ids, message = heard(clinic)
    assert ids == WHOLE
    (sentence,) = message
    assert sentence.startswith("clinic: skipped 1 hidden or system file or folder: benign/")
    (finding,) = audit(read_folder(clinic))
    assert finding.conflicts == ()


def test_the_audit_says_what_was_passed_over(clinic, capsys):
    (clinic / "benign" / "._1.png").write_bytes(b"\0\5\26\7")
    (clinic / "malignant" / "notes.txt").write_text("left breast")
    assert main(["audit", "--data", f"folder={clinic}"]) == 0
    message = capsys.readouterr().out
    assert "clinic: skipped 1 hidden or system file or folder: benign/._1.png\n" in message
    assert "clinic: skipped 1 file that is not an image: malignant/notes.txt\n" in message
    assert "clinic: 2 benign, 2 malignant;" in message


@pytest.mark.parametrize("suffix", [".PNG", ".jfif", ".jpe", ".Jpeg", ".tiff", ".dib", ""])
def test_a_picture_of_any_suffix_that_can_be_read_is_a_scan(clinic, suffix):
    kind = {".png": "PNG", ".tiff": "TIFF", ".dib": "BMP", "": "PNG"}.get(suffix.lower(), "JPEG")
    Image.open(clinic / "benign" / "1.png").save(clinic / "benign" / f"3{suffix}", format=kind)
    assert heard(clinic) == ([*WHOLE[:2], f"benign/3{suffix}", *WHOLE[2:]], [])
    assert audit(read_folder(clinic))[0].unreadable == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [("3.webp", b"RIFF1234WEBP"), ("3.dcm", b"\0" * 128 + b"DICM"), ("IM3", b"\0" * 128 + b"DICM")],
)
def test_a_picture_that_cannot_be_read_is_named_and_not_lost(clinic, name, content):
    (clinic / "benign" / name).write_bytes(content)
    (finding,) = audit(read_folder(clinic))
    (sentence,) = finding.unreadable
    assert sentence.startswith(f"clinic/benign/{name}: ")


def test_what_is_no_picture_is_named(clinic):
    for name in ("report.pdf", "clip.mp4", "scan.png.bak", "README"):
        (clinic / "benign" / name).write_bytes(b"words")
    os.mkfifo(clinic / "benign" / "pipe.png")  # would be waited for
    ids, message = heard(clinic)
    assert ids == WHOLE
    assert message == [
        "clinic: skipped 5 files that are not images: benign/README, benign/clip.mp4, benign/pipe.png, benign/report.pdf, "
        "benign/scan.png.bak"
    ]
    assert not is_image_file(clinic / "benign" / "pipe.png")
    os.mkfifo(clinic / "pipe.csv")
    assert not is_table(clinic / "pipe.csv")
    (clinic / "t.csv").write_text("path,label\nbenign/pipe.png,benign\nmalignant/1.png,malignant\n")
    (finding,) = audit(read_folder(clinic / "t.csv"))
    assert "pipe.png is a named pipe" in finding.unreadable[0]


def test_a_name_that_is_no_text_can_still_be_said(clinic, capsys):
    (clinic / "benign" / os.fsdecode(b"M\xfcller\n.txt")).touch()
    (clinic / "benign" / os.fsdecode(b".\xfc")).touch()
    assert main(["audit", "--data", f"folder={clinic}"]) == 0
    message = capsys.readouterr().out
    assert r"clinic: skipped 1 file that is not an image: benign/M\udcfcller\n.txt" in message
    assert r"clinic: skipped 1 hidden or system file or folder: benign/.\udcfc" in message


def test_what_lies_beside_the_classes_is_named(clinic):
    (clinic / "cysts").mkdir()
    shutil.copy(clinic / "benign" / "1.png", clinic / "loose.png")
    assert heard(clinic) == (
        WHOLE,
        ["clinic: skipped what lies next to the folders benign and malignant: cysts, loose.png"],
    )


def test_a_folder_that_cannot_be_opened_is_an_error(clinic, monkeypatch):
    (clinic / "benign" / "locked").mkdir()
    scandir = os.scandir

    def refused(path="."):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)  # root may open everything
    with pytest.raises(
        DatasetError, match=r"benign/locked cannot be opened \(Permission denied\), so its images would be"
    ):
        read_folder(clinic)
    assert not is_busi(clinic)


def test_classes_are_known_however_they_are_written(clinic, tmp_path):
    (clinic / "benign").rename(clinic / "Benign")
    (clinic / "malignant").rename(clinic / "MALIGNANT ")
    ids, message = heard(clinic)
    assert (ids, message) == (["Benign/1.png", "Benign/2.png", "MALIGNANT /1.png", "MALIGNANT /2.png"], [])
    assert [sample.label for sample in read_folder(clinic)] == [0, 0, 1, 1]
    assert find_datasets(tmp_path) == [DatasetLocation("folder", "clinic")]
    (clinic / "benign").mkdir()
    with pytest.raises(DatasetError, match=r"has the folders Benign and benign. Put all benign images into one"):
        class_folders(clinic)


@pytest.mark.parametrize(
    ("moved", "asked", "sentence"),
    [
        ("download/clinic", "download", r"The folders benign and malignant are in .*download/clinic: give that place"),
        ("download/of/clinic", "download", r"are in .*download/of/clinic: give"),
        ("clinic", "clinic/benign", r"Give .*/clinic, which holds the folder benign"),
        ("clinic", "Clinc", r"Is clinic meant\?"),
    ],
)
def test_where_the_classes_are_instead_is_said(clinic, tmp_path, moved, asked, sentence):
    away = tmp_path / "away"
    clinic.rename(away)
    (tmp_path / moved).parent.mkdir(parents=True, exist_ok=True)
    away.rename(tmp_path / moved)
    with pytest.raises(DatasetError, match=sentence):
        read_folder(tmp_path / asked)


def test_folders_of_other_names_are_named(clinic):
    (clinic / "benign").rename(clinic / "bening")
    with pytest.raises(DatasetError, match=r"clinic/benign does not exist\. .* Is bening meant\? Rename it"):
        read_folder(clinic)
    (clinic / "bening").rename(clinic / "0")
    (clinic / "malignant").rename(clinic / "1")
    with pytest.raises(DatasetError, match="has the folders 0, 1"):
        read_folder(clinic)
    shutil.rmtree(clinic / "0")
    shutil.rmtree(clinic / "1")
    with pytest.raises(DatasetError, match=r"has no folders\. Put the images into folders benign and malignant"):
        read_folder(clinic)


def test_public_data_in_a_folder_of_its_own_is_found(busi, busbra, tmp_path):
    copied(busi, tmp_path / "zip" / "Dataset_BUSI_with_GT")
    with pytest.raises(DatasetError, match=r"are in .*zip/Dataset_BUSI_with_GT: give that place"):
        read_busi(tmp_path / "zip")
    copied(busbra, tmp_path / "other" / "BUSBRA")
    with pytest.raises(DatasetError, match=r"Is .*other/BUSBRA/5-fold-cv.csv meant\?"):
        read_busbra(tmp_path / "other")


@pytest.mark.parametrize("litter", ["._benign (1).png", "Thumbs.db", ".DS_Store", "__MACOSX/._benign (1).png"])
def test_busi_with_litter_is_busi(busi, tmp_path, litter):
    """One companion of a Mac made it somebody's own data, with the ten images that BUSI leaves out."""
    folder = copied(busi, tmp_path / "busi set")
    (folder / "benign" / litter).parent.mkdir(exist_ok=True)
    (folder / "benign" / litter).write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X        ")
    assert is_busi(folder)
    assert find_datasets(tmp_path) == [DatasetLocation("busi", "busi set")]
    assert heard(folder, "busi")[0] == [sample.id.partition("/")[2] for sample in read_busi(busi)]


def test_busi_read_on_another_system_is_the_same(busi, tmp_path):
    folder = copied(busi, tmp_path / "set")
    (folder / "benign").rename(folder / "Benign")
    for path in list((folder / "Benign").iterdir()):
        path.rename(path.with_suffix(".PNG"))
    samples = read_busi(folder)
    assert [(s.id, s.label, len(s.masks)) for s in samples] == [(s.id, s.label, len(s.masks)) for s in read_busi(busi)]
    assert is_busi(folder)


def test_no_file_of_somebodys_own_is_passed_over_as_busi(busi, tmp_path):
    """Images of other suffixes and in deeper folders were."""
    for number, name in enumerate(("benign (99).jpg", "more/benign (99).png")):
        folder = copied(busi, tmp_path / f"{number}")
        (folder / "benign" / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.arange(10000, dtype=np.uint8).reshape(100, 100)).save(folder / "benign" / name)
        assert not is_busi(folder)
        with pytest.raises(DatasetError, match=r"is not called benign \(NUMBER\).png"):
            read_busi(folder)


def test_what_a_mac_packed_beside_a_data_set_is_offered_nowhere(busi, tmp_path):
    copied(busi, tmp_path / "__MACOSX" / "set")
    copied(busi, tmp_path / "@eaDir" / "set")
    assert find_datasets(tmp_path) == []


def test_a_mask_of_two_images_is_refused(clinic):
    Image.open(clinic / "benign" / "1.png").save(clinic / "benign" / "1.jpg")
    shutil.copy(clinic / "benign" / "1.png", clinic / "benign" / "1_mask.png")
    with pytest.raises(DatasetError, match=r"benign/1_mask.png may be the mask of 1.jpg or 1.png"):
        read_folder(clinic)
