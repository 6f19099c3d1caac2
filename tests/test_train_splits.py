"""Near-duplicates and splits, on drawn data sets laid out like the real ones and on the real ones."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from rcdnet.errors import DatasetError
from train.data.bus_bra import read_busbra
from train.data.busi import read_busi
from train.data.custom_dataset import read_folder
from train.data.dataset_readers import read_sources
from train.data.duplicates import fingerprint, label_conflicts, near_duplicate_groups, near_duplicate_pairs
from train.data.load_images import decode, read_pixels
from train.data.phantoms import SAMPLE_PHANTOMS, random_lesion, render_phantom
from train.data.splits import Split, make_split
from train.presets import preset

KINDS = list(SAMPLE_PHANTOMS.values())


def split_of(samples, **settings) -> Split:
    decoded = decode(samples, 64)
    return make_split(preset("paper", init="random", **settings), decoded.samples, decoded.fingerprints)


def test_near_copies_share_a_group_and_other_scans_do_not():
    scans = [render_phantom(recipe, seed).image for recipe, seed in zip(KINDS, (10, 21, 32), strict=True)]
    copy = cv2.resize(scans[0], (300, 260))
    marked = scans[1].copy()
    marked[200:230, 300:303] = 255
    groups = near_duplicate_groups([fingerprint(scan) for scan in [*scans, copy, marked]])
    assert len(set(groups[:3])) == 3
    assert groups[0] == groups[3]
    assert groups[1] == groups[4]
    pairs = near_duplicate_pairs([fingerprint(copy)], [fingerprint(scan) for scan in scans])
    assert pairs.tolist() == [[0, 0]]


def test_conflicts():
    assert label_conflicts(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])).tolist() == [True, True, False, False]


def disguised(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A near-copy as data sets hold them: cropped or mirrored, resized, brighter, with a caliper."""
    cut = rng.choice([0.01, 0.02, 0.04, 0.06, 0.08])
    rows, columns = (round(side * cut) for side in image.shape)
    copy = image[rows : image.shape[0] - rows, columns : image.shape[1] - columns]
    if cut == 0.01 and rng.random() < 0.5:
        copy = image[:, ::-1]
    scale = rng.uniform(0.8, 1.2)
    copy = cv2.resize(copy, None, fx=scale, fy=scale)
    copy = np.clip(copy * rng.uniform(0.85, 1.15), 0, 255).astype(np.uint8)
    row, column = (int(rng.integers(20, side - 20)) for side in copy.shape)
    copy[row, column - 6 : column + 7] = copy[row - 6 : row + 7, column] = 255
    return copy


def leaks(split: Split, pairs: list[tuple[str, str]]) -> int:
    side = dict.fromkeys(split.train, "train") | dict.fromkeys(split.validation, "validation")
    return sum(side.get(a) != side.get(b) for a, b in pairs)


@pytest.mark.parametrize("real", [False, True], ids=["phantoms", "BUSI"])
def test_fifty_renamed_near_copies_never_cross_twenty_splits(real, request, tmp_path):
    """A near-copy under a new name is the leak of which most published BUSI figures suffer."""
    rng = np.random.default_rng(0)
    if real:
        data = request.getfixturevalue("data_folder") / "Dataset_BUSI_with_GT"
        originals = [s for s in read_busi(data) if s.label == 0][:60] + [s for s in read_busi(data) if s.label == 1][
            :60
        ]
        images = {s.path: (s.label, read_pixels(s)) for s in originals}
    else:
        images = {}
        for number in range(60):
            images[Path(f"{number}.png")] = (
                number % 2,
                render_phantom(random_lesion(number % 2, rng), seed=number).image,
            )
    chosen = rng.choice(len(images), 50, replace=False)
    pairs = []
    for number, (path, (label, image)) in enumerate(images.items()):
        folder = tmp_path / "set" / ("benign", "malignant")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{path.stem}.png")
        if number in chosen:
            Image.fromarray(disguised(image, rng)).save(folder / f"renamed {number}.png")
            pairs.append(tuple(f"set/{folder.name}/{name}.png" for name in (path.stem, f"renamed {number}")))
    decoded = decode(read_folder(tmp_path / "set"), 64)
    found = sum(
        leaks(make_split(preset("paper", init="random", seed=seed), decoded.samples, decoded.fingerprints), pairs)
        for seed in range(20)
    )
    assert len(pairs) == 50
    assert found == 0


