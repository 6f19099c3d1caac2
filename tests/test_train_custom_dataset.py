"""Images of one's own: what is taken for an image, for its mask, for BUSI, and what is refused."""

import csv
import os
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from rcdnet.errors import ConfigError, DatasetError
from rcdnet.models.registry import CLASSES
from train.config import TrainConfig
from train.data.busi import is_busi, read_busi
from train.data.custom_dataset import read_folder
from train.data.dataset_readers import read_sources
from train.data.duplicates import fingerprint
from train.data.load_images import decode, read_lesion
from train.data.phantoms import write_dataset
from train.data.sample import Sample
from train.data.splits import make_split
from train.evaluate.lesion_box_classifier import box_geometry_features
from train.runs.data_locations import DatasetLocation, find_datasets, load_samples


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
    with pytest.raises(DatasetError, match=r"scan 1_mask_overlay\.png: Much of this mask is neither black nor white"):
        decode(read_folder(clinic), 64)


def test_a_mask_under_any_name_is_no_scan(clinic):
    (clinic / "benign" / "scan 1_mask.png").rename(clinic / "benign" / "segmented.png")
    with pytest.raises(DatasetError, match=r"clinic/benign/segmented.png: The image has only two grey levels"):
        decode(read_folder(clinic), 64)


def test_a_mask_may_be_of_ones_and_must_mark_something(clinic, busi):
    (sample, *_) = read_folder(clinic)
    white = np.asarray(Image.open(sample.masks[0]))
    lesion = read_lesion(sample, white.shape)
    Image.fromarray(white // 255).save(sample.masks[0])
    np.testing.assert_array_equal(read_lesion(sample, white.shape), lesion)
    Image.fromarray(white // 4).save(sample.masks[0])
    with pytest.raises(
        DatasetError, match=r"scan 1_mask.png: The brightest pixel of the mask is 63\. Expected 255 inside"
    ):
        read_lesion(sample, white.shape)
    Image.fromarray(white * 0).save(sample.masks[0])
    assert decode([sample], 64).masked.tolist() == [False]


def test_damaged_and_hostile_masks_are_refused_as_scans_are(clinic):
    """Pillow's own errors ended the run, whatever it was told to do with broken files."""
    (sample, *_) = read_folder(clinic)
    whole = sample.masks[0].read_bytes()
    huge = whole[:16] + (20000).to_bytes(4) * 2 + whole[24:29]
    huge += zlib.crc32(huge[12:29]).to_bytes(4) + whole[33:]
    for content in (whole[:200], b"%!PS-Adobe-3.0 EPSF-3.0", huge, b""):
        sample.masks[0].write_bytes(content)
        with pytest.raises(DatasetError, match=r"scan 1_mask.png: .* Repair the mask, or leave the pair out"):
            read_lesion(sample, (440, 520))
    sample.masks[0].unlink()
    with pytest.raises(DatasetError, match=r"The mask scan 1_mask.png cannot be opened"):
        read_lesion(sample, (440, 520))


def test_a_turned_image_has_the_box_of_its_upright_self(clinic):
    """The box was sought on the picture as it lies in the file, after the last epoch."""
    (sample, *_) = read_folder(clinic)
    turned, upright = Image.open(sample.path), box_geometry_features([sample])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # shown a quarter turn clockwise
    for suffix in (".jpg", ".tif"):
        path = sample.path.with_suffix(suffix)
        turned.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
        np.testing.assert_allclose(box_geometry_features([replace(sample, path=path)]), upright)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_mask_is_never_taught_in_the_wrong_place_of_a_turned_image(clinic, orientation):
    """Upside down it taught the wrong place, and a quarter turn blamed the mask."""
    (sample, *_) = read_folder(clinic)
    shown = decode([sample], 64).lesions
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    back = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    for path in (sample.path, *sample.masks):  # the mask on the stored pixels, without EXIF
        Image.open(path).transpose(back).save(path, **({"exif": exif} if path == sample.path else {}))
    if orientation == 6:
        np.testing.assert_array_equal(decode([sample], 64).lesions, shown)
        return
    with pytest.raises(DatasetError, match=r"scan 1_mask\.png: The scan is stored with EXIF orientation 3"):
        decode([sample], 64)
    for path in sample.masks:
        Image.open(path).save(path, exif=exif)
    np.testing.assert_array_equal(decode([sample], 64).lesions, shown)
    with pytest.raises(DatasetError, match="EXIF orientation 3, so it is not known which way up its box was drawn"):
        read_lesion(replace(sample, masks=(), box=(10, 10, 20, 20)), (440, 520))


def test_images_of_ones_own_are_never_taken_for_busi(clinic, busi, tmp_path):
    """Ten of BUSI's numbers are left out, and its ids and citation are published."""
    assert is_busi(busi)
    assert not is_busi(clinic)
    assert DatasetLocation("folder", "clinic") in find_datasets(tmp_path)
    with pytest.raises(DatasetError, match=r"benign/scan 1.png is not called benign \(NUMBER\).png"):
        read_busi(clinic)


def test_a_table_beside_class_folders_is_offered_too(clinic, tmp_path):
    (clinic / "labels.csv").write_text("path,label,patient\nbenign/scan 1.png,benign,p1\n")
    assert find_datasets(tmp_path) == [
        DatasetLocation("folder", "clinic"),
        DatasetLocation("folder", "clinic/labels.csv"),
    ]


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
    with pytest.raises(DatasetError, match="No source would have validation images of both classes"):
        make_split(TrainConfig("rcdnet", init="random"), samples, prints)
    make_split(TrainConfig("rcdnet", init="random", split="all"), samples, prints)


@pytest.mark.parametrize("header", ["path,label,Patient", "Path, Label, patient", "path,label,PATIENT,"])
def test_patients_are_known_however_their_column_is_written(clinic, header):
    (clinic / "mine.csv").write_text(f"{header}\nbenign/scan 1.png,benign,p1\nmalignant/scan 1.png,malignant,p2\n")
    assert [sample.patient for sample in read_folder(clinic / "mine.csv")] == ["mine/p1", "mine/p2"]


def test_a_column_that_would_be_passed_over_is_refused(clinic):
    """Under the name patient_id, 7 of 8 patients came to lie on both sides of the split."""
    (clinic / "mine.csv").write_text("path,label,patient_id\nbenign/scan 1.png,benign,p1\n")
    with pytest.raises(
        DatasetError,
        match=r"mine\.csv has the columns patient_id, which are not read\. Expected path, label, patient, m",
    ):
        read_folder(clinic / "mine.csv")
    (clinic / "mine.csv").write_text("path,label,Label\nbenign/scan 1.png,benign,malignant\n")
    with pytest.raises(DatasetError, match=r"mine\.csv has two columns named label"):
        read_folder(clinic / "mine.csv")


def test_images_behind_a_link_are_not_passed_over(clinic, tmp_path):
    (clinic / "benign").rename(tmp_path / "elsewhere")
    (clinic / "benign").symlink_to(tmp_path / "elsewhere")  # which is followed
    assert len(read_folder(clinic)) == 4
    (clinic / "malignant" / "site 2").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="malignant/site 2 is a link to a folder, whose images would be skipped"):
        read_folder(clinic)


def test_a_link_in_a_circle_leads_out_of_the_data(clinic, tmp_path):
    (clinic / "benign" / "loop.png").symlink_to(clinic / "benign" / "loop.png")
    with pytest.raises(ConfigError, match=r"clinic/benign/loop.png points outside the data folder"):
        load_samples([("folder", str(clinic))], tmp_path)


def test_a_name_that_is_no_text_is_refused_before_it_trains(clinic):
    (clinic / "benign" / "scan 1.png").rename(clinic / "benign" / os.fsdecode(b"M\xfcller.png"))
    (clinic / "benign" / "scan 1_mask.png").unlink()
    with pytest.raises(DatasetError, match=r"The name clinic/benign/M\\udcfcller.png is not valid text"):
        read_sources([("folder", str(clinic))])


def test_drawn_phantoms_are_never_busi(tmp_path):
    """They lie as BUSI does, so that figures on them would stand under its name."""
    write_dataset(tmp_path / "toy", 2)
    assert not is_busi(tmp_path / "toy")
    with pytest.raises(DatasetError, match="drawn phantoms, not BUSI"):
        read_busi(tmp_path / "toy")
    assert {s.source for s in read_folder(tmp_path / "toy")} == {"phantoms"}
    assert [place.path for place in find_datasets(tmp_path)] == ["toy/phantoms.csv"]


@pytest.mark.parametrize("name", ["benign (1)_MASK.png", "Benign (1)_mask.png"])
def test_busi_is_its_very_names(busi, tmp_path, name):
    """A mask under another spelling would be taken for an image, and an excluded image not be excluded."""
    shutil.copytree(busi, tmp_path / "set")
    (tmp_path / "set" / "benign" / "benign (1)_mask.png").rename(tmp_path / "set" / "benign" / name)
    assert not is_busi(tmp_path / "set")


def test_a_table_whose_image_is_gone_says_so_and_not_that_it_leads_away(clinic):
    (clinic / "ours.csv").write_text("path,label\nbenign/scan 1.png,benign\nmalignant/gone.png,malignant\n")
    samples = load_samples([("folder", str(clinic / "ours.csv"))], clinic)
    with pytest.raises(DatasetError, match=r"gone\.png is not there"):
        decode(samples, 64)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are Unix's")
def test_a_mask_that_is_a_pipe_is_not_waited_for(clinic):
    (clinic / "benign" / "scan 1_mask.png").unlink()
    os.mkfifo(clinic / "pipe")
    (clinic / "benign" / "scan 1_mask.png").symlink_to(clinic / "pipe")
    sample = next(s for s in read_folder(clinic) if s.path.name == "scan 1.png" and s.label == 0)
    with pytest.raises(DatasetError, match="a named pipe; an image file is expected"):
        read_lesion(sample, (100, 100))
