"""Scans without a lesion: a sample of their own kind, never a benign one, from BUSI, BrEaST and folders of one's own."""

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from conftest import TINY
from PIL import Image

from rcdnet.errors import DatasetError
from train.__main__ import main
from train.config import TrainConfig
from train.data.audit import audit, report_lines, summary
from train.data.breast_lesions_usg import IMAGES, read_breast
from train.data.busi import is_busi, read_busi
from train.data.custom_dataset import read_folder
from train.data.dataset_readers import read_sources
from train.data.labels import NO_LESION
from train.data.load_images import decode
from train.data.sample import Sample
from train.data.scan_warnings import summarise_warnings
from train.data.splits import Split, make_split
from train.evaluate.lesion_box_classifier import fit_box_coefficients
from train.evaluate.predictions import read_predictions
from train.runs.data_locations import DatasetLocation, find_datasets

TABLE = "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx"
COLUMNS = ("CaseID", "Image_filename", "Mask_tumor_filename", "Mask_other_filename", "BIRADS", "Classification")


def add_normals(folder: Path, busi: Path, count: int) -> None:
    """The upper part of benign phantoms, above their lesion's place, with the empty masks that BUSI has."""
    (folder / "normal").mkdir()
    for number in range(1, count + 1):
        with Image.open(busi / "benign" / f"benign ({number}).png") as image:
            strip = image.crop((0, 0, image.width, 70)).resize(image.size)
        strip.save(folder / "normal" / f"normal ({number}).png")
        Image.new("L", strip.size).save(folder / "normal" / f"normal ({number})_mask.png")


@pytest.fixture
def with_normals(busi, tmp_path) -> Path:
    """BUSI's layout with six scans of normal breasts."""
    shutil.copytree(busi, tmp_path / "BUSI", ignore=shutil.ignore_patterns("mine.csv"))
    add_normals(tmp_path / "BUSI", busi, 6)
    return tmp_path / "BUSI"


@pytest.fixture
def breast(busi, tmp_path) -> Path:
    """BrEaST's layout: three lesions, one of them with a mask of something else, and a normal breast."""
    place = tmp_path / "BrEaST"
    (place / IMAGES).mkdir(parents=True)
    book = openpyxl.Workbook()
    book.active.append(COLUMNS)
    rows = (("benign", "4a"), ("malignant", 5), ("malignant", "4c"), ("normal", 1))
    for case, (name, category) in enumerate(rows, 1):
        shown = "benign" if name == "normal" else name
        shutil.copy(busi / shown / f"{shown} ({case}).png", place / IMAGES / f"case{case:03d}.png")
        mask = f"case{case:03d}_tumor.png" if name != "normal" else None
        if mask:
            shutil.copy(busi / shown / f"{shown} ({case})_mask.png", place / IMAGES / mask)
        book.active.append(
            (case, f"case{case:03d}.png", mask, "case001_other1.png" if case == 1 else None, category, name)
        )
    book.save(place / TABLE)
    return place


def test_busis_normal_breasts_are_samples_without_a_lesion(with_normals, busi):
    samples = read_busi(with_normals)
    normal = [s for s in samples if s.label == NO_LESION]
    assert [s.id for s in normal] == [f"busi/normal ({number})" for number in range(1, 7)]
    assert [s for s in samples if s.label != NO_LESION] == [
        replace(
            s,
            path=with_normals / s.path.relative_to(busi),
            masks=tuple(with_normals / m.relative_to(busi) for m in s.masks),
        )
        for s in read_busi(busi)
    ]
    assert is_busi(with_normals)
    assert [(p.source, p.path) for p in find_datasets(with_normals.parent)] == [("busi", "BUSI")]
    decoded = decode(normal, 64)
    assert decoded.masked.all()  # it is known that there is none
    assert not decoded.lesions.any()


def test_a_normal_breast_with_an_outlined_lesion_is_refused(with_normals):
    mask = with_normals / "normal" / "normal (2)_mask.png"
    outlined = np.zeros(np.array(Image.open(mask)).shape, np.uint8)
    outlined[30:60, 40:90] = 255
    Image.fromarray(outlined).save(mask)
    with pytest.raises(DatasetError, match=r"busi/normal \(2\) is labelled normal, but its mask outlines a lesion"):
        decode(read_busi(with_normals), 64)


def test_ones_own_normal_breasts_are_read_from_a_folder_and_from_a_table(with_normals, tmp_path):
    clinic = tmp_path / "clinic"
    shutil.copytree(with_normals, clinic)
    (clinic / "normal").rename(clinic / "Normal")
    heard: list[str] = []
    samples = read_folder(clinic, heard.append)
    assert heard == []
    assert sum(s.label == NO_LESION for s in samples) == 6
    table = tmp_path / "table.csv"
    table.write_text("path,label\nclinic/benign/benign (1).png,benign\nclinic/Normal/normal (1).png, Normal\n")
    assert [s.label for s in read_folder(table)] == [0, NO_LESION]


def test_the_audit_counts_them_apart(with_normals):
    (finding,) = audit(read_busi(with_normals))
    assert (finding.benign, finding.malignant, finding.normal, finding.masks) == (11, 11, 6, 22)
    assert (
        report_lines(finding)[0] == "busi: 11 benign, 11 malignant, 6 without a lesion; 0 patients known; 22 with masks"
    )
    assert summary(finding).startswith(
        "busi: 11 benign and 11 malignant images and 6 without a lesion, patients unknown"
    )


