"""The grid of models and methods: what stands where, on which scale, and what leaves it as a figure or a file."""

import json
from dataclasses import replace
from io import BytesIO
from itertools import product
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import encoded
from PIL import Image

from rcdnet.errors import ImageError
from rcdnet.explain.localisation import localise
from rcdnet.models.registry import CLASSES, MODELS
from rcdnet.models.verdict import VerdictThresholds
from rcdnet.present.heatmap_export import FORMATS, grid_figure, grid_maps
from rcdnet.present.heatmap_grid import (
    ALL,
    OWN,
    PAIR,
    PREDICTED_CLASS,
    Look,
    build_grid,
    localisation_rows,
    method_similarity,
    model_similarity,
    shown,
    viewer_data,
)
from rcdnet.reading.inference import classify
from rcdnet.scans.preprocessing import Letterbox
from rcdnet.scans.scan_and_mask import read_mask
from train.data.phantoms import SAMPLE_PHANTOMS, render_phantom

METHODS = ["Grad-CAM", "LayerCAM", "EigenCAM"]
LOOK = Look(0.5, "Inferno", False)
PHANTOMS = [
    render_phantom(SAMPLE_PHANTOMS[name], seed=seed)
    for name, seed in (("phantom-irregular-mass", 2), ("phantom-oval-mass", 3))
]


@pytest.fixture(scope="module")
def made(classifiers):
    chosen = [classifiers["rcdnet"], classifiers["vit"]]
    return [classify(p.image, chosen, METHODS) for p in PHANTOMS]


@pytest.fixture(scope="module")
def scans():
    return [
        shown("Scan 1", PHANTOMS[0].image, mask=PHANTOMS[0].mask),
        shown("Scan 2", PHANTOMS[1].image, box=(0.7, 0.6, 0.2, 0.3)),
    ]


def test_a_trunk_runs_once_for_all_methods(classifiers, phantom, monkeypatch):
    network, runs = classifiers["mobilenetv2"].network, []
    real = network.forward_features
    monkeypatch.setattr(network, "forward_features", lambda x: runs.append(1) or real(x))
    predictions = classify(phantom, [classifiers["mobilenetv2"]], METHODS)
    assert [p.method for p in predictions] == METHODS
    assert len(runs) == 1


def test_the_rows_say_what_the_reader_asked_for(made, scans):
    thresholds = VerdictThresholds(0.0, 1.0, 0.02, 0.1)  # so that all is uncertain
    told = [[replace(p, thresholds=thresholds) for p in of_scan] for of_scan in made]
    grid = build_grid(scans, told, [PREDICTED_CLASS], OWN)
    three, two = (viewer_data(grid, replace(LOOK, binary=binary), [], [None, None])["rows"] for binary in (False, True))
    assert all(note.startswith("◆ uncertain") for row in three for note in row["note"])
    assert all(note[2:].startswith(("benign", "malignant")) for row in two for note in row["note"])


def test_columns_are_methods_by_classes_by_scans(made, scans):
    grid = build_grid(scans, made, ["benign", "malignant"], OWN)
    asked = [(c.method, c.class_name, c.scan) for c in grid.columns]
    assert asked[:8] == [(m, k, s) for m in METHODS[:2] for k in ("benign", "malignant") for s in (0, 1)]
    assert [(m, s) for m, _, s in asked[8:]] == [("EigenCAM", 0), ("EigenCAM", 1)]  # it does not ask for the class
    for cells, model in zip(grid.cells, ("rcdnet", "vit"), strict=True):
        for cell, (method, class_name, scan) in zip(cells, asked, strict=True):
            assert (cell.prediction.model, cell.prediction.method, cell.scan) == (model, method, scan)
            assert cell.class_name == class_name
            assert cell.prediction is next(p for p in made[scan] if (p.model, p.method) == (model, method))
    called = build_grid(scans, made, [PREDICTED_CLASS], OWN)
    assert all(c.class_name == c.prediction.call for cells in called.cells for c in cells)


def test_each_scale_ends_where_it_says(made, scans):
    for scale in (OWN, PAIR, ALL):
        grid = build_grid(scans, made, ["benign", "malignant"], scale)
        for cell in (c for cells in grid.cells for c in cells):
            p = cell.prediction
            same = [q for k in (0, 1) for q in made[k] if (q.model, q.method) == (p.model, p.method)]
            expected = {
                OWN: cell.strength,
                PAIR: max(q.strength(name) for q in same for name in CLASSES),
                ALL: max(c.strength for cells in grid.cells for c in cells),
            }
            assert cell.peak == pytest.approx(expected[scale])


