"""A run's figures: its own evaluation, external tests, comparisons, and the weights that the app would load."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY, copied
from sklearn.metrics import roc_auc_score

from rcdnet.calibration import Calibration
from rcdnet.card import ModelCard
from rcdnet.checkpoint import load_checkpoint
from rcdnet.errors import DatasetError, NotTrained
from rcdnet.registry import MODELS
from train.__main__ import main
from train.data.splits import Split
from train.evaluate.assess import evaluate_elsewhere, overlap, points_at
from train.evaluate.calibrate import operating_point
from train.evaluate.evaluation import read_evaluation
from train.evaluate.pool import pool
from train.evaluate.predictions import read_predictions
from train.evaluate.records import publish
from train.evaluate.ship import ship
from train.files import append_line
from train.fit.events import Failed, line_of
from train.results.bundle import own_results


def calibration_of(evaluation: dict) -> Calibration:
    return Calibration(**evaluation["calibration"] | {"box": tuple(evaluation["calibration"]["box"])})


def point_of(rows, box=(), alike=False):
    evidence = np.array([[row.logit, row.vote, row.score] for row in rows])
    labels, sources = np.array([row.label for row in rows]), np.array([row.source for row in rows])
    return operating_point(labels, evidence, sources, tuple(np.array(box).tolist()), alike=alike)


def test_predictions_are_of_the_validation_side_and_give_the_figures(run):
    rows = read_predictions(run / "predictions.csv")
    assert [row.id for row in rows] == list(Split.read(run / "split.json").validation)
    evaluation = json.loads((run / "evaluation.json").read_text())
    for row in rows:
        expected = calibration_of(evaluation).probability(row.logit, row.vote, row.score)
        assert row.probability == pytest.approx(expected)
        assert row.marks is True  # every phantom says SYNTHETIC
    first = evaluation["sets"][0]
    members = [row for row in rows if row.source == first["name"]]
    labels, scores = np.array([r.label for r in members]), np.array([r.probability for r in members])
    assert first["figures"]["auc"]["value"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert first["figures"]["sensitivity"]["value"] == (scores[labels == 1] >= evaluation["threshold"]).mean() >= 0.95
    assert "chosen here" in first["role"]
    assert {row.pointing for row in rows} <= {True, False}
    assert all(0 <= row.dice <= 1 for row in rows)


def test_a_map_points_where_it_is_highest_and_nowhere_where_nothing_is_positive():
    lesion = np.zeros((64, 64), np.uint8)
    lesion[:20, 44:] = 1
    evidence = np.full((4, 4), -1.0)
    assert not points_at(evidence, lesion)
    evidence[0, 3] = 0.5
    assert points_at(evidence, lesion)
    assert not points_at(evidence, 1 - lesion)
    evidence[2, 1] = 0.6
    assert not points_at(evidence, lesion)


def test_evaluate_and_ship_make_what_the_app_loads(run, tmp_path, capsys):
    out = copied(run, tmp_path / "run")
    (out / "evaluation.json").unlink()
    assert main(["evaluate", str(out)]) == 0
    assert (out / "evaluation.json").read_bytes() == (run / "evaluation.json").read_bytes()
    card = ship(out, weights_folder=tmp_path / "weights", results_folder=tmp_path / "results")
    assert (tmp_path / "weights" / "mobilenetv2.safetensors").stat().st_size < 1.2 * 2 * MODELS[
        "mobilenetv2"
    ].parameters
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert (card.calibration, card.threshold) == (calibration_of(evaluation), evaluation["threshold"])
    assert card.validation[0].auc == evaluation["sets"][0]["figures"]["auc"]["value"]
    assert "DIR" in card.training_command
    assert "--epochs 3" in card.training_command
    if card.answers:
        assert load_checkpoint("mobilenetv2", tmp_path / "weights")[1] == card
    else:
        with pytest.raises(NotTrained):
            load_checkpoint("mobilenetv2", tmp_path / "weights")
    (out / "evaluation.json").write_text((out / "evaluation.json").read_text().replace(card.sha256, "0" * 64))
    with pytest.raises(DatasetError, match="is of other weights"):
        ship(out, weights_folder=tmp_path / "weights", results_folder=tmp_path / "results")


def test_overlap_is_dice():
    lesion = np.zeros((64, 64), np.uint8)
    lesion[16:48, 16:48] = 1
    outline = np.zeros((64, 64))
    outline[16:48, 32:64] = 0.9
    assert overlap(outline, lesion) == pytest.approx(0.5)
    assert overlap(lesion.astype(float), lesion) == 1
    assert overlap(np.zeros((16, 16)), lesion) == 0


def test_an_external_test_leaves_out_what_the_run_knows(run, busi, tmp_path, capsys):
    place = tmp_path / "clinic"
    for name in ("benign", "malignant"):
        (place / name).mkdir(parents=True)
    from train.data.phantoms import write_dataset

    write_dataset(tmp_path / "new", 4, seed=8)
    for path in (tmp_path / "new").rglob("*).png"):
        shutil.copy(path, place / path.parent.name)
    shutil.copy(busi / "benign" / "benign (2).png", place / "benign" / "seen.png")
    out = copied(run, tmp_path / "run")
    assert main(["evaluate", str(out), "--data", f"folder={place}"]) == 0
    assert "Left out: clinic/benign/seen.png: the run knows it, or a near-copy of it" in capsys.readouterr().out
    folder = out / "external" / "clinic"
    rows = read_predictions(folder / "predictions.csv")
    assert len(rows) == 8
    assert "seen" not in " ".join(row.id for row in rows)
    inside = json.loads((out / "evaluation.json").read_text())
    outside = json.loads((folder / "evaluation.json").read_text())
    assert (outside["threshold"], outside["calibration"]) == (inside["threshold"], inside["calibration"])
    assert outside["left_out"] == ["clinic/benign/seen.png: the run knows it, or a near-copy of it"]
    assert "nothing was chosen here" in outside["sets"][0]["role"]
    with pytest.raises(DatasetError, match="was used in training"):
        evaluate_elsewhere(out, [("busi", str(busi))])


def test_bundled_weights_are_evaluated_too(busi, tmp_path, capsys, monkeypatch):
    file = ROOT / "assets" / "weights" / "rcdnet.safetensors"
    assert main(["evaluate", str(file), "--data", f"busi={busi}"]) == 1
    assert "Give one with --out" in capsys.readouterr().err
    assert main(["evaluate", str(file), "--data", f"busi={busi}", "--out", str(tmp_path / "f")]) == 0
    monkeypatch.setattr("train.evaluate.assess.RUNS_FOLDER", tmp_path / "runs")
    assert main(["evaluate", "rcdnet", "--data", f"busi={busi}"]) == 0
    place = tmp_path / "runs" / "bundled-rcdnet" / "external" / "busi"
    assert (place / "predictions.csv").read_bytes() == (tmp_path / "f" / "predictions.csv").read_bytes()
    assert "was not checked" in json.loads((place / "evaluation.json").read_text())["sets"][0]["role"]
    own, missing = own_results(tmp_path / "runs")
    assert (list(own), missing) == (["bundled-rcdnet on busi"], {})


def test_compare_prints_runs_and_their_test(run, tmp_path, capsys):
    other = copied(run, tmp_path / "other")
    said = json.loads((other / "evaluation.json").read_text())
    (other / "evaluation.json").write_text(json.dumps(said | {"weights_sha256": ["0" * 64]}))
    assert main(["compare", str(run), str(other)]) == 0
    printed = capsys.readouterr().out
    assert "| whole | mobilenetv2 |" in printed
    assert "| other | mobilenetv2 |" in printed
    assert "difference +0.000 [+0.000, +0.000], p 1.000" in printed
    assert main(["compare", str(run), str(copied(run, tmp_path / "again"))]) == 0  # the same weights: nothing to test
    assert "difference" not in capsys.readouterr().out
    assert main(["compare", str(tmp_path)]) == 1
    assert "python -m train evaluate RUN" in capsys.readouterr().err


def test_evaluating_an_unfinished_run_says_how_to_go_on(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "holds no weights yet" in capsys.readouterr().err


def test_best_weights_that_are_not_the_runs_own_are_refused(run, tmp_path, capsys):
    out = copied(run, tmp_path / "run")
    about = json.loads((out / "best.json").read_text())
    (out / "best.json").write_text(json.dumps(about | {"epoch": about["epoch"] + 1}))
    assert main(["evaluate", str(out)]) == 1
    assert "are not those of epoch" in capsys.readouterr().err
    (out / "best.json").write_text(json.dumps(about | {"preprocessing": "another"}))
    assert main(["ship", str(out)]) == 1
    assert "was made for preprocessing another" in capsys.readouterr().err
    (out / "best.json").write_text(json.dumps(about))
    (out / "predictions.csv").write_bytes((out / "predictions.csv").read_bytes()[:-30])
    assert main(["compare", str(out), str(run)]) == 1
    assert "python -m train evaluate RUN" in capsys.readouterr().err


@pytest.fixture(scope="module")
def folds(run, data, tmp_path_factory) -> list[Path]:
    """Runs of one recipe that validate on different images: of the three epochs' run, one epoch each."""
    place, runs = tmp_path_factory.mktemp("folds"), []
    for fold in (1, 2):
        out = place / f"fold{fold}"
        assert main(["fit", *TINY, *data, *part(fold), "--out", str(out)]) == 0
        runs.append(out)
    return runs