def test_they_change_no_lesions_place_in_a_split_and_are_divided_themselves(with_normals):
    samples = read_busi(with_normals)
    lesions = [s for s in samples if s.label != NO_LESION]
    config = TrainConfig(data=(("busi", "x"),), split="k-fold", folds=3)
    without, split = (make_split(config, part, None) for part in (lesions, samples))
    ids = {s.id for s in lesions}
    assert set(without.validation) == ids & set(split.validation)
    assert len({i for i in split.validation if i not in ids}) == 2


def test_they_are_no_benign_lesions_for_the_reference_by_boxes(with_normals):
    samples = read_busi(with_normals)
    assert fit_box_coefficients(samples) == fit_box_coefficients([s for s in samples if s.label != NO_LESION])


def test_a_run_learns_from_them_and_its_figures_are_of_lesions(with_normals, tmp_path):
    run = tmp_path / "run"
    split = ["--split", "k-fold", "--folds", "3", "--epochs", "1"]
    assert main(["fit", *TINY, *split, "--data", f"busi={with_normals}", "--out", str(run)]) == 0
    sides = Split.read(run / "split.json")
    assert sum("normal" in i for i in sides.train) == 4
    rows = read_predictions(run / "predictions.csv")
    assert {row.id for row in rows} == {i for i in sides.validation if "normal" not in i}
    # Nor are those of a test elsewhere.
    other = tmp_path / "other"
    shutil.copytree(with_normals, other)
    for path in other.rglob("*.png"):  # other pixels than those that the run knows
        Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)
    assert main(["evaluate", str(run), "--data", f"folder={other}"]) == 0
    (place,) = (run / "external").iterdir()
    assert {row.label for row in read_predictions(place / "predictions.csv")} == {0, 1}


def test_breast_is_read_as_published(breast):
    samples = read_breast(breast)
    assert [(s.id, s.label, s.patient, len(s.masks), s.birads) for s in samples] == [
        ("breast/case001", 0, "breast/1", 1, 4), ("breast/case002", 1, "breast/2", 1, 5),
        ("breast/case003", 1, "breast/3", 1, 4), ("breast/case004", NO_LESION, "breast/4", 0, None),
    ]  # fmt: skip
    assert decode(samples, 64).masked.all()
    assert find_datasets(breast.parent) == [DatasetLocation("breast", "BrEaST")]
    assert DatasetLocation("breast", "BrEaST").title == "BrEaST (BrEaST)"


def test_what_is_no_breast_says_what_was_expected(breast, tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere does not exist\. Expected BrEaST as it was downloaded"):
        read_breast(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="next to the folder BrEaST-Lesions_USG-images_and_masks"):
        read_breast(tmp_path)
    (breast / TABLE).write_bytes(b"CaseID,Image_filename")
    with pytest.raises(DatasetError, match=r"\.xlsx cannot be read .* Expected the table as it was downloaded"):
        read_breast(breast)
    book = openpyxl.Workbook()
    book.active.append(COLUMNS[:-1])
    book.save(breast / TABLE)
    with pytest.raises(DatasetError, match="has no column Classification"):
        read_breast(breast)
    book.active.cell(1, 6, "Classification")
    book.active.append((7, None, None, None, 3, "benign"))
    book.save(breast / TABLE)
    with pytest.raises(DatasetError, match=r"Case 7 of .* has no image or no class"):
        read_breast(breast)


def test_a_workbook_that_is_none_is_a_sentence(breast, monkeypatch):
    table = breast / TABLE
    whole = table.read_bytes()
    monkeypatch.setattr("train.data.breast_lesions_usg.LIMIT", len(whole) + 1)  # which it unpacks to more than
    with pytest.raises(DatasetError, match=r"cannot be read \(it unpacks to more than"):
        read_breast(breast)
    monkeypatch.undo()
    parts = {}
    with zipfile.ZipFile(table) as book:
        parts = {name: book.read(name) for name in book.namelist()}
    for name in ("xl/workbook.xml", "xl/worksheets/sheet1.xml", "[Content_Types].xml"):
        with zipfile.ZipFile(table, "w") as book:
            for other, content in parts.items():
                book.writestr(other, content[: len(content) // 2] if other == name else content)
        with pytest.raises(DatasetError, match="Expected the table as it was downloaded"):
            read_breast(breast)
    table.unlink()
    table.mkdir()
    with pytest.raises(DatasetError, match="cannot be read"):
        read_breast(breast)


def test_what_is_warned_of_scans_without_a_lesion_is_counted_as_that():
    samples = [Sample(f"x/{k}", "x", Path(f"{k}.png"), label) for k, label in enumerate((0, 1, NO_LESION, NO_LESION))]
    (message,) = summarise_warnings(samples, [(), (), ("The colours were dropped.",), ()])
    assert (
        message
        == "x: 1 of 4 images (0 of 1 benign, 0 of 1 malignant, 1 of 2 normal), x/2 first: The colours were dropped."
    )


def test_a_test_on_normal_breasts_alone_has_no_call_to_measure(run, with_normals, tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("path,label\nBUSI/normal/normal (1).png,normal\n")
    assert main(["evaluate", str(run), "--data", f"folder={table}"]) == 1
    assert "None of these scans is labelled as having a lesion" in capsys.readouterr().err


def test_the_real_sets_hold_what_their_readme_says(data_folder):
    breast = read_sources([("breast", str(data_folder / "BrEaST"))])
    counts = [sum(s.label == label for s in breast) for label in (0, 1, NO_LESION)]
    assert counts == [154, 98, 4]
    assert len({s.patient for s in breast}) == 256
    assert [s.birads for s in breast].count(4) == 44 + 46 + 49
    normal = [s for s in read_busi(data_folder / "Dataset_BUSI_with_GT") if s.label == NO_LESION]
    assert len(normal) == 115
    assert decode(normal[:20], 64).masked.all()