def check_no_leak(split: Split, samples) -> None:
    by_id = {s.id: s for s in samples}
    sides = [set(split.train), set(split.validation), set(split.conflicts)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == len(samples)
    for part in (lambda i: by_id[i].patient or i, lambda i: split.groups[i]):
        assert not {part(i) for i in split.train} & {part(i) for i in split.validation}


def test_a_split_keeps_patients_and_copies_together_and_is_the_same_again(busi, busbra, tmp_path):
    folder = tmp_path / "busi"
    shutil.copytree(busi, folder)
    shutil.copy(folder / "benign" / "benign (2).png", folder / "benign" / "benign (13).png")
    shutil.copy(folder / "benign" / "benign (3).png", folder / "malignant" / "malignant (13).png")
    samples = read_sources([("busi", str(folder)), ("busbra", str(busbra))])
    split = split_of(samples, split="official", fold=4)
    check_no_leak(split, samples)
    assert set(split.conflicts) == {"busi/benign (3)", "busi/malignant (13)"}
    assert split.groups["busi/benign (2)"] == split.groups["busi/benign (13)"]
    folds = {s.id: s.fold for s in samples}
    assert {folds[i] for i in split.validation} == {4, None}
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json") == split
    assert split_of(samples, split="official", fold=4).digest == split.digest


def test_the_kinds_of_split(busi, busbra):
    samples = read_sources([("busi", str(busi)), ("busbra", str(busbra))])
    seven_three = split_of(samples)
    assert len(seven_three.validation) / len(samples) == pytest.approx(0.3, abs=0.06)
    assert split_of(samples, seed=1).digest != seven_three.digest
    parts = [set(split_of(samples, split="k-fold", fold=k, folds=4).validation) for k in range(1, 5)]
    assert set.union(*parts) == {s.id for s in samples}
    assert sum(map(len, parts)) == len(samples)
    everything = split_of(samples, split="all")
    assert (len(everything.train), everything.validation) == (len(samples), ())


def test_splits_that_cannot_be_made_are_refused(busi, busbra):
    with pytest.raises(DatasetError, match="No source has official folds"):
        split_of(read_busi(busi), split="official")
    with pytest.raises(DatasetError, match="No benign image would be on the training side"):
        split_of([s for s in read_busbra(busbra) if s.label == 1 or s.fold == 4], split="official", fold=4)
    with pytest.raises(DatasetError, match="at least 20 are needed"):
        split_of(read_busi(busi), split="k-fold", folds=20)
    with pytest.raises(DatasetError, match="holds no valid split"):
        Split.read(ROOT / "LICENSE")


def test_the_real_data_split(data_folder):
    samples = read_sources(
        [("busbra", str(data_folder / "BUSBRA")), ("busi", str(data_folder / "Dataset_BUSI_with_GT"))]
    )
    assert len(samples) == 1492 + 518 + 115
    split = split_of(samples, split="official", fold=4)
    check_no_leak(split, samples)
    for left, right in (("214", "260"), ("253", "213"), ("154", "21"), ("214", "281")):  # one frame, cropped anew
        assert split.groups[f"busi/benign ({left})"] == split.groups[f"busi/benign ({right})"]
    for other in ("39", "42"):
        assert split.groups["busi/malignant (40)"] == split.groups[f"busi/malignant ({other})"]
    patients = {s.patient: split.groups[s.id] for s in samples if s.patient}
    assert len(set(patients.values())) == len(patients)  # no two patients of BUS-BRA are taken for one
    fold_4 = {s.id for s in samples if s.fold == 4}
    assert fold_4 <= set(split.validation)
