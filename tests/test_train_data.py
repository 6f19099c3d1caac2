"""Sources, near-duplicates and splits, on drawn data sets laid out like the real ones, and on the real ones."""

import csv
import dataclasses
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from rcdnet.errors import DatasetError
from train.audit import label_conflicts, near_duplicate_groups
from train.phantoms import RECIPES, draw, write_samples
from train.sources import read_busbra, read_busi, read_canvases, read_sources
from train.splits import Split, make_split

KINDS = list(RECIPES.values())


def write_busi(folder: Path, count: int) -> Path:
    """`count` benign and malignant phantoms in BUSI's layout; image 1 of each has two masks."""
    for label, (name, recipe) in enumerate((("benign", KINDS[0]), ("malignant", KINDS[2]))):
        (folder / name).mkdir(parents=True)
        for number in range(1, count + 1):
            phantom = draw(recipe, seed=100 * label + number)
            Image.fromarray(phantom.image).save(folder / name / f"{name} ({number}).png")
            mask = phantom.mask.astype(np.uint8) * 255
            if number == 1:
                left, right = mask.copy(), mask.copy()
                left[:, 260:] = 0
                right[:, :260] = 0
                Image.fromarray(right).save(folder / name / f"{name} (1)_mask_1.png")
                mask = left
            Image.fromarray(mask).save(folder / name / f"{name} ({number})_mask.png")
    return folder


