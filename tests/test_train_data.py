"""Sources, decoding, marks, audit and phantoms, on drawn data sets laid out like the real ones."""

import csv
import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rcdnet.errors import DatasetError
from train.data.audit import audit
from train.data.burned_in_marks import find_burned_in_marks
from train.data.bus_bra import read_busbra
from train.data.busi import read_busi
from train.data.custom_dataset import read_folder
from train.data.dataset_readers import read_sources
from train.data.load_images import decode, read_lesion
from train.data.phantoms import SAMPLE_PHANTOMS, random_lesion, render_phantom, write_samples

KINDS = list(SAMPLE_PHANTOMS.values())


def test_busi_labels_masks_and_exclusion(busi):
    samples = read_busi(busi)
    assert Counter(s.label for s in samples) == {0: 11, 1: 11}  # benign (6) and malignant (11) are left out
    assert {s.id for s in samples}.isdisjoint({"busi/malignant (11)", "busi/benign (6)"})
    assert all(len(s.masks) == 1 for s in samples)


def test_a_lesion_is_the_union_of_its_masks(busi, tmp_path):
    folder = tmp_path / "busi"
    shutil.copytree(busi, folder)
    path = folder / "benign" / "benign (1)_mask.png"
    whole = np.asarray(Image.open(path))
    left, right = whole.copy(), whole.copy()
    left[:, 260:] = 0
    right[:, :260] = 0
    Image.fromarray(left).save(path)
    Image.fromarray(right).save(folder / "benign" / "benign (1)_mask_1.png")
    sample = next(s for s in read_busi(folder) if s.id == "busi/benign (1)")
    np.testing.assert_array_equal(read_lesion(sample, whole.shape), whole > 127)
    decoded = decode([sample], 128)
    assert decoded.lesions.mean() == pytest.approx((whole > 127).mean() * 440 / 520, rel=0.05)  # letterboxed


def test_busbra_brings_all_that_its_table_knows(busbra):
    samples = read_busbra(busbra)
    first = samples[0]
    assert (first.id, first.patient, first.label, first.fold) == ("busbra/bus_0001-l", "busbra/1", 1, 3)
    assert (first.birads, first.device) == (4, "scanner 1")
    lesion = read_lesion(first, (440, 520))
    x, y, width, height = first.box
    assert lesion.any(axis=0).sum() == width
    assert lesion[y : y + height, x : x + width].sum() == lesion.sum()
    decoded = decode(samples[:2], 128)
    assert decoded.canvases.shape == decoded.lesions.shape == (2, 128, 128)
    assert set(np.unique(decoded.lesions)) == {0, 1}
    assert decoded.masked.all()


def test_without_its_mask_a_lesion_is_the_ellipse_in_its_box(busbra, tmp_path):
    folder = tmp_path / "busbra"
    shutil.copytree(busbra, folder)
    (folder / "Masks" / "mask_0002-l.png").unlink()
    with_mask, without = (next(s for s in read_busbra(f) if s.id == "busbra/bus_0002-l") for f in (busbra, folder))
    assert without.masks == ()
    mask, ellipse = (read_lesion(s, (440, 520)) for s in (with_mask, without))
    assert 2 * (mask & ellipse).sum() / (mask.sum() + ellipse.sum()) > 0.9
    decoded = decode([without, dataclasses.replace(without, box=None, birads=None)], 64)
    assert decoded.masked.tolist() == [True, False]
    assert decoded.suspicion[0] == pytest.approx(1 / 3)
    assert np.isnan(decoded.suspicion[1])


def test_a_folder_of_classes_and_a_table(busi, tmp_path):
    classes = tmp_path / "clinic"
    for name in ("benign", "malignant"):
        (classes / name / "deeper").mkdir(parents=True)
        shutil.copy(busi / name / f"{name} (2).png", classes / name / "deeper" / "a.png")
    samples = read_folder(classes)
    assert [(s.id, s.label, s.masks) for s in samples] == [
        ("clinic/benign/deeper/a.png", 0, ()), ("clinic/malignant/deeper/a.png", 1, ()),
    ]  # fmt: skip
    table = tmp_path / "mine.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [["path", "label", "patient", "mask"], ["clinic/benign/deeper/a.png", "Benign", "p1", ""],
             ["clinic/malignant/deeper/a.png", "malignant", "p2", str(busi / "malignant" / "malignant (2)_mask.png")]]
        )  # fmt: skip
    rows = read_folder(table)
    assert [(s.source, s.label, s.patient, len(s.masks)) for s in rows] == [
        ("mine", 0, "mine/p1", 0),
        ("mine", 1, "mine/p2", 1),
    ]
    decoded = decode(rows, 96)
    assert decoded.masked.tolist() == [False, True]
    assert decoded.lesions[0].max() == 0 < decoded.lesions[1].max()


