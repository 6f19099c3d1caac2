"""A run goes on, and is evaluated, on the data that it began with and on no other."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, copied
from PIL import Image

from rcdnet.errors import ConfigError, DatasetError, RunFailed
from train.config import TrainConfig
from train.data.data_manifest import MANIFEST_FILE, verify_files, verify_manifest
from train.data.dataset_readers import read_sources
from train.data.load_images import decode
from train.data.splits import Split
from train.evaluate.external_test import evaluate_external
from train.evaluate.internal_validation import reevaluate_run
from train.fit.events import Epoch, read_events
from train.runs.start_and_resume import resume, start


@pytest.fixture(scope="module")
def trained(busi, tmp_path_factory) -> Path:
    """A folder with a table, and a run on it that was stopped after its first epoch; tests copy both."""
    place = tmp_path_factory.mktemp("trained")
    copied(busi, place / "set")
    sizes = SMALL | {"start_size": 32, "end_size": 32}
    config = TrainConfig(**sizes, epochs=2, data=(("folder", str(place / "set" / "mine.csv")),))

    def stop_after_one(text: str) -> None:
        if text.startswith("Epoch 1"):
            (place / "run" / "stop").touch()

    start(config, place / "run", say=stop_after_one)
    return place


@pytest.fixture
def begun(trained, tmp_path) -> Path:
    """The same, its config naming the copy."""
    place = copied(trained, tmp_path / "place")
    config = TrainConfig.read(place / "run" / "config.json")
    moved = TrainConfig(**vars(config) | {"data": (("folder", str(place / "set" / "mine.csv")),)})
    (place / "run" / "config.json").write_bytes(moved.to_json().encode())
    return place


def rows_of(place: Path) -> list[dict[str, str]]:
    with (place / "set" / "mine.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(place: Path, change: Callable[[dict[str, str], str], None]) -> None:
    """Change each row of the table, knowing its side."""
    split = Split.read(place / "run" / "split.json")
    rows = rows_of(place)
    for row in rows:
        change(row, "validation" if f"mine/{row['path']}" in split.validation else "training")
    with (place / "set" / "mine.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "mask", "patient"])
        writer.writeheader()
        writer.writerows(rows)


def check(place: Path) -> None:
    decoded = decode(read_sources(TrainConfig.read(place / "run" / "config.json").data), 64)
    verify_manifest(place / "run", Split.read(place / "run" / "split.json"), decoded)


def on_both_sides(place: Path) -> None:
    count = {"training": 0, "validation": 0}

    def known(row: dict[str, str], side: str) -> None:
        row["patient"] = f"P{count[side]}"
        count[side] += 1

    rewrite(place, known)


def relabelled(place: Path) -> None:
    first = next(row["path"] for row in rows_of(place) if row["label"] == "benign")
    rewrite(place, lambda row, side: row.update(label="malignant") if row["path"] == first else None)


def in_pairs(place: Path) -> None:
    """Patients become known, none of them on both sides."""
    count = {"training": 0, "validation": 0}

    def known(row: dict[str, str], side: str) -> None:
        row["patient"] = f"{side} {count[side] // 2}"
        count[side] += 1

    rewrite(place, known)


def other_file(place: Path) -> None:
    path = place / "set" / "benign" / "benign (1).png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


def other_mask(place: Path) -> None:
    path = place / "set" / rows_of(place)[3]["mask"]
    Image.fromarray(np.asarray(Image.open(path))[::-1]).save(path)


def no_mask(place: Path) -> None:
    first = rows_of(place)[2]["path"]
    rewrite(place, lambda row, side: row.update(mask="") if row["path"] == first else None)


def other_sides(place: Path) -> None:
    path = place / "run" / "split.json"
    split = json.loads(path.read_text())
    split["train"][0], split["validation"][0] = split["validation"][0], split["train"][0]
    path.write_text(json.dumps(split))


CHANGES = [
    (on_both_sides, r"patients are on both sides of its split, as mine/.* are of the same patient"),
    (relabelled, r"the label of mine/benign/benign \(1\).png"),
    (in_pairs, r"the patient of mine/.* and \d+ more"),
    (other_file, r"the file of mine/benign/benign \(1\).png\. Put it back as it was, or begin a new run"),
    (other_mask, r"the mask of mine/benign/benign \(4\).png"),
    (no_mask, r"the mask of mine/benign/benign \(3\).png"),
    (other_sides, "split.json divides the images differently"),
]


@pytest.mark.parametrize(("change", "sentence"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
def test_what_changed_since_a_run_began_is_said(begun, change, sentence):
    check(begun)
    change(begun)
    with pytest.raises(DatasetError, match=rf"The data does not fit the run run any more: .*{sentence}"):
        check(begun)


def test_a_run_is_neither_resumed_nor_evaluated_on_other_data(begun):
    """It went on with patients on both sides, and with a label that was corrected."""
    relabelled(begun)
    with pytest.raises(RunFailed, match="The data does not fit the run run any more: the label of"):
        resume(begun / "run")
    with pytest.raises(DatasetError, match="any more: the label of"):
        reevaluate_run(begun / "run")
    assert len([e for e in read_events(begun / "run" / "events.jsonl") if isinstance(e, Epoch)]) == 1


def test_a_run_goes_on_where_nothing_changed_that_it_knows(begun, tmp_path):
    """The table in other order and in Excel's form, another image in it, patients of other names."""
    new = begun / "set" / "benign" / "new.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (100, 100), np.uint8)).save(new)
    rows = [*rows_of(begun), {"path": "benign/new.png", "label": "benign", "mask": ""}][::-1]
    lines = [f"{row['path']};{row['label']};{row['mask']}" for row in rows]
    (begun / "set" / "mine.csv").write_text("\r\n".join(["Path;Label;Mask", *lines]))
    message: list[str] = []
    resume(begun / "run", say=message.append)
    assert any(
        "Skipped, because they are on neither side of the split: 1 of the images, mine/benign/new.png first" in s
        for s in message
    )
    reevaluate_run(begun / "run")
    with pytest.raises(DatasetError, match="Every one of these images, or a near-copy of it, was used in training"):
        (tmp_path / "same.csv").write_text(
            "\n".join(["path,label", *(f"{begun}/set/{r['path']},{r['label']}" for r in rows[1:])])
        )
        evaluate_external(begun / "run", [("folder", str(tmp_path / "same.csv"))])
    other_file(begun)
    with pytest.raises(DatasetError, match="any more: the file of"):  # it would look for copies of another image
        evaluate_external(begun / "run", [("folder", str(tmp_path / "same.csv"))])


