"""Heatmaps side by side: chosen models by chosen methods, how far they agree, and whether to believe them."""

import streamlit as st

from pages.shared.linked_viewer import viewer
from pages.shared.markdown_escape import escape_markdown
from pages.shared.model_choice import select_models
from pages.shared.scan_list import read_next_upload, scan_list
from pages.shared.upload_limits import pop_upload
from pages.shared.uploaded_scan import UploadedScan
from pages.shared.widget_state import PERSIST, persistent_tabs, set_widget_values
from rcdnet.errors import RcdnetError
from rcdnet.explain.faithfulness import PASSES, SHARES, evaluate_faithfulness, random_cam_prediction
from rcdnet.present.charts import removal_chart, similarity_chart
from rcdnet.present.heatmap_export import FORMATS, grid_figure, grid_maps
from rcdnet.present.heatmap_grid import (
    PREDICTED_CLASS,
    SCALES,
    Look,
    build_grid,
    column_title,
    localisation_rows,
    method_similarity,
    mixed_classes,
    model_similarity,
    shown,
    viewer_data,
)
from rcdnet.present.overlay import SAFE_COLOUR_MAPS
from rcdnet.present.prediction_sentences import NO_LESION_MAPS, agreement
from rcdnet.present.text import join_names
from rcdnet.reading.heatmaps import ARBITRARY_SIGN, METHODS, RANDOM_BASELINE, SLOW_METHODS, passes
from rcdnet.reading.inference import classify
from rcdnet.scans.scan_and_mask import read_mask
from train.results.heatmap_blocks import localisation_warnings
from train.results.load_results import load_bundled_results

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "compare"
    st.switch_page("app.py")

CLASSES_SHOWN = {
    PREDICTED_CLASS: [PREDICTED_CLASS],
    "malignant": ["malignant"],
    "benign": ["benign"],
    "both": ["benign", "malignant"],
}
NO_SECOND = "none"

state = st.session_state
classifiers, _ = select_models()
uploaded, chosen = scan_list(classifiers)
if not uploaded:
    st.title("Heatmaps side by side")
    st.markdown(
        "Drop a scan into the panel on the left, or try the phantoms. See what each model looked at, by several methods at once. "
        "Check where the maps agree, whether they lie on the lesion, and whether the probability changes when the marked area is removed."
    )
    st.stop()

titles = {c.title: c for c in classifiers}
for key, value in {
    "keep_models": list(titles),
    "keep_methods": ["Grad-CAM", "Grad-CAM++", "LayerCAM"],
    "keep_class": PREDICTED_CLASS,
    "keep_scale": next(iter(SCALES)),
    "keep_grid_opacity": 60,
    "keep_contours": False,
    "keep_figure": next(iter(FORMATS)),
}.items():
    state.setdefault(key, value)
set_widget_values(keep_models=[title for title in state["keep_models"] if title in titles])

row = st.columns([1.25, 1], vertical_alignment="bottom")  # six models fit on 1440 pixels
asked = [titles[title] for title in row[0].multiselect("Models", list(titles), key="keep_models", **PERSIST)]
methods = row[1].multiselect("Methods", list(METHODS), key="keep_methods", **PERSIST)
row = st.columns([1.1, 1.1, 1.1, 1.1, 1.1, 1], vertical_alignment="bottom")
classes = CLASSES_SHOWN[row[0].selectbox("Heatmap of", list(CLASSES_SHOWN), key="keep_class", **PERSIST)]
others = {f"{k + 1}: {one.name}": one for k, one in enumerate(uploaded) if k != chosen}
second = row[1].selectbox("Second scan", [NO_SECOND, *others], key=f"second {uploaded[chosen].scan.sha256}", **PERSIST)
scale = row[2].selectbox("Colour scale", list(SCALES), key="keep_scale", **PERSIST)
opacity = row[3].slider("Opacity", 0, 100, format="%d %%", key="keep_grid_opacity", **PERSIST) / 100
colour_map = row[4].selectbox("Colours", SAFE_COLOUR_MAPS, key="keep_safe_colours", **PERSIST)
contour_lines = row[5].toggle("Contours", key="keep_contours", help="Lines at 25, 50 and 75 % of the scale", **PERSIST)

scans: list[UploadedScan] = [uploaded[chosen], *([others[second]] if second in others else [])]
slow = [m for m in SLOW_METHODS if all((c.key, m) in one.heatmaps for c in asked for one in scans)]
if not asked or not (methods or slow):
    st.info("Choose at least one model and one method.")
    read_next_upload(classifiers)
    st.stop()


def progress_bar(total: int, text: str):
    """A bar that counts up. Any click meanwhile, Cancel above all, ends the script, and with it the work, at the next tick."""
    bar, count = st.progress(0.0, text=text), iter(range(1, 1_000_000))
    st.button("Cancel", key="cancel")

    def tick() -> None:
        done = next(count)
        bar.progress(min(1.0, done / total), text=f"{text}, {min(done, total)} of {total}")

    return tick


