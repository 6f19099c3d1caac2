"""Heatmaps side by side: chosen models by chosen methods, how far they agree, and whether to believe them."""

import streamlit as st

from pages.shared.markdown_escape import plain
from pages.shared.scan_panel import Held, models_asked, read_on, scan_panel
from pages.shared.uploads import taken
from pages.shared.viewer import viewer
from pages.shared.widget_state import KEPT, put, tabs
from rcdnet.errors import RcdnetError
from rcdnet.explain.faithfulness import PASSES, SHARES, chance_map, examine
from rcdnet.present.charts import removal_chart, similarity_chart
from rcdnet.present.heatmap_figure import FORMATS, grid_figure, grid_maps
from rcdnet.present.heatmap_grid import (
    CALLED,
    SCALES,
    Look,
    arranged,
    column_title,
    localisation_rows,
    method_similarity,
    model_similarity,
    shown,
    unlike_classes,
    viewer_data,
)
from rcdnet.present.overlay import SAFE_COLOUR_MAPS
from rcdnet.present.prediction_report import agreement, listed
from rcdnet.reading.heatmaps import FLOOR, METHODS, SIGN_BY_CHANCE, SLOW_METHODS, passes
from rcdnet.reading.inference import classify
from rcdnet.scans.reader import read_mask
from train.results.heatmap_blocks import beside_the_lesion
from train.results.load_results import bundled

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "compare"
    st.switch_page("app.py")

CLASSES_SHOWN = {CALLED: [CALLED], "malignant": ["malignant"], "benign": ["benign"], "both": ["benign", "malignant"]}
NO_SECOND = "none"

state = st.session_state
classifiers, _ = models_asked()
held, chosen = scan_panel(classifiers)
if not held:
    st.title("Heatmaps side by side")
    st.markdown(
        "Drop a scan into the panel on the left, or try the phantoms, and see what each model looked at, by several methods at "
        "once: where they agree, whether they lie on the lesion, and whether the model minds when what they point at is taken away."
    )
    st.stop()

titles = {c.title: c for c in classifiers}
for key, value in {
    "keep_models": list(titles),
    "keep_methods": ["Grad-CAM", "Grad-CAM++", "LayerCAM"],
    "keep_class": CALLED,
    "keep_scale": next(iter(SCALES)),
    "keep_grid_opacity": 60,
    "keep_contours": False,
    "keep_figure": next(iter(FORMATS)),
}.items():
    state.setdefault(key, value)
put(keep_models=[title for title in state["keep_models"] if title in titles])

row = st.columns([1.25, 1], vertical_alignment="bottom")  # six models fit on 1440 pixels
asked = [titles[title] for title in row[0].multiselect("Models", list(titles), key="keep_models", **KEPT)]
methods = row[1].multiselect("Methods", list(METHODS), key="keep_methods", **KEPT)
row = st.columns([1.1, 1.1, 1.1, 1.1, 1.1, 1], vertical_alignment="bottom")
classes = CLASSES_SHOWN[row[0].selectbox("Heatmap of", list(CLASSES_SHOWN), key="keep_class", **KEPT)]
others = {f"{k + 1}: {one.name}": one for k, one in enumerate(held) if k != chosen}
second = row[1].selectbox("Second scan", [NO_SECOND, *others], key=f"second {held[chosen].scan.sha256}", **KEPT)
scale = row[2].selectbox("Colour scale", list(SCALES), key="keep_scale", **KEPT)
opacity = row[3].slider("Opacity", 0, 100, format="%d %%", key="keep_grid_opacity", **KEPT) / 100
colour_map = row[4].selectbox("Colours", SAFE_COLOUR_MAPS, key="keep_safe_colours", **KEPT)
contour_lines = row[5].toggle("Contours", key="keep_contours", help="Lines at 25, 50 and 75 % of the scale", **KEPT)

scans: list[Held] = [held[chosen], *([others[second]] if second in others else [])]
slow = [m for m in SLOW_METHODS if all((c.key, m) in one.explained for c in asked for one in scans)]
if not asked or not (methods or slow):
    st.info("Choose at least one model and one method.")
    read_on(classifiers)
    st.stop()


def ticking(total: int, text: str):
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
            missing = [m for m in names if (c.key, m) not in one.explained]
            for p in classify(one.scan.pixels, [c], missing, tick=tick) if missing else []:
                one.explained[c.key, p.method] = p


explain(methods)
predictions = [[one.explained[c.key, m] for c in asked for m in [*methods, *slow]] for one in scans]
names = [f"Scan {held.index(one) + 1}" for one in scans]
place = "viewer " + " ".join(one.scan.sha256[:8] for one in scans)
boxes = [state.get(f"box {one.scan.sha256}") for one in scans]


def keep_box() -> None:
    """Of the scan that the reader drew on, for as long as the scan is there; all are forgotten where none was drawn."""
    drawn = state[place]["box"]
    for k, one in enumerate(scans):
        if drawn["scan"] in (None, k):
            state[f"box {one.scan.sha256}"] = drawn["places"]


given = {name: mask for name, one in zip(names, scans, strict=True) if (mask := f"mask {one.scan.sha256}") in state}


def lesion_of(number: int) -> dict:
    return {"mask": state.get(f"mask {scans[number].scan.sha256}"), "box": boxes[number]}


