"""Runs pooled and shipped: one calibration for all, the card, other seeds, and the records that stay."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, copied

from rcdnet.errors import DatasetError
from rcdnet.models.card import ModelCard
from rcdnet.models.checkpoint import WEIGHTS_FOLDER
from train.__main__ import main
from train.config import TrainConfig
from train.crash_safe_files import append_line
from train.data.public_datasets import PUBLIC_DATASETS
from train.evaluate.evaluation_record import read_evaluation
from train.evaluate.predictions import read_predictions
from train.fit.events import Failed, line_of
from train.metrics.calibration_and_threshold import operating_point
from train.publish.pool_folds import pool
from train.publish.published_records import publish
from train.publish.ship import _citations, _licences, ship


def point_of(rows, box=(), alike=False):
    evidence = np.array([[row.logit, row.vote, row.score] for row in rows])
    labels, sources = np.array([row.label for row in rows]), np.array([row.source for row in rows])
    return operating_point(labels, evidence, sources, tuple(np.array(box).tolist()), alike=alike)


@pytest.fixture(scope="module")
def folds(run, data, tmp_path_factory) -> list[Path]:
    """Runs of one recipe that validate on different images: of the three epochs' run, one epoch each."""
    place, runs = tmp_path_factory.mktemp("folds"), []
    for fold in (1, 2):
        out = place / f"fold{fold}"
        assert main(["fit", *TINY, *data, *options_of(fold), "--out", str(out)]) == 0
        runs.append(out)
    return runs


def options_of(fold: int) -> list[str]:
    return ["--epochs", "1", "--split", "k-fold", "--folds", "2", "--fold", str(fold), "--keep", "last"]


def test_pooled_folds_score_every_image_once_and_choose_one_point_for_all(folds, run, tmp_path):
    pooled = pool(folds, tmp_path / "pooled")
    rows = read_predictions(tmp_path / "pooled" / "predictions.csv")
    parts = [read_predictions(fold / "predictions.csv") for fold in folds]
    assert [row.id for row in rows] == [row.id for part in parts for row in part]
    assert len({row.id for row in rows}) == len(rows)
    groups = [{row.group for row in rows if row.id in {r.id for r in part}} for part in parts]
    assert not groups[0] & groups[1]
    box = np.mean([read_evaluation(fold / "evaluation.json").calibration.box for fold in folds], axis=0)
    assert pooled.calibration == point_of(rows, box, alike=True).calibration
    busbra = [row for row in rows if row.source == "busbra"]
    found = [row.probability >= pooled.threshold for row in busbra if row.label]
    assert np.mean(found) >= 0.95
    assert set(pooled.sets[0].held_out) == {"auc", "auc_by_group", "ece", "sensitivity", "specificity"}
    # By hand: each run with what the other one chose.
    right = []
    for part, other in (parts, parts[::-1]):
        point = point_of(other, alike=True)
        right += [
            point.calibration.probability(r.logit, r.vote, r.score) >= point.threshold
            for r in part
            if r.label and r.source == "busbra"
        ]
    assert pooled.sets[0].held_out["sensitivity"] == pytest.approx(np.mean(right))
    assert repr(read_evaluation(tmp_path / "pooled" / "evaluation.json")) == repr(pooled)  # nan is not equal to itself
    with pytest.raises(DatasetError, match=r"differs from .* in .*epochs"):
        pool([folds[0], run], tmp_path / "wrong")
    with pytest.raises(DatasetError, match="validate in more than one"):
        pool([folds[0], folds[0]], tmp_path / "wrong")


@pytest.fixture(scope="module")
def final(data, tmp_path_factory) -> Path:
    """A run of the same recipe that trained on every image."""
    out = tmp_path_factory.mktemp("final") / "final"
    changes = ["--epochs", "1", "--split", "all", "--folds", "2", "--keep", "last"]
    assert main(["fit", *TINY, *data, *changes, "--out", str(out)]) == 0
    return out