def write_busbra(folder: Path, patients: int) -> Path:
    """Two views of each patient in BUS-BRA's layout, folds 3 and 4 in turn."""
    (folder / "Images").mkdir(parents=True)
    (folder / "Masks").mkdir()
    rows, folds = [], []
    for case in range(1, patients + 1):
        malignant = case % 2 == 0
        for side in "lr":
            name = f"bus_{case:04d}-{side}"
            phantom = draw(KINDS[2] if malignant else KINDS[1], seed=1000 + 2 * case + (side == "r"))
            Image.fromarray(phantom.image).save(folder / "Images" / f"{name}.png")
            mask = phantom.mask.astype(np.uint8) * 255
            Image.fromarray(mask).save(folder / "Masks" / f"{name.replace('bus', 'mask')}.png")
            rows.append({"ID": name, "Case": case, "Pathology": "malignant" if malignant else "benign"})
            folds.append({"ID": name, "kFold": 3 + (case // 2) % 2})
    for path, content in ((folder / "bus_data.csv", rows), (folder / "5-fold-cv.csv", folds)):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, content[0].keys())
            writer.writeheader()
            writer.writerows(content)
    return folder


def test_busi_labels_masks_and_exclusion(tmp_path):
    samples = read_busi(write_busi(tmp_path / "busi", 12))
    assert Counter(s.label for s in samples) == {0: 12, 1: 11}  # malignant (11) is left out
    first = next(s for s in samples if s.id == "busi/benign (1)")
    assert len(first.masks) == 2
    _, lesions = read_canvases([first], 128)
    whole = draw(KINDS[0], seed=1).mask
    assert lesions.mean() == pytest.approx(whole.mean() * 440 / 520, rel=0.05)  # the union of both masks, letterboxed


def test_busbra_patient_fold_and_mask(tmp_path):
    samples = read_busbra(write_busbra(tmp_path / "busbra", 4))
    assert [(s.id, s.patient, s.label, s.fold) for s in samples[:3]] == [
        ("busbra/bus_0001-l", "busbra/1", 0, 3),
        ("busbra/bus_0001-r", "busbra/1", 0, 3),
        ("busbra/bus_0002-l", "busbra/2", 1, 4),
    ]
    canvases, lesions = read_canvases(samples[:2], 128)
    assert canvases.shape == lesions.shape == (2, 128, 128)
    assert set(np.unique(lesions)) == {0, 1}


def test_missing_and_mismatched_data_are_named(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        read_busi(tmp_path)
    with pytest.raises(DatasetError, match="no reader for 'other'"):
        read_sources({"other": tmp_path})
    folder = write_busbra(tmp_path / "busbra", 1)
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(folder / "Masks" / "mask_0001-l.png")
    with pytest.raises(DatasetError, match=r"mask_0001-l\.png has 10 × 10 pixels"):
        read_canvases(read_busbra(folder), 128)


def test_near_copies_share_a_group_and_other_scans_do_not():
    scans = [draw(recipe, seed).image for recipe, seed in zip(KINDS, (10, 21, 32), strict=True)]
    copy = cv2.resize(scans[0], (300, 260))
    marked = scans[1].copy()
    marked[200:230, 300:303] = 255
    groups = near_duplicate_groups([*scans, copy, marked])
    assert len(set(groups[:3])) == 3
    assert groups[0] == groups[3]
    assert groups[1] == groups[4]


def test_conflicts():
    assert label_conflicts(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])).tolist() == [True, True, False, False]


def check_no_leak(split: Split, samples) -> None:
    by_id = {s.id: s for s in samples}
    sides = [set(split.train), set(split.validation), set(split.conflicts)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == len(samples)
    for part in (lambda i: by_id[i].patient or i, lambda i: split.groups[i]):
        assert not {part(i) for i in split.train} & {part(i) for i in split.validation}


def test_a_split_keeps_patients_and_copies_together_and_is_the_same_again(tmp_path):
    busi = write_busi(tmp_path / "busi", 12)
    (busi / "benign" / "benign (13).png").write_bytes((busi / "benign" / "benign (2).png").read_bytes())
    (busi / "malignant" / "malignant (13).png").write_bytes((busi / "benign" / "benign (3).png").read_bytes())
    samples = read_sources({"busi": busi, "busbra": write_busbra(tmp_path / "busbra", 8)})
    split = make_split(samples, fold=4)
    check_no_leak(split, samples)
    assert set(split.conflicts) == {"busi/benign (3)", "busi/malignant (13)"}
    assert split.groups["busi/benign (2)"] == split.groups["busi/benign (13)"]
    folds = {s.id: s.fold for s in samples}
    assert {folds[i] for i in split.validation} == {4, None}
    assert Split.from_json(split.to_json()) == split
    assert make_split(samples, fold=4).digest == split.digest


def test_the_real_data_split(data_folder):
    samples = read_sources({"busbra": data_folder / "BUSBRA", "busi": data_folder / "Dataset_BUSI_with_GT"})
    assert len(samples) == 1492 + 525
    split = make_split(samples, fold=4)
    check_no_leak(split, samples)
    for left, right in (("214", "260"), ("253", "213"), ("154", "21"), ("214", "281")):  # one frame, cropped anew
        assert split.groups[f"busi/benign ({left})"] == split.groups[f"busi/benign ({right})"]
    for other in ("39", "42"):
        assert split.groups["busi/malignant (40)"] == split.groups[f"busi/malignant ({other})"]
    patients = {s.patient: split.groups[s.id] for s in samples if s.patient}
    assert len(set(patients.values())) == len(patients)  # no two patients of BUS-BRA are taken for one
    fold_4 = {s.id for s in samples if s.fold == 4}
    assert fold_4 <= set(split.validation)


def test_phantoms_are_the_shipped_samples(tmp_path):
    write_samples(tmp_path)
    shipped = Path(__file__).parent.parent / "assets" / "samples"
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in shipped.iterdir()}
    for path in tmp_path.iterdir():
        drawn, kept = (np.asarray(Image.open(folder / path.name)).astype(int) for folder in (tmp_path, shipped))
        # Libraries may round a pixel differently; a phantom is still the same picture.
        assert np.abs(drawn - kept).mean() < 1


def test_a_phantom_is_darker_inside_its_lesion():
    for recipe in KINDS:
        phantom = draw(recipe, seed=7)
        assert phantom.image[phantom.mask].mean() < phantom.image[~phantom.mask].mean() - 40
        assert dataclasses.replace(recipe).label == phantom.label
