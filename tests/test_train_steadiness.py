"""How often calls change under small changes of a scan: the changes, the rows of a run, and the figures by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import copied
from sklearn.metrics import roc_auc_score

from rcdnet.errors import DatasetError
from rcdnet.reading.inference import classify
from train.__main__ import main
from train.data.load_images import read_pixels
from train.data.splits import Split
from train.studies.held_out import study_input
from train.studies.perturbations import BORDER, MARK, PERTURBATIONS, cropped, in_viewer, relit, with_calipers
from train.studies.steadiness import AS_IT_IS, ROWS_FILE, PerturbedRow, measure_steadiness, steadiness

BOX = (200, 120, 90, 60)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_change_is_a_scan_again_the_same_each_time(name, phantom):
    before = phantom.copy()
    changed = PERTURBATIONS[name](phantom, BOX)
    assert changed.dtype == np.uint8
    assert changed.ndim == 2
    assert changed.shape != phantom.shape or (changed != phantom).any()
    np.testing.assert_array_equal(changed, PERTURBATIONS[name](phantom, BOX))
    np.testing.assert_array_equal(phantom, before)


def test_the_changes_do_what_they_are_called(phantom):
    height, width = phantom.shape
    np.testing.assert_array_equal(PERTURBATIONS["mirror image"](phantom, None)[:, ::-1], phantom)
    np.testing.assert_array_equal(cropped(phantom, None, 0.05), phantom[22:-22, 26:-26])
    assert PERTURBATIONS["stretched by 10 %"](phantom, None).shape == (height, round(width * 1.1))
    assert PERTURBATIONS["half size"](phantom, None).shape == (height // 2, width // 2)
    np.testing.assert_array_equal(PERTURBATIONS["black border"](phantom, None)[110:-110, 130:-130], phantom)
    grey = np.full((8, 8), 128, np.uint8)
    assert relit(grey, None, 0.8)[0, 0] == round(255 * (128 / 255) ** 0.8)
    assert relit(grey, None, 1.25)[0, 0] < 128
    viewer = in_viewer(phantom, None)
    np.testing.assert_array_equal(viewer[44:-44, 52:-52], phantom)
    assert viewer[60, 4] == BORDER
    assert (viewer[:40] == MARK).any()  # words above the scan
    marked = with_calipers(phantom, BOX)
    x, y, w, h = BOX
    assert [
        marked[row, column]
        for row, column in ((y + h // 2, x), (y + h // 2, x + w), (y, x + w // 2), (y + h, x + w // 2))
    ] == [MARK] * 4
    outside = np.ones_like(phantom, bool)
    outside[y - 20 : y + h + 20, x - 20 : x + w + 20] = False
    np.testing.assert_array_equal(marked[outside], phantom[outside])


@pytest.fixture(scope="module")
def measured(run, tmp_path_factory):
    """A run's validation images read by the command."""
    out = tmp_path_factory.mktemp("steadiness")
    assert main(["steadiness", "--models", str(run), "--out", str(out)]) == 0
    return out


def test_a_row_is_what_the_app_would_say_of_the_changed_image(run, measured):
    weights = study_input(str(run))
    rows = measure_steadiness([weights], measured)
    assert {row.id for row in rows} == set(Split.read(run / "split.json").validation)
    assert len(rows) == len(weights.samples) * (1 + len(PERTURBATIONS))
    sample = weights.samples[0]
    probabilities = {row.change: row.probability for row in rows if row.id == sample.id}
    pixels = read_pixels(sample)
    for change in (AS_IT_IS, "mirror image", "crop of 2 %"):
        scan = pixels if change == AS_IT_IS else PERTURBATIONS[change](pixels, None)
        assert probabilities[change] == pytest.approx(classify(scan, [weights.classifier])[0].p_malignant, abs=1e-9)
    table = (measured / "steadiness.md").read_text()
    assert table.count("\n") == 2 + len(PERTURBATIONS) * len({s.source for s in weights.samples})


def test_a_killed_study_goes_on_and_other_weights_are_not_mixed_in(run, measured, tmp_path):
    out = copied(measured, tmp_path / "killed")
    lines = (out / ROWS_FILE).read_text().splitlines(keepends=True)
    (out / ROWS_FILE).write_text(
        "".join(lines[:-5]) + lines[-5][:12]
    )  # in the middle of a line, in the middle of an image
    weights = study_input(str(run))
    again = measure_steadiness([weights], out)
    assert (out / ROWS_FILE).read_text() == "".join(lines)
    assert len(again) == len(lines) - 1
    other = replace(weights.classifier, card=replace(weights.classifier.card, sha256="0" * 64))
    with pytest.raises(DatasetError, match="Give another folder"):
        measure_steadiness([replace(weights, classifier=other)], out)
    with pytest.raises(DatasetError, match="share a name"):
        measure_steadiness([weights, weights], out)
    (out / ROWS_FILE).write_text("id\n1\n")
    with pytest.raises(DatasetError, match="holds no rows of steadiness"):
        measure_steadiness([weights], out)


def row(number: int, group: int, label: int, change: str, probability: float) -> PerturbedRow:
    return PerturbedRow(
        "w", "0" * 64, "rcdnet", False, "mine", f"mine/{number}", group, label, 0.5, change, probability
    )


def test_the_figures_by_hand():
    rng = np.random.default_rng(1)
    labels, groups = np.tile([0, 1], 20), np.repeat(np.arange(20), 2) * 2 + np.tile([0, 1], 20)
    before = rng.uniform(size=40)
    after = np.where(np.arange(40) % 5 == 0, 1 - before, before)
    rows = [row(k, int(groups[k]), int(labels[k]), AS_IT_IS, before[k]) for k in range(40)]
    rows += [row(k, int(groups[k]), int(labels[k]), "mirror image", after[k]) for k in range(40)]
    rows += [row(k, int(groups[k]), int(labels[k]), "half size", before[k]) for k in range(40)]
    mirrored, halved = steadiness(rows)
    assert mirrored.change == "mirror image"
    assert mirrored.flips.value == np.mean((before >= 0.5) != (after >= 0.5)) == 8 / 40
    assert mirrored.flips.low < 0.2 < mirrored.flips.high
    assert mirrored.auc.first == pytest.approx(roc_auc_score(labels, before))
    assert mirrored.auc.second == pytest.approx(roc_auc_score(labels, after))
    assert (halved.flips.value, halved.flips.low) == (0, 0)
    assert 0.05 < halved.flips.high < 0.2  # none of forty proves none
    assert halved.auc.p == 1


def test_few_patients_have_no_interval():
    rows = [row(k, k, k % 2, change, 0.1 + 0.2 * k) for k in range(4) for change in (AS_IT_IS, "half size")]
    (found,) = steadiness(rows)
    assert math.isnan(found.flips.low)