def test_of_a_run_without_a_record_patients_are_checked(begun):
    (begun / "run" / MANIFEST_FILE).unlink()
    relabelled(begun)
    check(begun)
    on_both_sides(begun)
    with pytest.raises(DatasetError, match="on both sides"):
        check(begun)


@pytest.mark.parametrize(
    "content", ["", "[]", "null", '{"split": 1}', '{"split": "", "images": {"a": 3}}', "[" * 100000, "\xff"]
)
def test_a_damaged_record_is_said(begun, content):
    (begun / "run" / MANIFEST_FILE).write_text(content, encoding="latin-1")
    for ask in (
        check,
        lambda place: verify_files(
            place / "run", decode(read_sources([("folder", str(place / "set" / "mine.csv"))]), 64)
        ),
    ):
        with pytest.raises(DatasetError, match=r"data.json does not say what the data was"):
            ask(begun)


def test_a_run_whose_split_is_gone_is_not_divided_anew(begun):
    """Images that trained might validate from then on."""
    (begun / "run" / "split.json").unlink()
    with pytest.raises(RunFailed, match=r"split\.json of run is missing"):
        resume(begun / "run")
    assert not (begun / "run" / "split.json").exists()


@pytest.mark.parametrize(
    "content", ['{"split": "x", "images": {"a": {"label": 0, "patient": ["p"]}}}', "null", "[" * 9000]
)
def test_a_record_that_is_none_is_said(begun, content):
    (begun / "run" / MANIFEST_FILE).write_text(content)
    with pytest.raises(RunFailed, match="does not say what the data was"):
        resume(begun / "run")


def test_a_name_that_is_no_text_ends_a_run_with_a_sentence_that_can_be_read_again(busi, tmp_path):
    copied(busi, tmp_path / "set")
    name = os.fsencode(tmp_path / "set" / "benign") + b"/a\xff_mask.png"
    shutil.copy(tmp_path / "set" / "benign" / "benign (1)_mask.png", name)
    config = TrainConfig(**SMALL, epochs=1, data=(("folder", str(tmp_path / "set")),))
    with pytest.raises(RunFailed, match="named like the mask"):
        start(config, tmp_path / "run", say=lambda text: None)
    assert "named like the mask" in read_events(tmp_path / "run" / "events.jsonl")[-1].message


def test_a_run_whose_settings_were_edited_is_not_evaluated(run, tmp_path):
    copy = copied(run, tmp_path / "run")
    config = TrainConfig.read(copy / "config.json")
    (copy / "config.json").write_text(replace(config, model="vit").to_json())
    with pytest.raises(ConfigError, match="was edited since the run began: model"):
        reevaluate_run(copy)
