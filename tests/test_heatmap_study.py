"""Heatmaps of whole sets: resumed after a kill, measured as single maps are, nothing mixed."""

import json
import math
import re
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
from conftest import ROOT, copied

from rcdnet.errors import DatasetError
from rcdnet.explain.localisation import localise
from rcdnet.models.registry import CLASSES
from rcdnet.reading.heatmaps import RANDOM_BASELINE
from train.data.load_images import read_lesion, read_pixels
from train.data.splits import Split
from train.evaluate.figure_columns import format_estimate
from train.results.heatmap_report import galleries
from train.studies.heatmap_records import (
    CENTRE,
    FIGURES,
    MAPS_FILE,
    SETTINGS_FILE,
    MapRow,
    add_rows,
    figures,
    read_figures,
    read_rows,
    read_settings,
    write_figures,
)
from train.studies.heatmap_study import measure_heatmaps
from train.studies.held_out import study_input

METHODS = ["Grad-CAM", "EigenCAM"]


def heatmaps(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "train", "heatmaps", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def measured(run, tmp_path_factory):
    """A run's validation images measured by the command itself."""
    out = tmp_path_factory.mktemp("study") / "maps"
    done = heatmaps("--models", run, "--methods", *METHODS, "--examined", 1, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "images" in done.stderr  # the bar, with its rate
    assert done.stdout.strip().endswith("heatmaps.html")
    return out


def test_only_validation_images_are_measured_each_with_its_methods_and_floors(run, measured):
    rows = read_rows(measured / MAPS_FILE)
    assert {row.id for row in rows} == set(Split.read(run / "split.json").validation)
    for i in {row.id for row in rows}:
        assert [row.method for row in rows if row.id == i] == [*METHODS, RANDOM_BASELINE, CENTRE]
    assert not any(row.seen for row in rows)
    examined = {row.id for row in rows if not math.isnan(row.road)}
    assert len(examined) == 2  # one of each source
    assert {row.method for row in rows if not math.isnan(row.insertion)} == {*METHODS, RANDOM_BASELINE, CENTRE}


def test_a_row_is_what_the_app_would_say_of_the_image(run, measured):
    weights = study_input(str(run), located=True)
    row = next(r for r in read_rows(measured / MAPS_FILE) if r.method == "Grad-CAM" and r.label == 1)
    sample = next(s for s in weights.samples if s.id == row.id)
    from rcdnet.reading.inference import classify

    pixels = read_pixels(sample)
    (prediction,) = classify(pixels, [weights.classifier])
    found = localise(prediction.heat(CLASSES[1]), read_lesion(sample, pixels.shape))
    assert row.probability == pytest.approx(prediction.p_malignant, rel=1e-4)
    assert (row.pointing, row.iou, row.ratio) == (
        found.pointing,
        pytest.approx(found.iou, rel=1e-4),
        pytest.approx(found.ratio, rel=1e-4),
    )


def test_a_killed_study_goes_on_and_ends_the_same(run, measured, tmp_path):
    out = copied(measured, tmp_path / "killed")
    whole = (out / MAPS_FILE).read_text()
    lines = whole.splitlines(keepends=True)
    # In the middle of a line, in the middle of an image
    (out / MAPS_FILE).write_text("".join(lines[:-7]) + lines[-7][:20])
    weights = [study_input(str(run), located=True)]
    measure_heatmaps(weights, out, METHODS, 1)
    again, before = read_rows(out / MAPS_FILE), read_rows(measured / MAPS_FILE)
    assert [(row.id, row.method) for row in again] == [(row.id, row.method) for row in before]
    for a, b in zip(again, before, strict=True):  # the command has another number of threads
        assert (a.iou, a.ratio, a.road) == pytest.approx((b.iou, b.ratio, b.road), rel=1e-2, abs=1e-4, nan_ok=True)


def test_other_settings_are_not_mixed_in(run, measured):
    with pytest.raises(DatasetError, match="Give another folder"):
        measure_heatmaps([study_input(str(run), located=True)], measured, ["Grad-CAM"], 1)
    with pytest.raises(DatasetError, match="no method"):
        measure_heatmaps([study_input(str(run), located=True)], measured, ["NoCAM"], 1)
    settings = (measured / SETTINGS_FILE).read_text()
    for broken in ("{", "[]", '{"weights": 1}', '{"methods": []}'):
        (measured / SETTINGS_FILE).write_text(broken)
        with pytest.raises(DatasetError, match="does not say which weights it measured"):
            measure_heatmaps([study_input(str(run), located=True)], measured, METHODS, 1)
    (measured / SETTINGS_FILE).write_text(settings)
    first = study_input(str(run), located=True)
    other = replace(first.classifier, card=replace(first.classifier.card, sha256="0" * 64))
    with pytest.raises(DatasetError, match="Give another folder"):
        measure_heatmaps([replace(first, classifier=other)], measured, METHODS, 1)


def test_other_images_are_not_mixed_in(run, measured):
    weights, before = study_input(str(run), located=True), (measured / MAPS_FILE).read_bytes()
    with pytest.raises(DatasetError, match="maps of other images"):
        measure_heatmaps(
            [replace(weights, samples=weights.samples[1:], groups=weights.groups[1:])], measured, METHODS, 1
        )
    assert (measured / MAPS_FILE).read_bytes() == before  # a refusal leaves what was measured


def test_images_that_the_starting_weights_may_know_count_as_seen(run, tmp_path):
    later = copied(run, tmp_path / "later")
    config = json.loads((later / "config.json").read_text())
    (later / "config.json").write_text(json.dumps(config | {"init": "bundled"}))
    assert not study_input(str(run), located=True).seen
    assert study_input(str(later), located=True).seen


def test_more_weights_join_a_study(run, measured, tmp_path):
    out = copied(measured, tmp_path / "joined")
    first = study_input(str(run), located=True)
    new = replace(first.samples[0], id="busi/new")
    second = replace(first, name="second", samples=(new,), groups=first.groups[:1])
    rows = measure_heatmaps([second], out, METHODS, 0)
    assert len(rows) == len(read_rows(measured / MAPS_FILE)) + len(METHODS) + 2
    assert set(read_settings(out).weights) == {run.name, "second"}


def test_more_images_of_a_study_are_examined(run, measured, tmp_path):
    out = copied(measured, tmp_path / "more")
    rows = measure_heatmaps([study_input(str(run), located=True)], out, METHODS, 2)
    assert sorted((row.id, row.method) for row in rows) == sorted(
        (r.id, r.method) for r in read_rows(measured / MAPS_FILE)
    )
    before, after = (
        {r.id: r.road for r in every if r.road == r.road and r.method == "Grad-CAM"}
        for every in (read_rows(measured / MAPS_FILE), rows)
    )
    assert (len(before), len(after)) == (2, 4)
    assert before.items() <= after.items()  # not measured again


def test_runs_of_one_name_are_not_mixed(run, tmp_path):
    weights = study_input(str(run), located=True)
    with pytest.raises(DatasetError, match=f"Several weights are called {run.name}"):
        measure_heatmaps([weights, weights], tmp_path / "maps", METHODS, 0)


def test_bundled_models_need_data_and_say_that_they_may_have_seen_it():
    answer = heatmaps("--models", "mobilenetv2", "--out", "nowhere")
    assert answer.returncode == 1
    assert "Give some with --data" in answer.stderr


def test_the_report_holds_tables_plots_and_galleries(run, measured):
    page = (measured / "heatmaps.html").read_text()
    assert page.count("<figure><img") == 2 * min(6, len(read_rows(measured / MAPS_FILE)) // 4 // 2)
    own = re.sub(r"<script.*?</script>", "", page, flags=re.S)  # Plotly's own text names addresses
    assert not re.search(r"""(src|href)=["']http""", own)
    for f in read_figures(measured):
        assert format_estimate(f.figures["ratio"]) in page
    assert "[nan" not in own
    best, worst = galleries(study_input(str(run), located=True), read_rows(measured / MAPS_FILE))
    overlap = [[float(re.search(r"IoU ([\d.]+)", p.caption)[1]) for p in end] for end in (best, worst)]
    assert min(overlap[0]) >= max(overlap[1])


def test_figures_are_means_over_images_with_intervals_over_groups(tmp_path):
    nothing = dict.fromkeys(("chance", "energy", "dice", "best_iou", "best_dice"), 0.25)
    rows = [
        MapRow(
            "run",
            "vit",
            False,
            "busi",
            f"busi/{k}",
            k // 2,
            k % 2,
            0.5,
            "Grad-CAM",
            pointing=k < 30,
            ratio=float(k),
            iou=k / 40,
            **nothing,
        )
        for k in range(40)
    ]
    with pytest.raises(DatasetError, match="Several weights of ViT"):
        figures([*rows, replace(rows[3], weights="other")])
    rows[0] = replace(rows[0], road=0.5, insertion=0.75, deletion=0.25, alike=math.nan)
    for row in rows:
        add_rows(tmp_path / MAPS_FILE, [row])
    assert [str(r) for r in read_rows(tmp_path / MAPS_FILE)] == [str(r) for r in rows]
    (found,) = write_figures(tmp_path / MAPS_FILE)
    assert (found.images, found.examined) == (40, 1)
    values = {key: np.array([float(getattr(r, key)) for r in rows]) for key in FIGURES}
    for key, own in values.items():
        known = own[~np.isnan(own)]
        assert found.figures[key].value == (
            pytest.approx(known.mean()) if len(known) else pytest.approx(math.nan, nan_ok=True)
        )
    # By hand: 20 groups, of which 15 point; the binomial's 2.5 and 97.5 % points.
    assert found.figures["pointing"].low == pytest.approx(0.55, abs=0.051)
    assert found.figures["pointing"].high == pytest.approx(0.9, abs=0.051)
    assert math.isnan(found.figures["road"].low)  # no interval from a single group
    assert str(read_figures(tmp_path)) == str([found]) == str(figures(rows))


def test_figures_of_other_maps_are_refused(tmp_path):
    row = MapRow("run", "vit", False, "busi", "busi/1", 1, 1, 0.5, "Grad-CAM", True, *[0.5] * 7)
    assert len(fields(row)) == 21
    add_rows(tmp_path / MAPS_FILE, [row])
    write_figures(tmp_path / MAPS_FILE)
    add_rows(tmp_path / MAPS_FILE, [row])
    with pytest.raises(DatasetError, match=r"another maps\.csv"):
        read_figures(tmp_path)
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["figures"][0]["images"] == 1
