"""Pictures that are no breast B-mode scan are not read, and the app's own phantoms and real scans are."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import FAULTS, damaged_copy, encoded
from PIL import Image

from pages.shared.uploaded_scan import add_upload
from rcdnet.__main__ import main as rcdnet_main
from rcdnet.errors import CheckpointError, DatasetError, NotAScan
from rcdnet.models.checkpoint import WEIGHTS_FOLDER
from rcdnet.reading import picture_features
from rcdnet.reading.input_check import NAME, NOT_READ, READ, WARNED, check_input, load_input_check
from rcdnet.scans.scan_and_mask import Scan, read_scan
from train.data.dataset_readers import read_sources
from train.data.load_images import read_pixels
from train.data.other_pictures import OTHER_PICTURES
from train.data.phantoms import write_dataset
from train.studies.input_check import publish_input_check

SAMPLES = sorted((WEIGHTS_FOLDER.parent / "samples").glob("*.png"))


def pictures(kind: str, scan: np.ndarray, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng([7, list(OTHER_PICTURES).index(kind)])
    return [OTHER_PICTURES[kind](rng, scan, scan[:, ::-1]) for _ in range(count)]


@pytest.mark.parametrize("kind", OTHER_PICTURES)
def test_other_pictures_are_grey_and_of_a_size_that_is_read(kind, phantom):
    for picture in pictures(kind, phantom, 6):
        assert picture.dtype == np.uint8
        assert picture.ndim == 2
        assert 64 <= min(picture.shape) <= max(picture.shape) <= 4096


@pytest.mark.parametrize("kind", OTHER_PICTURES)
def test_no_model_reads_another_picture_without_a_warning(kind, data_folder):
    scan = read_pixels(read_sources([("breast", data_folder / "BrEaST")])[0])
    outcomes = [load_input_check().assess(picture).outcome for picture in pictures(kind, scan, 12)]
    assert sum(outcome != READ for outcome in outcomes) >= 11


def test_real_scans_are_read(data_folder):
    samples = read_sources([("busi", data_folder / "Dataset_BUSI_with_GT"), ("breast", data_folder / "BrEaST")])[::18]
    found = [load_input_check().assess(read_pixels(sample)) for sample in samples]
    assert sum(one.outcome == NOT_READ for one in found) <= 1
    assert np.mean([one.outcome == READ for one in found]) > 0.9


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_the_apps_own_phantoms_are_read(sample):
    scan = read_scan(sample.read_bytes())
    assert check_input(scan) is scan


def test_a_refusal_names_what_the_picture_looks_like(phantom):
    (noise,) = pictures("noise", phantom, 1)
    with pytest.raises(NotAScan, match=r"This looks like noise, not one breast B-mode scan, so no model reads it"):
        check_input(Scan(noise, "0" * 64))


def test_a_doubt_is_a_warning_beside_those_of_the_file(phantom, monkeypatch):
    check = load_input_check()
    found = replace(check.assess(phantom), outcome=WARNED)
    monkeypatch.setattr(type(check), "assess", lambda self, pixels: found)
    warnings = check_input(Scan(phantom, "0" * 64, ("It is dark.",))).warnings
    assert warnings[0] == "It is dark."
    assert warnings[1].startswith("This picture is unlike most breast B-mode scans")


def test_a_refused_upload_runs_no_model_and_is_not_kept(phantom):
    (page,) = pictures("a page of text", phantom, 1)
    scans: dict = {}
    with pytest.raises(NotAScan, match="no model reads it"):
        add_upload(scans, "report.png", encoded(Image.fromarray(page)), [])
    assert scans == {}


def test_predict_says_not_read_and_gives_no_number(phantom, tmp_path, capsys):
    (page,) = pictures("a page of text", phantom, 1)
    (tmp_path / "report.png").write_bytes(encoded(Image.fromarray(page)))
    assert rcdnet_main(["predict", str(tmp_path / "report.png"), "--models", "rcdnet,vit"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["model"], row["verdict"], row["call"], row["p_malignant"]) for row in rows] == [
        ("rcdnet", "not read", None, None),
        ("vit", "not read", None, None),
    ]
    rcdnet_main(["predict", str(tmp_path / "report.png"), "--models", "rcdnet", "--format", "csv"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["verdict"], row["call"], row["p_malignant"]) == ("not read", "", "")
    assert "no model reads it" in row["warnings"]


def test_the_card_says_how_it_fared_on_each_site_that_did_not_teach_it():
    card = load_input_check().card
    assert len(card.left_out) == 3
    breast = next(site for site in card.left_out if site.data == "BrEaST")
    assert breast.scans.refused <= 0.02 * breast.scans.pictures
    for site in card.left_out:
        assert [one.kind for one in site.others] == list(card.kinds)


@pytest.mark.parametrize("fault", FAULTS)
def test_without_a_whole_check_nothing_is_read(fault, tmp_path):
    with pytest.raises(CheckpointError, match="Restore"):
        load_input_check(damaged_copy(NAME, fault, tmp_path))


@pytest.mark.parametrize("content", [None, b"no tensors"], ids=["missing", "damaged"])
def test_without_its_trunk_nothing_is_read(content, tmp_path, monkeypatch):
    trunk = tmp_path / "trunk.safetensors"
    if content:
        trunk.write_bytes(content)
    monkeypatch.setattr(picture_features, "TRUNK_FILE", trunk)
    with pytest.raises(CheckpointError, match=r"trunk\.safetensors, which the input check needs, cannot be read"):
        picture_features.imagenet_trunk.__wrapped__()


def test_a_check_is_taught_by_one_command(tmp_path):
    sites = []
    for number in (1, 2):
        write_dataset(tmp_path / f"site{number}", 8, seed=number)
        sites.append(("folder", tmp_path / f"site{number}"))
    card = publish_input_check(sites, each=3, folder=tmp_path / "check", say=lambda sentence: None)
    check = load_input_check(tmp_path / "check")
    assert check.card == card
    assert card.refuse > card.warn
    assert card.left_out == ()
    phantom = read_pixels(read_sources(sites[:1])[0])
    (noise,) = pictures("noise", phantom, 1)
    assert check.assess(phantom).log_odds < 0 < check.assess(noise).log_odds
    assert check.assess(phantom).distance < check.assess(noise).distance  # what is read back is what was taught


def test_one_data_set_is_too_few(tmp_path):
    write_dataset(tmp_path / "site", 2)
    with pytest.raises(DatasetError, match="two data sets or more"):
        publish_input_check([("folder", Path(tmp_path / "site"))], folder=tmp_path)
