"""A run's figures: its own evaluation, external tests, comparisons, and the weights that the app would load."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, TINY, copied
from sklearn.metrics import roc_auc_score

from rcdnet.errors import DatasetError, NotTrained
from rcdnet.models.calibration import Calibration
from rcdnet.models.checkpoint import load_checkpoint
from rcdnet.models.registry import MODELS
from train.__main__ import main
from train.data.phantoms import write_dataset
from train.data.splits import Split
from train.evaluate.external_test import evaluate_external, external_test_folder
from train.evaluate.network_outputs import dice_score, pointing_game_hit
from train.evaluate.predictions import read_predictions
from train.publish.ship import ship
from train.results.load_results import load_user_results


def calibration_of(evaluation: dict) -> Calibration:
    return Calibration(**evaluation["calibration"] | {"box": tuple(evaluation["calibration"]["box"])})


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
    assert not pointing_game_hit(evidence, lesion)
    evidence[0, 3] = 0.5
    assert pointing_game_hit(evidence, lesion)
    assert not pointing_game_hit(evidence, 1 - lesion)
    evidence[2, 1] = 0.6
    assert not pointing_game_hit(evidence, lesion)


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
    assert dice_score(outline, lesion) == pytest.approx(0.5)
    assert dice_score(lesion.astype(float), lesion) == 1
    assert dice_score(np.zeros((16, 16)), lesion) == 0


def test_an_external_test_leaves_out_what_the_run_knows(run, busi, tmp_path, capsys):
    place = tmp_path / "clinic"
    for name in ("benign", "malignant"):
        (place / name).mkdir(parents=True)
    write_dataset(tmp_path / "new", 4, seed=8)
    for path in (tmp_path / "new").rglob("*).png"):
        shutil.copy(path, place / path.parent.name)
    shutil.copy(busi / "benign" / "benign (2).png", place / "benign" / "seen.png")
    out = copied(run, tmp_path / "run")
    assert main(["evaluate", str(out), "--data", f"folder={place}"]) == 0
    assert "Left out: clinic/benign/seen.png: it, or a near-copy of it, is in the run's data" in capsys.readouterr().out
    folder = out / "external" / "clinic"
    rows = read_predictions(folder / "predictions.csv")
    assert len(rows) == 8
    assert "seen" not in " ".join(row.id for row in rows)
    inside = json.loads((out / "evaluation.json").read_text())
    outside = json.loads((folder / "evaluation.json").read_text())
    assert (outside["threshold"], outside["calibration"]) == (inside["threshold"], inside["calibration"])
    assert outside["left_out"] == ["clinic/benign/seen.png: it, or a near-copy of it, is in the run's data"]
    assert "nothing was chosen here" in outside["sets"][0]["role"]
    with pytest.raises(DatasetError, match="was used in training"):
        evaluate_external(out, [("busi", str(busi))])
    for number, path in enumerate(sorted(place.rglob("*).png"))):  # another clinic's, in a folder of the same name
        path.rename(path.with_name(f"visit {number}.png"))
    with pytest.raises(DatasetError, match="external/clinic holds a test on other images"):
        evaluate_external(out, [("folder", str(place))])


def test_an_external_test_leaves_out_the_patients_of_a_table_that_the_run_read(busi, tmp_path):
    """Only BUS-BRA's were; a table is the one format of one's own that knows patients."""
    table = tmp_path / "visits.csv"
    images = sorted(busi.rglob("*).png"))
    rows = [f"{path},{path.parent.name},p{k // 2}" for k, path in enumerate(images)]
    table.write_text("\n".join(["path,label,patient", *rows]))
    out = tmp_path / "run"
    assert main(["fit", *TINY, "--epochs", "1", "--data", f"folder={table}", "--out", str(out)]) == 0
    write_dataset(tmp_path / "later", 4, seed=8)
    later = sorted((tmp_path / "later").rglob("*).png"))
    rows += [f"{path},{path.parent.name},p{k % 3 if k < 3 else 90 + k}" for k, path in enumerate(later)]
    table.write_text("\n".join(["path,label,patient", *rows]))
    evaluation = evaluate_external(out, [("folder", str(table))])
    assert len(evaluation.left_out) == len(images) + 3
    assert sum("its patient is in the run's data" in reason for reason in evaluation.left_out) == 3
    assert sum(s.images for s in evaluation.sets) == len(later) - 3


def test_bundled_weights_are_evaluated_too(busi, tmp_path, capsys, monkeypatch):
    file = ROOT / "assets" / "weights" / "rcdnet.safetensors"
    assert main(["evaluate", str(file), "--data", f"busi={busi}"]) == 1
    assert "Give one with --out" in capsys.readouterr().err
    assert main(["evaluate", str(file), "--data", f"busi={busi}", "--out", str(tmp_path / "f")]) == 0
    monkeypatch.setattr("train.evaluate.external_test.RUNS_FOLDER", tmp_path / "runs")
    assert main(["evaluate", "rcdnet", "--data", f"busi={busi}"]) == 0
    place = tmp_path / "runs" / "bundled-rcdnet" / "external" / "busi"
    assert (place / "predictions.csv").read_bytes() == (tmp_path / "f" / "predictions.csv").read_bytes()
    assert "was not checked" in json.loads((place / "evaluation.json").read_text())["sets"][0]["role"]
    own, missing = load_user_results(tmp_path / "runs")
    assert (list(own), missing) == (["bundled-rcdnet on busi"], {})


def test_compare_prints_runs_and_their_test(run, tmp_path, capsys):
    other = copied(run, tmp_path / "other")
    message = json.loads((other / "evaluation.json").read_text())
    (other / "evaluation.json").write_text(json.dumps(message | {"weights_sha256": ["0" * 64]}))
    assert main(["compare", str(run), str(other)]) == 0
    printed = capsys.readouterr().out
    assert "| whole | mobilenetv2 |" in printed
    assert "| other | mobilenetv2 |" in printed
    assert "difference +0.000, no interval, p 1.000" in printed
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


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../elsewhere", "long" * 60, ""])
def test_a_test_has_a_folder_of_its_own_or_none(tmp_path, name):
    with pytest.raises(DatasetError, match=r"cannot be the name of a folder\. Give one for the figures with --out"):
        external_test_folder(tmp_path, [name])
    assert external_test_folder(tmp_path, ["clinic.2023", "busi"]) == tmp_path / "external" / "clinic.2023+busi"


def test_a_test_on_the_folder_above_is_called_by_its_name(run, tmp_path, monkeypatch):
    """It was written into the run itself, in place of its own evaluation."""
    out = copied(run, tmp_path / "run")
    write_dataset(tmp_path / "clinic.2024", 3, seed=77)
    (tmp_path / "clinic.2024" / "phantoms.csv").unlink()
    before = (out / "evaluation.json").read_bytes()
    monkeypatch.chdir(tmp_path / "clinic.2024" / "benign")
    evaluation = evaluate_external(out, [("folder", "..")])
    assert [s.name for s in evaluation.sets] == ["clinic.2024"]
    assert (out / "evaluation.json").read_bytes() == before
    assert [path.name for path in (out / "external").iterdir()] == ["clinic.2024"]
