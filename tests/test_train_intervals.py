"""No figure is certain because it is of few images, or of images without a mistake among them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from test_train_evaluation import rows_of
from test_train_metrics import drawn

from rcdnet.models.calibration import Calibration
from train.evaluate.compare import delong_lines, table
from train.evaluate.evaluation_record import Evaluation, SetMetrics, set_figures, write_evaluation
from train.evaluate.predictions import write_predictions
from train.metrics.classification import area_under_roc
from train.metrics.delong import compare_auc
from train.metrics.intervals import MINIMUM_GROUPS, auc_score_interval, share_interval
from train.results.bundle import Bundle, Result
from train.results.sections import SECTIONS
from train.results.tables import in_a_sentence
from train.studies.heatmap_records import MapRow
from train.studies.heatmap_records import figures as map_figures

SETS = {
    "two scans, both right": ([0, 1], [0.1, 0.9]),
    "two scans, both wrong": ([0, 1], [0.9, 0.1]),
    "ten scans, all right": ([0, 1] * 5, [0.1, 0.9] * 5),
    "forty scans, all right": ([0, 1] * 20, [0.1, 0.9] * 20),
    "forty scans, all wrong": ([0, 1] * 20, [0.9, 0.1] * 20),
    "forty scans with one score": ([0, 1] * 20, [0.7] * 40),
    "one cancer among forty": ([1] + [0] * 39, [0.9] + [0.1] * 39),
    "four scans, one wrong": ([0, 0, 1, 1], [0.1, 0.6, 0.8, 0.9]),
}


def figures_of(labels, scores, groups=None) -> SetMetrics:
    labels, scores = np.array(labels), np.array(scores, float)
    return set_figures("own", "", rows_of(labels, scores, np.arange(len(labels)) if groups is None else groups), 0.5)


@pytest.mark.parametrize("name", SETS)
def test_no_interval_is_a_point(name):
    s = figures_of(*SETS[name])
    for key, e in (s.figures | {"by group": s.auc_by_group}).items():
        assert math.isnan(e.low) == math.isnan(e.high), key
        assert math.isnan(e.low) or (0 <= e.low <= e.value <= e.high <= 1 and e.high - e.low > 0.01), key
    for e in (s.figures["auc"], s.auc_by_group):
        assert not math.isnan(e.low)  # the card of weights holds it


def test_a_figure_at_its_bound_counts_patients_and_not_images():
    labels, scores = SETS["forty scans, all right"]
    pairs = figures_of(labels, scores, groups=[k // 4 * 2 + k % 2 for k in range(40)])  # two images of each patient
    assert (pairs.groups, pairs.images) == (20, 40)
    low = {name: e.low for name, e in pairs.figures.items()}
    assert low["accuracy"] == share_interval(1, 20)[0]
    assert low["sensitivity"] == low["precision"] == low["average_precision"] == share_interval(1, 10)[0]
    assert low["specificity_at_95"] == low["precision_benign"] == share_interval(1, 10)[0]
    # F1 is 2 J / (1 + J) of J = TP / (TP + FP + FN), here 10 patients of 10.
    share = share_interval(1, 10)[0]
    assert low["f1"] == low["f1_macro"] == pytest.approx(2 * share / (1 + share))
    assert low["recall_macro"] == pytest.approx((low["sensitivity"] + low["specificity"]) / 2)
    assert low["auc"] == auc_score_interval(1, 10, 10)[0] == pairs.auc_by_group.low
    assert math.isnan(low["brier"])  # no method is known for it, and no resample differs


def test_the_score_interval_of_an_auc():
    """Its ends are the areas from which the observed one lies 1.96 of Hanley and McNeil's standard errors away."""
    for auc, m, n in ((1.0, 5, 5), (0.93, 12, 30), (0.5, 4, 40), (0.0, 3, 2)):
        for end in auc_score_interval(auc, m, n):
            if 0 < end < 1:
                others = (m + n) / 2 - 1
                q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
                variance = (end * (1 - end) + others * (q1 - end**2 + q2 - end**2)) / (m * n)
                assert abs(auc - end) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)
    low, high = auc_score_interval(0.8, 7, 9)
    assert auc_score_interval(0.2, 7, 9) == pytest.approx((1 - high, 1 - low))
    assert auc_score_interval(1.0, 1, 1)[0] == pytest.approx(share_interval(1, 1)[0], abs=1e-6)  # one pair is one trial


