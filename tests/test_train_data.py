"""Sources, decoding, marks, near-duplicates, audit and splits, on drawn data sets laid out like the real ones and on the real ones."""

import csv
import dataclasses
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from rcdnet.errors import DatasetError
from train.audit import audit
from train.config import preset
from train.decode import decode, read_lesion, read_pixels
from train.duplicates import fingerprint, label_conflicts, near_duplicate_groups, near_duplicate_pairs
from train.marks import find_marks
from train.phantoms import RECIPES, draw, random_recipe, write_samples
from train.sources import read_busbra, read_busi, read_folder, read_sources
from train.splits import Split, make_split

KINDS = list(RECIPES.values())


def split_of(samples, **settings) -> Split:
    decoded = decode(samples, 64)
    return make_split(preset("paper", init="random", **settings), decoded.samples, decoded.fingerprints)


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
        read_sources([("busi", str(busi)), ("folder", str(busi))])
    for name in ("benign", "malignant"):
        (tmp_path / "empty" / name).mkdir(parents=True)
    with pytest.raises(DatasetError, match="holds no labelled image"):
        read_sources([("folder", str(tmp_path / "empty"))])
    table = tmp_path / "t.csv"
    table.write_text("path,class\n")
    with pytest.raises(DatasetError, match="has no column label"):
        read_folder(table)
    table.write_text("path,label\na.png,cancer\n")
    with pytest.raises(DatasetError, match="labelled 'cancer'; expected benign or malignant"):
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
    plain = draw(RECIPES["phantom-oval-mass"], seed=4).image[:400]
    assert not find_marks(plain)
    texted = plain.copy()
    cv2.putText(texted, "LEFT BREAST", (40, 350), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1)
    assert dataclasses.astuple(find_marks(cv2.GaussianBlur(texted, (0, 0), 0.4))) == (True, False)
    crossed = cv2.GaussianBlur(plain, (0, 0), 2) // 2
    crossed[200, 100:113] = crossed[194:207, 106] = 230
    assert dataclasses.astuple(find_marks(crossed)) == (False, True)


def test_near_copies_share_a_group_and_other_scans_do_not():
    scans = [draw(recipe, seed).image for recipe, seed in zip(KINDS, (10, 21, 32), strict=True)]
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
            images[Path(f"{number}.png")] = (number % 2, draw(random_recipe(number % 2, rng), seed=number).image)
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
    with pytest.raises(DatasetError, match="holds no split"):
        Split.read(ROOT / "LICENSE")


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


def test_the_real_data_split(data_folder):
    samples = read_sources(
        [("busbra", str(data_folder / "BUSBRA")), ("busi", str(data_folder / "Dataset_BUSI_with_GT"))]
    )
    assert len(samples) == 1492 + 518
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
        benign, malignant = (draw(random_recipe(label, rng), seed) for label in (0, 1))
        for phantom in (benign, malignant):
            assert phantom.image[phantom.mask].mean() < phantom.image[~phantom.mask].mean() - 25
        width, height = (np.any(benign.mask, axis=axis).sum() for axis in (0, 1))
        assert width > height
        outlines = [cv2.findContours(p.mask.astype(np.uint8), 0, 1)[0][0] for p in (benign, malignant)]
        solid = [cv2.contourArea(o) / cv2.contourArea(cv2.convexHull(o)) for o in outlines]
        assert solid[0] > 0.95 > solid[1]
