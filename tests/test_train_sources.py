"""Images of one's own: what is taken for an image, for its mask, for BUSI, and what is refused."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rcdnet.errors import DatasetError
from rcdnet.registry import CLASSES
from train.config import TrainConfig
from train.data.decode import decode, read_lesion
from train.data.duplicates import fingerprint
from train.data.sources import Sample, is_busi, read_busi, read_folder, read_sources
from train.data.splits import make_split
from train.runs.places import Place, places


@pytest.fixture
def clinic(busi, tmp_path) -> Path:
    """A clinic's own scans in class folders, two of each class, with a mask beside each."""
    for label in CLASSES:
        (tmp_path / "clinic" / label).mkdir(parents=True)
        for number in (1, 2):
            for suffix in ("", "_mask"):
                source = busi / label / f"{label} ({number}){suffix}.png"
                shutil.copy(source, tmp_path / "clinic" / label / f"scan {number}{suffix}.png")
    return tmp_path / "clinic"


def test_masks_beside_their_images_are_masks_and_never_images(clinic):
    shutil.copy(clinic / "benign" / "scan 1_mask.png", clinic / "benign" / "scan 1_mask_1.png")
    samples = read_folder(clinic)
    assert [(s.id, len(s.masks)) for s in samples] == [
        ("clinic/benign/scan 1.png", 2), ("clinic/benign/scan 2.png", 1),
        ("clinic/malignant/scan 1.png", 1), ("clinic/malignant/scan 2.png", 1),
    ]  # fmt: skip
    assert decode(samples, 64).masked.all()


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("masks/scan 1.png", "lies in a folder of masks. Put each mask beside its image"),
        ("Masks/deep/a.png", "lies in a folder of masks"),
        ("scan 9_mask.png", "the mask of an image called scan 9, but no such image is beside it"),
        ("scan 1_tumor_mask.png", "the mask of an image called scan 1_tumor, but no such image"),
        ("scan-mask.png", "the mask of an image called scan, but"),
    ],
)
def test_a_mask_without_its_image_is_refused(clinic, place, sentence):
    (clinic / "benign" / place).parent.mkdir(parents=True, exist_ok=True)
    (clinic / "benign" / "scan 1_mask.png").rename(clinic / "benign" / place)
    with pytest.raises(DatasetError, match=f"benign/{place} .*{sentence}"):
        read_folder(clinic)


def test_a_picture_of_greys_is_no_mask(clinic):
    """The scan with its lesion drawn in was united into the lesion."""
    shutil.copy(clinic / "benign" / "scan 1.png", clinic / "benign" / "scan 1_mask_overlay.png")
    with pytest.raises(DatasetError, match=r"scan 1_mask_overlay\.png is named as a mask, but much of it is neither"):
        decode(read_folder(clinic), 64)


def test_a_mask_under_any_name_is_no_scan(clinic):
    (clinic / "benign" / "scan 1_mask.png").rename(clinic / "benign" / "segmented.png")
    with pytest.raises(DatasetError, match=r"clinic/benign/segmented.png: The image is of two grey levels"):
        decode(read_folder(clinic), 64)


def test_a_mask_may_be_of_ones_and_must_mark_something(clinic, busi):
    (sample, *_) = read_folder(clinic)
    white = np.asarray(Image.open(sample.masks[0]))
    lesion = read_lesion(sample, white.shape)
    Image.fromarray(white // 255).save(sample.masks[0])
    np.testing.assert_array_equal(read_lesion(sample, white.shape), lesion)
    Image.fromarray(white // 4).save(sample.masks[0])
    with pytest.raises(DatasetError, match=r"brightest pixel of the mask scan 1_mask.png is 63\. Expected 255 inside"):
        read_lesion(sample, white.shape)
    Image.fromarray(white * 0).save(sample.masks[0])
    assert decode([sample], 64).masked.tolist() == [False]


def test_images_of_ones_own_are_never_taken_for_busi(clinic, busi, tmp_path):
    """Ten of BUSI's numbers are left out, and its ids and citation are published."""
    assert is_busi(busi)
    assert not is_busi(clinic)
    assert Place("folder", "clinic") in places(tmp_path)
    with pytest.raises(DatasetError, match=r"benign/scan 1.png is not called benign \(NUMBER\).png"):
        read_busi(clinic)


def test_a_table_beside_class_folders_is_offered_too(clinic, tmp_path):
    (clinic / "labels.csv").write_text("path,label,patient\nbenign/scan 1.png,benign,p1\n")
    assert places(tmp_path) == [Place("folder", "clinic"), Place("folder", "clinic/labels.csv")]


def test_no_image_counts_twice(clinic):
    table = clinic / "mine.csv"
    with table.open("w", newline="") as file:
        rows = [["path", "label", "mask"], *[["benign/scan 1.png", "benign", f"{m}.png"] for m in ("one", "two")]]
        csv.writer(file).writerows(rows)
    with pytest.raises(DatasetError, match=r"mine/benign/scan 1.png is there twice, as scan 1.png and scan 1.png"):
        read_sources([("folder", str(table))])


def test_sources_of_one_class_each_are_refused_before_they_train():
    """They failed after the last epoch, for a network could tell the sources apart instead of the lesions."""
    samples = [Sample(f"{CLASSES[k % 2]}/{k}", CLASSES[k % 2], Path(f"{k}.png"), k % 2) for k in range(40)]
    scans = np.random.default_rng(3).integers(0, 255, (40, 64, 64), np.uint8)
    prints = [fingerprint(scan) for scan in scans]
    with pytest.raises(DatasetError, match="No source would validate with images of both classes"):
        make_split(TrainConfig("rcdnet", init="random"), samples, prints)
    make_split(TrainConfig("rcdnet", init="random", split="all"), samples, prints)