def test_the_score_interval_holds_the_true_area_of_small_sets_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    distance, labels = 2.326, np.repeat([1, 0], 8)  # an area of 0.95; of 8 and 8 a quarter are ranked without a mistake
    held = perfect = 0
    for _ in range(600):
        auc = area_under_roc(labels, expit(rng.normal(labels * distance)))
        low, high = auc_score_interval(auc, 8, 8)
        held += low <= 0.95 <= high
        perfect += auc == 1
    assert perfect > 100  # of which a bootstrap would be certain
    assert held / 600 > 0.93


def test_of_few_patients_nothing_is_resampled_and_the_tables_say_so():
    s = figures_of(*SETS["four scans, one wrong"])
    assert s.groups < MINIMUM_GROUPS
    assert (s.figures["accuracy"].value, math.isnan(s.figures["accuracy"].low)) == (0.75, True)
    assert s.figures["sensitivity"].low == share_interval(1, 2)[0]
    evaluation = Evaluation("rcdnet", ("0" * 64,), 1, Calibration(), 0.5, "a rule", ("own",), "1" * 64, (), (s,))
    last = table([("mine", evaluation)]).splitlines()[-1]
    assert last.startswith(
        "mine: no interval of precision (macro), recall (macro), F1 (macro), accuracy, specificity, "
    )
    assert last.endswith("on own: 4 patients or groups are too few.")
    assert "no interval" not in table(
        [("mine", replace(evaluation, sets=(set_figures("a", "", rows_of(*drawn(60)), 0.4),)))]
    )


def test_the_results_page_shows_a_result_whose_figures_have_no_interval():
    rows = tuple(rows_of(np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.8, 0.9]), np.arange(4)))
    s = set_figures("own", "external: nothing was chosen here", rows, 0.5)
    # Of an older release
    bare = replace(s, figures=s.figures | {"auc": replace(s.figures["auc"], low=math.nan, high=math.nan)})
    result = Result("mine", "vit", "own, external test", bare, rows, "a rule", external=True)
    ((block,),) = SECTIONS["Overview"](Bundle({}, (), (), (), (), {}, {}), [result])
    (auc,) = (row for row in block.table if row[""] == "AUC")
    assert auc["mine"] == "1.000"
    assert "mine has no interval of precision (macro)" in block.text
    assert "4 patients or groups are too few." in block.text
    assert block.csv.splitlines()[1] == "mine,mine,1.0,,"
    assert block.figure.layout.xaxis.range == (0.97, 1.005)
    assert in_a_sentence([result]).endswith("malignant (AUC 1.00).")


def test_evaluations_are_valid_json_whatever_is_undefined(tmp_path):
    s = figures_of(*SETS["two scans, both right"])
    write_evaluation(
        tmp_path / "e.json", Evaluation("rcdnet", ("0" * 64,), 1, Calibration(), 0.5, "", (), "1" * 64, (), (s,))
    )

    def refuse(constant: str):
        raise AssertionError(constant)

    json.loads((tmp_path / "e.json").read_text(), parse_constant=refuse)


def test_two_models_that_rank_alike_are_not_proven_equal(tmp_path):
    labels = np.array([0, 0, 1, 1, 1])
    compared = compare_auc(labels, labels * 0.8, labels * 0.5 + np.linspace(0, 0.01, 5))
    assert (compared.difference, compared.p) == (0, 1)
    assert math.isnan(compared.interval[0])
    rows = rows_of(labels, labels * 0.8 + 0.1, np.arange(5))
    folders, evaluations = [tmp_path / "a", tmp_path / "b"], []
    for k, folder in enumerate(folders):
        folder.mkdir()
        digest = write_predictions(folder / "predictions.csv", rows)
        s = set_figures("a", "", rows, 0.5)
        evaluations.append(
            (folder.name, Evaluation("vit", (f"{k}" * 64,), 1, Calibration(), 0.5, "", (), digest, (), (s,)))
        )
    (line,) = delong_lines(folders, evaluations)
    assert line.endswith("difference +0.000, no interval, p 1.000")


def test_maps_that_all_point_at_their_lesion_are_not_certain_to():
    def row(k: int) -> MapRow:
        return MapRow(
            id=f"busi/{k}", source="busi", group=k, label=1, weights="run", model="vit", seen=False, probability=0.9,
            method="Grad-CAM", pointing=True, chance=0.2, energy=0.5, ratio=2.0, iou=0.5, dice=0.6, best_iou=0.5, best_dice=0.6,
        )  # fmt: skip

    (found,) = map_figures([row(k) for k in range(12)])
    assert (found.figures["pointing"].low, found.figures["pointing"].high) == share_interval(1, 12)
    assert math.isnan(found.figures["iou"].low)  # the same everywhere, so nothing is known of its spread