def test_the_browser_gets_the_map_and_where_it_lies(made, scans):
    """What assets/viewer.js does with it, here in Python, gives the map that the figures use."""
    grid = build_grid(scans, made, ["malignant"], OWN)
    data = viewer_data(grid, LOOK, ["first"], [None, (0.7, 0.6, 0.2, 0.3)])
    json.dumps(data)  # nothing that cannot travel
    assert len(data["panels"]) == 2 * len(grid.columns)
    assert [bool(scan["outlines"]) for scan in data["scans"]] == [True, True]
    panel = next(p for p in data["panels"] if p["row"] == 0 and p["peak"] > 0)
    cell = grid.cells[0][panel["column"]]
    across, down = panel["axes"]
    values = np.array(panel["values"]).reshape(down["cells"], across["cells"])

    def neighbours(share, axis):
        at = np.clip((axis["start"] + share * axis["length"]) * axis["cells"] - 0.5, 0, axis["cells"] - 1)
        first = int(min(np.floor(at), axis["cells"] - 1))
        return first, min(first + 1, axis["cells"] - 1), at - first

    height, width = PHANTOMS[panel["scan"]].image.shape
    heat = cell.heat((height, width))
    for u, v in product((0.02, 0.3, 0.5, 0.77, 0.98), repeat=2):
        (left, right, fx), (up, low, fy) = neighbours(u, across), neighbours(v, down)
        upper = values[up, left] * (1 - fx) + values[up, right] * fx
        lower = values[low, left] * (1 - fx) + values[low, right] * fx
        expected = heat[int(v * height), int(u * width)]
        assert upper * (1 - fy) + lower * fy == pytest.approx(expected, abs=0.03 * panel["peak"])


def test_localisation_of_each_map_on_a_scan_with_a_lesion(made, scans):
    grid = build_grid([scans[0], shown("Scan 2", PHANTOMS[1].image)], made, [PREDICTED_CLASS], OWN)
    rows = localisation_rows(grid)
    assert len(rows) == 2 * len(METHODS)
    cell = grid.cells[0][0]
    found = localise(cell.heat(PHANTOMS[0].image.shape), PHANTOMS[0].mask)
    assert rows[0]["energy inside"] == found.energy
    assert rows[0]["hottest point"] == ("in the lesion" if found.pointing else "outside")
    assert {row["scan"] for row in rows} == {"Scan 1"}


def test_a_box_in_shares_is_a_lesion_on_the_view():
    lesion = shown("x", np.zeros((100, 200), np.uint8), box=(0.7, 0.6, 0.2, 0.3)).lesion
    assert lesion[30:60, 40:140].all()
    assert lesion.sum() == 30 * 100
    assert shown("x", np.zeros((100, 200), np.uint8), box=(0.5, 0.5, 0.5, 0.5)).lesion is None
    mask = np.zeros((50, 100), bool)
    mask[10:20, 30:50] = True  # at the scan's own size; it goes before a box
    both = shown("x", np.zeros((100, 200), np.uint8), mask=mask, box=(0.7, 0.6, 0.2, 0.3)).lesion
    assert np.argwhere(both).min(axis=0).tolist() == [20, 60]
    assert both.sum() == 800


def test_similarity_by_model_and_by_method(made, scans):
    grid = build_grid(scans, made, ["malignant"], OWN)
    names, alike = model_similarity(grid, 0)
    assert names == [MODELS["rcdnet"].title, MODELS["vit"].title]
    assert alike[names[0], names[1]] == alike[names[1], names[0]]
    names, alike = method_similarity(grid, 0, 1, "malignant")
    assert names == METHODS
    assert len(alike) == 6


@pytest.mark.parametrize("contour_lines", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_figure_names_what_it_shows(made, scans, kind, contour_lines):
    grid = build_grid(scans, made, ["malignant"], PAIR)
    layers = {"rcdnet": "cbam", "vit": "norm"}
    content = grid_figure(grid, Look(0.5, "Viridis", contour_lines), layers, kind)
    if kind == "PNG":
        with Image.open(BytesIO(content)) as picture:
            assert picture.info["dpi"][0] == pytest.approx(300, abs=1)
    elif kind == "PDF":
        assert content.startswith(b"%PDF-")
    else:
        text = " ".join(ElementTree.fromstring(content).itertext())
        for words in (
            "RcdNet",
            "ViT",
            "layer cbam",
            "LayerCAM",
            "malignant",
            "Scan 2",
            "share a scale",
            "Research use only",
        ):
            assert words in text
        assert grid_figure(grid, Look(0.5, "Viridis", contour_lines), layers, kind) == content


def test_raw_maps_find_their_way_back(made, scans):
    grid = build_grid(scans, made, ["benign", "malignant"], OWN)
    with np.load(BytesIO(grid_maps(grid, ["a" * 64, "b" * 64], {"rcdnet": "cbam", "vit": "norm"}))) as archive:
        about = json.loads(str(archive["about"]))
        assert len(about) == 2 * 2 * len(METHODS)
        for entry in about:
            scan = 0 if entry["scan_sha256"].startswith("a") else 1
            p = next(p for p in made[scan] if (p.model, p.method) == (entry["model"], entry["method"]))
            np.testing.assert_array_equal(archive[entry["array"]], p.maps)
            assert Letterbox(**entry["frame"]) == p.frame


def test_a_mask_must_fit_its_scan():
    mask = np.zeros((90, 120), np.uint8)
    mask[20:40, 30:60] = 255
    lesion = read_mask(encoded(Image.fromarray(mask)), (90, 120))
    np.testing.assert_array_equal(lesion, mask > 0)
    with pytest.raises(ImageError, match="120 × 90 pixels and the scan 100 × 90"):
        read_mask(encoded(Image.fromarray(mask)), (90, 100))