def part(fold: int) -> list[str]:
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
    assert set(pooled.sets[0].held_out) == {"auc", "ece", "sensitivity", "specificity"}
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


def test_shipping_with_folds_takes_their_figures_and_keeps_their_records(folds, run, data, tmp_path, capsys):
    final = tmp_path / "final"
    changes = ["--epochs", "1", "--split", "all", "--folds", "2", "--keep", "last"]
    assert main(["fit", *TINY, *data, *changes, "--out", str(final)]) == 0
    places = {"weights_folder": tmp_path / "weights", "results_folder": tmp_path / "results"}
    card = ship(final, folds, **places)
    pooled = read_evaluation(tmp_path / "results" / "final-folds" / "evaluation.json")
    assert (card.threshold, card.calibration) == (pooled.threshold, pooled.calibration)
    assert [f.data for f in card.validation] == ["BUS-BRA, parts 1, 2 of 2", "BUSI, parts 1, 2 of 2"]
    assert [f.data for f in card.folds][:2] == ["BUS-BRA, part 1 of 2", "BUSI, part 1 of 2"]
    assert card.operating_points[1].threshold == pytest.approx(card.threshold)
    assert card.recipe["epochs"] == 1
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
    again = []
    for number, fold in enumerate(folds, 1):
        again.append(tmp_path / f"again-{fold.name}")
        fixed = [*part(number), "--seed", "1", "--split-file", str(fold / "split.json")]
        assert main(["fit", *TINY, *data, *fixed, "--out", str(again[-1])]) == 0
    card = ship(final, [*folds, *again], **places)
    assert [f.data for f in card.validation] == ["BUS-BRA, parts 1, 2 of 2", "BUSI, parts 1, 2 of 2"]
    assert [f.data for f in card.seeds] == ["BUS-BRA, parts 1, 2 of 2, seed 1", "BUSI, parts 1, 2 of 2, seed 1"]
    other = read_evaluation(tmp_path / "results" / "final-seed1-folds" / "evaluation.json")
    assert [f.auc for f in card.seeds] == [s.figures["auc"].value for s in other.sets]
    assert (card.threshold, card.calibration) == (pooled.threshold, pooled.calibration)
    assert not {fold.name for fold in again} & {path.name for path in (tmp_path / "results").iterdir()}
    before = {path: path.read_bytes() for path in tmp_path.glob("[rw]*/**/*.*")}
    with pytest.raises(DatasetError, match="validate only in final-folds or only in final-seed1-folds"):
        ship(final, [*folds, again[0]], **places)
    with pytest.raises(DatasetError, match="No fold has the seed of the weights to be shipped, 0"):
        ship(final, again, **places)
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
    stale = copied(folds[0], tmp_path / "stale")
    evaluation = json.loads((stale / "evaluation.json").read_text())
    (stale / "evaluation.json").write_text(json.dumps(evaluation | {"weights_sha256": ["0" * 64]}))
    with pytest.raises(DatasetError, match="is of other weights"):
        ship(final, [stale], **places)
    assert before == {path: path.read_bytes() for path in tmp_path.glob("[rw]*/**/*.*")}  # a refusal changes nothing


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
