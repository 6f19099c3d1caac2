"""What an evaluation says of its rows: figures, subgroups, references, the operating point, and models against each other."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from test_train_metrics import drawn

from rcdnet.models.calibration import Calibration
from train.evaluate.compare import compare_rows, table
from train.evaluate.evaluation_record import (
    Evaluation,
    metrics_by_source,
    read_evaluation,
    set_figures,
    write_evaluation,
)
from train.evaluate.predictions import PredictionRow, read_predictions, write_predictions
from train.metrics.calibration_and_threshold import operating_point, threshold_at_sensitivity
from train.metrics.classification import calibration_error, figures_of, group_means
from train.metrics.intervals import share_interval


def rows_of(labels, scores, groups, source="a") -> list[PredictionRow]:
    rng = np.random.default_rng(5)
    logits = np.log(scores / (1 - scores))
    return [
        PredictionRow(
            id=f"{source}/{k}", source=source, patient=None if group % 5 else f"{source}/p{group}", group=int(group),
            label=int(label), logit=float(logit), vote=0.0, score=0.0, probability=float(score),
            birads=int(2 + 2 * label + rng.integers(2)),
            device=("one", "two")[k % 2], marks=(True, False, None)[k % 3],
            lesion_share=float("nan") if k % 7 == 0 else float(rng.random()), box_score=float(rng.random()),
            pointing=(True, False, None, True)[k % 4], dice=float("nan") if k % 4 == 2 else 0.5 + (k % 4) / 10,
        )
        for k, (label, score, group, logit) in enumerate(zip(labels, scores, groups, logits, strict=True))
    ]  # fmt: skip


def test_predictions_come_back_as_they_were_written(tmp_path):
    rows = rows_of(*drawn(30))
    write_predictions(tmp_path / "p.csv", rows)
    again = read_predictions(tmp_path / "p.csv")
    assert repr(again) == repr(rows)  # nan is not equal to itself


def test_an_evaluation_holds_what_the_rows_say_and_comes_back(tmp_path):
    labels, scores, groups = drawn()
    rows = rows_of(labels, scores, groups) + rows_of(*drawn(200, seed=3), source="b")
    (a, b) = metrics_by_source(rows, 0.4, lambda source: f"role of {source}")
    assert (a.name, a.role, a.images, a.malignant, a.groups) == ("a", "role of a", 400, labels.sum(), 200)
    for name, value in figures_of(labels, scores, 0.4).items():
        estimate = a.figures[name]
        assert estimate.value == value
        assert estimate.low <= value <= estimate.high
    assert a.figures["ece"].value == calibration_error(labels, scores)
    assert math.isnan(a.figures["ece"].low)
    assert a.auc_by_group.value == pytest.approx(roc_auc_score(*group_means(labels, scores, groups)))
    assert a.figures["pointing"].value == pytest.approx(2 / 3)
    assert a.figures["dice"].value == pytest.approx((0.5 + 0.6 + 0.8) / 3)
    by_name = {g.name: g for g in a.subgroups}
    odd = np.arange(400) % 2 == 1
    assert by_name["scanner two"].images == 200
    assert by_name["scanner two"].auc.value == pytest.approx(roc_auc_score(labels[odd], scores[odd]))
    sick = odd & (labels == 1)
    found = by_name["scanner two"].sensitivity
    assert found.value == pytest.approx((scores[sick] >= 0.4).mean())
    assert (found.low, found.high) == share_interval(found.value, sick.sum())
    assert by_name["BI-RADS 2"].auc is None  # benign alone
    assert sum(by_name[f"lesion size: {third} third"].images for third in ("small", "middle", "large")) == 342
    assert by_name["with marks found by rule"].images == 134
    birads = np.array([row.birads for row in rows[:400]])
    assert a.references["BI-RADS category"].auc.value == pytest.approx(roc_auc_score(labels, birads))
    assert a.references["BI-RADS category"].model_auc.value == pytest.approx(a.figures["auc"].value)
    assert a.references["box geometry"].images == 400

    evaluation = Evaluation(
        "rcdnet", ("0" * 64,), 3, Calibration(1.5, box=(1.0, 2.0)), 0.4, "a rule", ("a",), "1" * 64, ("x",), (a, b)
    )
    write_evaluation(tmp_path / "evaluation.json", evaluation)
    assert repr(read_evaluation(tmp_path / "evaluation.json")) == repr(evaluation)
    printed = table([("mine", evaluation)])
    assert f"| {a.figures['auc'].value:.3f} [{a.figures['auc'].low:.3f}, {a.figures['auc'].high:.3f}] |" in printed
    assert "| reference | BI-RADS category | a: 400 |" in printed


def test_finding_every_cancer_of_few_is_not_certainty():
    labels, scores, groups = drawn(60)
    found = set_figures("a", "", rows_of(labels, scores, groups), scores[labels == 1].min()).figures["sensitivity"]
    assert (found.value, found.high) == (1.0, 1.0)
    n = len(np.unique(groups[labels == 1]))
    assert found.low == pytest.approx(n / (n + 1.96**2), rel=1e-3)  # Wilson's lower end for n of n


def test_the_operating_point_uses_the_first_source_alone():
    labels, scores, _ = drawn()
    evidence = np.zeros((400, 3))
    evidence[:, 0] = np.log(scores / (1 - scores))
    sources = np.array(["a"] * 300 + ["b"] * 100)
    point = operating_point(labels, evidence, sources, ())
    assert (point.calibration.outline, point.calibration.shape) == (0, 0)
    calibrated = point.calibration.probability(*evidence.T)
    assert (calibrated[:300] >= point.threshold)[labels[:300] == 1].mean() >= 0.95
    assert point.threshold == pytest.approx(threshold_at_sensitivity(labels[:300], calibrated[:300], 0.95))
    assert (point.chosen_on, "95 % of the cancers" in point.rule) == (("a",), True)
    one_class = np.where(labels == 1, "sick", "well")
    assert set(operating_point(labels, evidence, one_class, ()).chosen_on) == {"sick", "well"}


def test_every_source_can_count_alike_in_the_calibration():
    """The smaller one as if it had as many images as the larger, which moves the calibration towards it."""
    labels, scores, _ = drawn()
    evidence = np.zeros((400, 3))
    evidence[:, 0] = np.log(scores / (1 - scores)) + np.where(np.arange(400) < 300, 0.0, 1.5)
    sources = np.array(["a"] * 300 + ["b"] * 100)
    rows = np.concatenate([np.arange(300), np.repeat(np.arange(300, 400), 3)])
    alike = operating_point(labels, evidence, sources, (), alike=True).calibration.probability(*evidence.T)
    as_many = operating_point(labels[rows], evidence[rows], sources[rows], ()).calibration.probability(*evidence.T)
    assert alike == pytest.approx(as_many, abs=0.01)
    images = operating_point(labels, evidence, sources, ()).calibration.probability(*evidence.T)
    assert np.abs(alike - images).mean() > 0.03


def test_models_are_compared_on_the_same_images_only():
    labels, scores, groups = drawn()
    first = rows_of(labels, scores, groups)
    second = [dataclasses.replace(row, probability=row.probability**2 * 0.9) for row in reversed(first)]
    compared = compare_rows(first, second)
    mean_labels, mean_scores = group_means(labels, scores, groups)
    assert compared.first == pytest.approx(roc_auc_score(mean_labels, mean_scores))
    assert compare_rows(first, second[1:]) is None


def test_a_set_without_a_reference_has_none():
    labels, scores, groups = drawn(60)
    bare = [
        dataclasses.replace(
            row, birads=None, device=None, marks=None, lesion_share=math.nan, box_score=math.nan, pointing=None
        )
        for row in rows_of(labels, scores, groups)
    ]
    figures = set_figures("a", "", bare, 0.5)
    assert (figures.references, figures.subgroups) == ({}, ())
    assert math.isnan(figures.figures["pointing"].value)