def test_missing_and_wrong_data_are_named(tmp_path, busi):
    with pytest.raises(DatasetError, match="does not exist"):
        read_busi(tmp_path)
    with pytest.raises(DatasetError, match="no reader for 'other'"):
        read_sources([("other", str(tmp_path))])
    with pytest.raises(DatasetError, match="No data was named"):
        read_sources([])
    with pytest.raises(DatasetError, match="Two sources are named busi"):
        read_sources([("busi", str(busi)), ("busi", str(busi))])
    # Its images would be taken for public ones
    with pytest.raises(DatasetError, match="cannot be called busi: that name is kept for BUSI"):
        read_folder(tmp_path / "busi")
    for name in ("benign", "malignant"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no labelled image"):
        read_sources([("folder", str(tmp_path / "empty"))])
    table = tmp_path / "t.csv"
    table.write_text("path,class\n")
    with pytest.raises(DatasetError, match="has no column label"):
        read_folder(table)
    table.write_text("path,label\na.png,cancer\n")
    with pytest.raises(DatasetError, match="labelled 'cancer'; expected benign, malignant or normal"):
        read_folder(table)


def test_a_broken_file_stops_or_is_skipped_and_never_becomes_an_image(busi, tmp_path):
    folder = tmp_path / "busi"
    shutil.copytree(busi, folder)
    (folder / "benign" / "benign (2).png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(folder / "malignant" / "malignant (3)_mask.png")
    samples = read_busi(folder)
    with pytest.raises(DatasetError, match=r"busi/benign \(2\)"):
        decode(samples, 64)
    decoded = decode(samples, 64, skip_broken=True)
    assert len(decoded.samples) == len(decoded.canvases) == len(decoded.fingerprints) == len(samples) - 2
    assert len(decoded.skipped) == 2
    assert "10 × 10 pixels" in decoded.skipped[1]
    assert "busi/benign (2)" not in {s.id for s in decoded.samples}
    order = {s.id: row for row, s in enumerate(decoded.samples)}
    alone = decode([s for s in samples if s.id == "busi/malignant (12)"], 64)
    np.testing.assert_array_equal(decoded.canvases[order["busi/malignant (12)"]], alone.canvases[0])


def test_text_and_calipers_are_found_and_tissue_is_not():
    plain = render_phantom(SAMPLE_PHANTOMS["phantom-oval-mass"], seed=4).image[:400]
    assert not find_burned_in_marks(plain)
    texted = plain.copy()
    cv2.putText(texted, "LEFT BREAST", (40, 350), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1)
    assert dataclasses.astuple(find_burned_in_marks(cv2.GaussianBlur(texted, (0, 0), 0.4))) == (True, False)
    crossed = cv2.GaussianBlur(plain, (0, 0), 2) // 2
    crossed[200, 100:113] = crossed[194:207, 106] = 230
    assert dataclasses.astuple(find_burned_in_marks(crossed)) == (False, True)


def test_the_audit_counts_what_is_wrong(busi, tmp_path):
    folder = tmp_path / "busi"
    shutil.copytree(busi, folder)
    shutil.copy(folder / "benign" / "benign (2).png", folder / "benign" / "benign (13).png")
    shutil.copy(folder / "benign" / "benign (3).png", folder / "malignant" / "malignant (13).png")
    (folder / "benign" / "benign (4).png").write_bytes(b"no picture")
    (finding,) = audit(read_busi(folder))
    assert (finding.benign, finding.malignant, finding.masks) == (11, 12, 21)  # the copies came without masks
    assert sorted(finding.copies) == [
        ("busi/benign (13)", "busi/benign (2)"), ("busi/benign (3)", "busi/malignant (13)"),
    ]  # fmt: skip
    assert finding.conflicts == (("busi/benign (3)", "busi/malignant (13)"),)
    assert len(finding.unreadable) == 1
    assert finding.sizes == ((440, 520),) * 3
    assert len(finding.text) >= 20  # every phantom says SYNTHETIC


def test_phantoms_are_the_shipped_samples(tmp_path):
    write_samples(tmp_path)
    shipped = Path(__file__).parent.parent / "assets" / "samples"
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in shipped.iterdir()}
    for path in tmp_path.iterdir():
        drawn, kept = (np.asarray(Image.open(folder / path.name)).astype(int) for folder in (tmp_path, shipped))
        # Libraries may round a pixel differently; a phantom is still the same picture.
        assert np.abs(drawn - kept).mean() < 1


def test_phantoms_of_both_labels_look_as_they_should():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        benign, malignant = (render_phantom(random_lesion(label, rng), seed) for label in (0, 1))
        for phantom in (benign, malignant):
            assert phantom.image[phantom.mask].mean() < phantom.image[~phantom.mask].mean() - 25
        width, height = (np.any(benign.mask, axis=axis).sum() for axis in (0, 1))
        assert width > height
        outlines = [cv2.findContours(p.mask.astype(np.uint8), 0, 1)[0][0] for p in (benign, malignant)]
        solid = [cv2.contourArea(o) / cv2.contourArea(cv2.convexHull(o)) for o in outlines]
        assert solid[0] > 0.95 > solid[1]