def stale(run: Path, place: Path) -> Path:
    """A copy whose evaluation is of other weights."""
    out = copied(run, place)
    evaluation = json.loads((out / "evaluation.json").read_text())
    (out / "evaluation.json").write_text(json.dumps(evaluation | {"weights_sha256": ["0" * 64]}))
    return out


def test_shipping_with_folds_takes_their_figures_and_keeps_their_records(folds, final, run, tmp_path, capsys):
    places = {"weights_folder": tmp_path / "weights", "results_folder": tmp_path / "results"}
    card = ship(final, folds, **places)
    pooled = read_evaluation(tmp_path / "results" / "final-folds" / "evaluation.json")
    assert (card.threshold, card.calibration) == (pooled.threshold, pooled.calibration)
    assert [f.data for f in card.validation] == ["BUS-BRA, parts 1, 2 of 2", "BUSI, parts 1, 2 of 2"]
    assert [f.data for f in card.folds][:2] == ["BUS-BRA, part 1 of 2", "BUSI, part 1 of 2"]
    assert card.operating_points[1].threshold == pytest.approx(card.threshold)
    assert card.recipe["epochs"] == 1
    assert card.trained_on.endswith("from random weights, with lesion masks and BI-RADS as supervision")
    assert {(f.results, f.predictions_sha256) for f in card.validation} == {("final-folds", pooled.predictions_sha256)}
    assert {g.data for g in card.subgroups} == {"BUS-BRA", "BUSI"}
    assert ModelCard.parse(tmp_path / "weights" / "mobilenetv2.json").to_json() == card.to_json()
    published = {path.relative_to(tmp_path / "results").as_posix() for path in (tmp_path / "results").rglob("*.*")}
    assert {"final/config.json", "final/events.jsonl", "fold1/predictions.csv", "fold2/evaluation.json"} <= published
    assert not any(path.endswith((".safetensors", "split.json")) for path in published)
    for path in (tmp_path / "results").rglob("*.json*"):
        assert str(tmp_path) not in path.read_text()
    assert main(["compare", *map(str, sorted((tmp_path / "results").glob("f*[12s]")))]) == 0
    assert "| final-folds | mobilenetv2 | busbra: 32 (16 malignant) |" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in tmp_path.glob("[rw]*/**/*.*")}
    with pytest.raises(DatasetError, match=r"trained with other settings .*epochs"):
        ship(run, folds, **places)
    with pytest.raises(DatasetError, match="was not tested on another public data set"):
        ship(final, folds, [copied(folds[0], tmp_path / "abroad")], **places)
    unfinished = copied(final, tmp_path / "unfinished")
    config = json.loads((unfinished / "config.json").read_text())
    (unfinished / "config.json").write_text(json.dumps(config | {"epochs": 4}))
    with pytest.raises(DatasetError, match=r"has 1 of 4 epochs.*--resume"):
        ship(unfinished, folds, **places)
    other_data = copied(folds[0], tmp_path / "other_data")
    split = json.loads((other_data / "split.json").read_text())
    (other_data / "split.json").write_text(json.dumps(split | {"train": split["train"][1:]}))
    with pytest.raises(DatasetError, match="trained on other images"):
        ship(final, [other_data], **places)
    blind = copied(folds[0], tmp_path / "blind")
    events = (blind / "events.jsonl").read_text()
    (blind / "events.jsonl").write_text(events.replace('"untaught": []', '"untaught": ["mask_weight"]'))
    with pytest.raises(DatasetError, match=r"trained with other settings .*\(mask_weight\)"):
        ship(final, [blind, folds[1]], **places)
    with pytest.raises(DatasetError, match=r"differs from .* in mask_weight"):
        pool([folds[1], blind], tmp_path / "pooled")
    with pytest.raises(DatasetError, match="is of other weights"):
        ship(final, [stale(folds[0], tmp_path / "stale")], **places)
    assert before == {path: path.read_bytes() for path in tmp_path.glob("[rw]*/**/*.*")}  # a refusal changes nothing