def explain(names: list[str], tick=None) -> None:
    """Make what is missing; what is there stays until the scans are cleared."""
    for one in scans:
        for c in asked:
            missing = [m for m in names if (c.key, m) not in one.heatmaps]
            for p in classify(one.scan.pixels, [c], missing, tick=tick) if missing else []:
                one.heatmaps[c.key, p.method] = p


explain(methods)
predictions = [[one.heatmaps[c.key, m] for c in asked for m in [*methods, *slow]] for one in scans]
names = [f"Scan {uploaded.index(one) + 1}" for one in scans]
place = "viewer " + " ".join(one.scan.sha256[:8] for one in scans)
boxes = [state.get(f"box {one.scan.sha256}") for one in scans]


def store_box() -> None:
    """Of the scan that the reader drew on, for as long as the scan is there; all are forgotten where none was drawn."""
    drawn = state[place]["box"]
    for k, one in enumerate(scans):
        if drawn["scan"] in (None, k):
            state[f"box {one.scan.sha256}"] = drawn["places"]


given = {name: mask for name, one in zip(names, scans, strict=True) if (mask := f"mask {one.scan.sha256}") in state}


def lesion_of(number: int) -> dict:
    return {"mask": state.get(f"mask {scans[number].scan.sha256}"), "box": boxes[number]}


grid = build_grid(
    [shown(name, one.preview, **lesion_of(k)) for k, (name, one) in enumerate(zip(names, scans, strict=True))],
    predictions,
    classes,
    scale,
)
phantom_models = [c for c in asked if c.on_phantoms]
# A model of phantoms has no say about a scan
counted = {c.name for c in asked if c not in phantom_models} or {c.name for c in phantom_models}
first_of = [[p for p in made if p.method == made[0].method and p.model in counted] for made in predictions]
look = Look(opacity, colour_map, contour_lines, binary=bool(state.get("keep_binary")))
said = [agreement(ps, binary=look.binary) for ps in first_of]
notes = said if len(scans) == 1 else [f"{name}: {sentence}" for name, sentence in zip(names, said, strict=True)]
notes += [NO_LESION_MAPS] * any(p.no_lesion for ps in first_of for p in ps)
caveats = localisation_warnings(load_bundled_results().heatmaps, [c.spec.name for c in asked if not c.own], methods)
if signless := [m for m in methods if m in ARBITRARY_SIGN]:
    reverse = f"The sign of {join_names(signless)} is arbitrary: a map may show the reverse of what stands out."
    caveats = [reverse, *caveats]
caveats = [f"{c.title}, not on scans: its calls mean nothing here." for c in phantom_models] + caveats
viewer(data=viewer_data(grid, look, [*notes, SCALES[scale], *caveats], boxes), key=place, on_box_change=store_box)

layers = {c.name: c.spec.target_layer for c in asked}
alike, right, faithful, slower, away = persistent_tabs(
    ["How alike are the maps?", "Do they lie on the lesion?", "Does the model use them?", "Slow methods", "Download"],
    "tab_compare",
)
if alike.open:
    with alike:
        st.markdown(
            "Each cell shows the rank correlation of two maps (1: same order of hot and cold, 0: unrelated). Below it is the overlap "
            "of their hottest fifths: 20 % by chance, or less where the maps are mostly empty."
        )
        left, right_half = st.columns(2, gap="medium")
        with left:
            columns = {
                ", ".join([column_title(c, grid)[0], *column_title(c, grid)[1]]): k for k, c in enumerate(grid.columns)
            }
            which = st.selectbox("Between models", list(columns))
            st.plotly_chart(similarity_chart(*model_similarity(grid, columns[which])), key="between models")
            if mixed_classes(grid, columns[which]):
                st.caption(
                    "The models call different classes, and each map is for its own model's call. Choose one class above to "
                    "compare like with like."
                )
        with right_half:
            rows = {
                ", ".join([c.title, name, *([class_name] if len(classes) > 1 else [])]): (r, k, class_name)
                for r, c in enumerate(asked)
                for k, name in enumerate(names)
                for class_name in dict.fromkeys(cell.class_name for cell in grid.cells[r] if cell.scan == k)
            }
            model = st.selectbox("Between methods", list(rows))
            st.plotly_chart(similarity_chart(*method_similarity(grid, *rows[model])), key="between methods")