grid = arranged(
    [shown(name, one.view, **lesion_of(k)) for k, (name, one) in enumerate(zip(names, scans, strict=True))],
    predictions,
    classes,
    scale,
)
toys = [c for c in asked if c.on_phantoms]
counted = {c.name for c in asked if c not in toys} or {
    c.name for c in toys
}  # a model of phantoms has no say about a scan
first_of = [[p for p in made if p.method == made[0].method and p.model in counted] for made in predictions]
said = [
    agreement(ps) if len(scans) == 1 else f"{name}: {agreement(ps)}" for name, ps in zip(names, first_of, strict=True)
]
look = Look(opacity, colour_map, contour_lines)
doubts = beside_the_lesion(bundled().heatmaps, [c.spec.name for c in asked if not c.own], methods)
if signless := [m for m in methods if m in SIGN_BY_CHANCE]:
    reverse = f"The sign of {listed(signless)} is left to chance: a map may show the reverse of what stands out."
    doubts = [reverse, *doubts]
doubts = [f"{c.title}, not on scans: its calls say nothing here." for c in toys] + doubts
viewer(data=viewer_data(grid, look, [*said, SCALES[scale], *doubts], boxes), key=place, on_box_change=keep_box)

layers = {c.name: c.spec.target_layer for c in asked}
alike, right, faithful, slower, away = tabs(
    ["How alike are the maps?", "Do they lie on the lesion?", "Does the model mind?", "Slow methods", "Take away"],
    "tab_compare",
)
if alike.open:
    with alike:
        st.markdown(
            "Rank correlation of every two maps (1: same order of hot and cold, 0: unrelated), and below it the share of their "
            "hottest fifths that they have in common, 20 % by chance, or less where the maps are mostly empty."
        )
        left, right_half = st.columns(2, gap="medium")
        with left:
            columns = {
                ", ".join([column_title(c, grid)[0], *column_title(c, grid)[1]]): k for k, c in enumerate(grid.columns)
            }
            which = st.selectbox("Between models", list(columns))
            st.plotly_chart(similarity_chart(*model_similarity(grid, columns[which])), key="between models")
            if unlike_classes(grid, columns[which]):
                st.caption(
                    "The models call different classes, and each map is that of its model's own call. Choose one class above to "
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
                    taken(upload.file_id), scan.pixels.shape, scan_orientation=scan.orientation
                )
            except RcdnetError as error:
                state["mask_error"] = str(error)
            state.mask_round += 1
            st.rerun()
        if wrong := state.pop("mask_error", ""):
            st.error(plain(wrong))
        for name, mask in given.items():
            told, button = st.columns([4, 1], vertical_alignment="center")
            told.caption(f"The mask that was given is used for {name}, before any box.")
            if button.button(f"Forget the mask of {name}", width="stretch"):
                del state[mask]
                st.rerun()
        table = localisation_rows(grid)
        if not table:
            st.info("Give a mask here, or press “Draw a box” above and draw one around the lesion on any panel.")
        else:
            st.markdown(
                "Energy over chance is 1 for a map that is even everywhere. The best threshold is found with the lesion known, so "
                "nobody could choose it on a new scan."
            )
            st.dataframe(table, hide_index=True, height="content")
if faithful.open:
    with faithful:
        measured = held[chosen].measured
        # Where both classes are shown, the one that the model calls is measured.
        of_class = [cells[0].class_name if len(classes) == 1 else cells[0].prediction.call for cells in grid.cells]
        keys = {c.title: (c.key, class_name, *methods) for c, class_name in zip(asked, of_class, strict=True)}
        st.markdown(
            "Blur what a map points at, and a faithful map's class loses its probability soon (a small area under **deletion**); "
            "leave only that sharp, and it comes back soon (a large area under **insertion**). **ROAD** fills the places in from "
            f"their neighbours instead; 0 says nothing. {FLOOR} is the floor, a map drawn by chance. **Alike** is the rank "
            "correlation with the map of the same network with drawn weights: near 1, the map shows the scan and not what was learnt. "
            "The places are those of the model's square canvas, the border that is added around a scan among them, where a map may be hot "
            "too." + (" Measured is each model's map for the class that it calls." if len(classes) > 1 else "")
        )
        todo = [c for c in asked if keys[c.title] not in measured]
        if not methods:
            st.info("Choose a method above; the slow ones are not measured.")
        elif todo and st.button(f"Measure {len(todo) * (len(methods) + 1)} maps of {names[0]}", type="primary"):
            tick = ticking(len(todo) * (len(methods) + 1) * PASSES, "Measuring")
            for c in todo:
                pixels = held[chosen].scan.pixels
                made = [p for p in predictions[0] if p.model == c.name and p.method in methods]
                maps = [*made, chance_map(pixels, c, made[0], seed=0)]
                measured[keys[c.title]] = examine(pixels, c, maps, keys[c.title][1], tick=tick)
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
            left.plotly_chart(removal_chart(SHARES, deleted, "Deletion: these places blurred"), key="deletion")
            right_half.plotly_chart(
                removal_chart(SHARES, inserted, "Insertion: all but these blurred"), key="insertion"
            )
if slower.open:
    with slower:
        st.markdown(
            "AblationCAM takes one channel after another away, ScoreCAM shows the network the scan through each of them: seconds to "
            "minutes for each model. They join the grid when they are done."
        )
        for method in [m for m in SLOW_METHODS if m not in slow]:
            if st.button(f"Compute {method} for {len(asked)} models", key=f"slow {method}"):
                explain([method], ticking(len(scans) * sum(passes(c.network, method) for c in asked), method))
                st.rerun()
        if slow:
            st.caption(f"In the grid: {', '.join(slow)}.")
if away.open:
    with away:
        kind = st.segmented_control("Figure", list(FORMATS), required=True, key="keep_figure", **KEPT)
        digest = held[chosen].scan.sha256[:8]
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
read_on(classifiers)