def test_a_run_named_by_a_dot_replaces_no_other_record(run, tmp_path, monkeypatch):
    """Without a name of its own its record took the place of all of them."""
    other = tmp_path / "results" / "other" / "evaluation.json"
    other.parent.mkdir(parents=True)
    other.touch()
    monkeypatch.chdir(copied(run, tmp_path / "mine"))
    card = ship(Path(), weights_folder=tmp_path / "weights", results_folder=tmp_path / "results")
    assert card.run == "mine"
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"mine", "other"}
    assert other.exists()


def test_weights_inherit_the_duties_of_those_they_started_from(run, tmp_path):
    own = TrainConfig(model="vit", init="bundled", data=(("folder", "clinic"),))
    with_a_card = replace(own, init=str(WEIGHTS_FOLDER / "vit.safetensors"))
    of_a_run = replace(own, model="mobilenetv2", init=str(run / "best.safetensors"))
    for config in (own, with_a_card, of_a_run):
        assert _licences(config) == [PUBLIC_DATASETS[name].licence_of_weights for name in ("busbra", "busi")]
        assert _citations(config) == tuple(PUBLIC_DATASETS[name].citation for name in ("busbra", "busi"))
    assert "tf_efficientnet_lite0" in _licences(replace(own, model="rcdnet"))[-1]
    assert _licences(replace(own, init="found.safetensors")) == [
        "The weights it started from, found.safetensors: not known."
    ]


def test_folds_of_another_seed_stand_beside_and_change_nothing_else(folds, final, data, tmp_path):
    again = []
    for number, fold in enumerate(folds, 1):
        again.append(tmp_path / f"again{number}")
        fixed = [*options_of(number), "--seed", "1", "--split-file", str(fold / "split.json")]
        assert main(["fit", *TINY, *data, *fixed, "--out", str(again[-1])]) == 0
    places = {"weights_folder": tmp_path / "weights", "results_folder": tmp_path / "results"}
    first, card = ship(final, folds, **places), ship(final, [*folds, *again], **places)
    assert replace(card, seeds=()).to_json() == first.to_json()  # nan is not equal to itself
    assert [f.data for f in card.seeds] == ["BUS-BRA, parts 1, 2 of 2, seed 1", "BUSI, parts 1, 2 of 2, seed 1"]
    pooled = read_evaluation(tmp_path / "results" / "final-seed1-folds" / "evaluation.json")
    assert [f.auc for f in card.seeds] == [s.figures["auc"].value for s in pooled.sets]
    assert card.seeds[0].predictions_sha256 != card.validation[0].predictions_sha256
    assert not {run.name for run in again} & {path.name for path in (tmp_path / "results").iterdir()}
    for runs, message in (
        ([*folds, again[0]], "folds of seed 1 leave out other images"),
        (again, "No fold has the seed of the weights to be shipped, 0"),
        ([*folds, again[0], stale(again[1], tmp_path / "stale")], "is of other weights"),
    ):
        with pytest.raises(DatasetError, match=message):
            ship(final, runs, **places)


def test_a_record_says_nothing_of_the_machine_or_of_other_tests(folds, tmp_path):
    run = copied(folds[0], tmp_path / "run")
    append_line(run / "events.jsonl", line_of(Failed(1.0, "data", f"{tmp_path}/clinic does not exist")))
    for name in ("predictions.csv", "evaluation.json"):
        for place in ("clinic", "busi", "busi+clinic"):
            (run / "external" / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(run / name, run / "external" / place / name)
    (tmp_path / "results" / "run" / "old").mkdir(parents=True)
    publish(run, tmp_path / "results")
    names = {p.relative_to(tmp_path / "results").as_posix() for p in (tmp_path / "results").rglob("*") if p.is_file()}
    assert names == {f"run/{n}" for n in ("config.json", "events.jsonl", "predictions.csv", "evaluation.json")}
    for path in (tmp_path / "results" / "run").iterdir():
        assert str(tmp_path) not in path.read_text()
    publish(run, tmp_path / "results", external=True)
    published = tmp_path / "results" / "run" / "external"
    assert [place.name for place in published.iterdir()] == ["busi"]  # a clinic's ids stay where they are
    assert (published / "busi" / "predictions.csv").exists()