if right.open:
    with right:
        upload = st.file_uploader(
            f"Lesion mask of {names[0]}, white on black, as large as the scan",
            key=f"upload of a mask {state.setdefault('mask_round', 0)}",
        )
        if upload is not None:
            try:
                scan = scans[0].scan
                state[f"mask {scan.sha256}"] = read_mask(
                    pop_upload(upload.file_id), scan.pixels.shape, scan_orientation=scan.orientation
                )
            except RcdnetError as error:
                state["mask_error"] = str(error)
            state.mask_round += 1
            st.rerun()
        if wrong := state.pop("mask_error", ""):
            st.error(escape_markdown(wrong))
        for name, mask in given.items():
            told, button = st.columns([4, 1], vertical_alignment="center")
            told.caption(f"The uploaded mask is used for {name}, in preference to any box.")
            if button.button(f"Remove the mask of {name}", width="stretch"):
                del state[mask]
                st.rerun()
        table = localisation_rows(grid)
        if not table:
            st.info("Give a mask here, or press “Draw a box” above and draw one around the lesion on any panel.")
        else:
            st.markdown(
                "Energy over chance is 1 for a uniform map. The best cut is found with the lesion known, so nobody could choose it "
                "on a new scan."
            )
            st.dataframe(table, hide_index=True, height="content")
if faithful.open:
    with faithful:
        measured = uploaded[chosen].faithfulness
        # Where both classes are shown, the one that the model calls is measured.
        of_class = [
            cells[0].class_name if len(classes) == 1 else cells[0].prediction.explained_class for cells in grid.cells
        ]
        keys = {c.title: (c.key, class_name, *methods) for c, class_name in zip(asked, of_class, strict=True)}
        st.markdown(
            "**Deletion** blurs the hottest places first. With a faithful map the class loses its probability early, so the area is "
            "small. **Insertion** leaves only the hottest places sharp. With a faithful map the probability returns early, so the area "
            "is large. **ROAD** fills the places in from their neighbours instead; 0 says nothing. "
            f"{RANDOM_BASELINE}, a random map, is the floor. **Alike** is the rank correlation with the map of the same network with "
            "random weights: near 1, the map shows the scan and not what was learnt. The places are those of the model's square canvas. "
            "They include the border added around a scan, where a map may be hot too."
            + (" Each model is measured on the map for the class that it calls." if len(classes) > 1 else "")
        )
        todo = [c for c in asked if keys[c.title] not in measured]
        if not methods:
            st.info("Choose a method above; the slow ones are not measured.")
        elif todo and st.button(f"Measure {len(todo) * (len(methods) + 1)} maps of {names[0]}", type="primary"):
            tick = progress_bar(len(todo) * (len(methods) + 1) * PASSES, "Measuring")
            for c in todo:
                pixels = uploaded[chosen].scan.pixels
                made = [p for p in predictions[0] if p.model == c.name and p.method in methods]
                maps = [*made, random_cam_prediction(pixels, c, made[0], seed=0)]
                measured[keys[c.title]] = evaluate_faithfulness(pixels, c, maps, keys[c.title][1], tick=tick)
            st.rerun()
        there = {title: measured[key] for title, key in keys.items() if key in measured}
        if there:
            st.dataframe(
                [
                    {
                        "model": title, "method": e.method, "class": e.class_name, "deletion": e.faithfulness.deletion_area,
                        "insertion": e.faithfulness.insertion_area, "ROAD": e.faithfulness.road, "alike": e.alike,
                    }
                    for title, examined in there.items() for e in examined
                ],
                hide_index=True, height="content",
            )  # fmt: skip
            of = st.selectbox("Curves of", list(there))
            left, right_half = st.columns(2, gap="medium")
            deleted = {e.method: e.faithfulness.deletion for e in there[of]}
            inserted = {e.method: e.faithfulness.insertion for e in there[of]}
            left.plotly_chart(removal_chart(SHARES, deleted, "Deletion: hottest places blurred"), key="deletion")
            right_half.plotly_chart(
                removal_chart(SHARES, inserted, "Insertion: all but the hottest places blurred"), key="insertion"
            )
if slower.open:
    with slower:
        st.markdown(
            "AblationCAM removes one channel after another. ScoreCAM shows the network the scan through each channel. Both take seconds "
            "to minutes for each model. Their maps join the grid when they are done."
        )
        for method in [m for m in SLOW_METHODS if m not in slow]:
            if st.button(f"Compute {method} for {len(asked)} models", key=f"slow {method}"):
                explain([method], progress_bar(len(scans) * sum(passes(c.network, method) for c in asked), method))
                st.rerun()
        if slow:
            st.caption(f"In the grid: {', '.join(slow)}.")
if away.open:
    with away:
        kind = st.segmented_control("Figure", list(FORMATS), required=True, key="keep_figure", **PERSIST)
        digest = uploaded[chosen].scan.sha256[:8]
        st.download_button(
            "The grid as a figure",
            lambda: grid_figure(grid, look, layers, str(kind)),
            f"rcdnet-heatmaps-{digest}.{str(kind).lower()}",
            FORMATS[str(kind)],
            on_click="ignore",
        )
        st.download_button(
            "Raw maps as .npz",
            lambda: grid_maps(grid, [one.scan.sha256 for one in scans], layers),
            f"rcdnet-heatmaps-{digest}.npz",
            on_click="ignore",
        )
read_next_upload(classifiers)
