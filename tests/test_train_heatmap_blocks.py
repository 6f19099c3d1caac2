"""What Results and Compare say of the heatmaps."""

import json
from dataclasses import replace

from conftest import copied
from test_train_results import blocks_of

from rcdnet.models.registry import MODELS
from rcdnet.reading.heatmaps import RANDOM_BASELINE
from train.evaluate.evaluation_record import Estimate
from train.evaluate.figure_columns import format_estimate
from train.results.heatmap_blocks import localisation_warnings
from train.results.load_results import load_bundled_results
from train.studies.heatmap_records import CENTRE


def test_heatmaps_are_shown_with_their_floors_and_refused_when_of_other_weights(bundle, drawn_tree, tmp_path):
    shown = blocks_of("Heatmaps", bundle)
    assert {e.title for e in shown if e.figure is None} == {
        "All figures of the heatmaps. BUS-BRA", "All figures of the heatmaps. BUSI",
    }  # fmt: skip
    row = next(e for e in shown if e.figure is None).table[0]
    found = bundle.heatmaps[0]
    assert (row["model"], row["method"], row["pointing game"]) == (
        "RcdNet",
        "Grad-CAM",
        format_estimate(found.figures["pointing"]),
    )
    assert "image centre" in {name for e in shown if e.figure for name in e.figure.data[0].y}  # drawn among the methods
    tree = copied(drawn_tree, tmp_path / "tree")
    study = tree / "assets" / "results" / "heatmaps" / "study.json"
    study.write_text(study.read_text().replace('"vit-fold4": "4"', '"vit-fold4": "5"'))
    stale = load_bundled_results(tree / "assets" / "weights", tree / "assets" / "results")
    assert stale.heatmaps == ()
    assert "of other weights of vit-fold4" in stale.missing["heatmaps"]
    # On this no card's heatmaps rest
    study.write_text(json.dumps({"weights": {"rcdnet-busbra/external/busi": "abroad"}}))
    assert (
        "of other weights of"
        in load_bundled_results(tree / "assets" / "weights", tree / "assets" / "results").missing["heatmaps"]
    )


def test_maps_that_point_beside_the_lesion_are_named(bundle):
    def pointing(f, low, high):
        return replace(
            f, figures=f.figures | {"pointing": Estimate(high, low, high), "chance": Estimate(0.1, 0.09, 0.11)}
        )

    methods = ["Grad-CAM", "EigenCAM"]
    high = [
        pointing(f, 0.2, 0.2) if f.method in (RANDOM_BASELINE, CENTRE) else pointing(f, 0.3, 0.5)
        for f in bundle.heatmaps
    ]
    assert localisation_warnings(high, list(MODELS), methods) == []
    low = [
        pointing(f, 0.01, 0.09)
        if (f.model, f.source, f.method) in {("vit", "busi", "EigenCAM"), ("regnet", "busbra", "EigenCAM")}
        else f
        for f in high
    ]
    (sentence,) = localisation_warnings(low, list(MODELS), methods)
    assert "EigenCAM of RegNet and ViT pointed at the lesion less often than chance" in sentence
    level = [pointing(f, 0.19, 0.5) if (f.model, f.method) == ("rcdnet", "EigenCAM") else f for f in low]
    assert localisation_warnings(level, ["rcdnet", "vit"], methods) == [
        "Beware: on validation images EigenCAM of ViT pointed at the lesion less often than chance would.",
        "On validation images EigenCAM of RcdNet did not surely find the lesion more often than the middle of the scan, or a map by "
        "chance, does.",
    ]
    assert (
        localisation_warnings(low, ["rcdnet"], methods) == localisation_warnings(low, list(MODELS), ["Grad-CAM"]) == []
    )
