"""Upload scans, read RcdNet's call with its heatmap beside the five baselines."""

from itertools import cycle
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from rcdnet.charts import CALL_SIGNS, probability_bars
from rcdnet.errors import ImageError, NotTrained, RcdnetError
from rcdnet.images import read_scan
from rcdnet.inference import classify, load_own, load_trained
from rcdnet.overlay import COLOUR_MAPS, colour_table, fit_within, outlined, overlay, png_url, staged
from rcdnet.registry import CLASSES, MODELS
from rcdnet.report import agreement, call_row, call_sentence, calls_csv, scan_figure, trust_sentence
from train.share import shared

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "analyse"
    st.switch_page("app.py")

SAMPLES = Path(__file__).parent.parent / "assets" / "samples"
MAX_PIXELS = 200_000_000  # of all scans of a session together, which keeps them in memory
CALLED, OFF = "class called", "off"
LARGE, SMALL, THUMBNAIL = (800, 600), (400, 300), (128, 96)  # pixels, width and height of the stages

state = st.session_state
state.setdefault(
    "scans", {}
)  # (sha256, name) -> scan, its display size, predictions by the hash of their weights, thumbnail
state.setdefault("refused", [])  # (name, sentence)
state.setdefault("upload_round", 0)
for key, value in {"keep_shown": CALLED, "keep_opacity": 50, "keep_outline": True}.items():
    state.setdefault(key, value)  # here and not in the widgets, because app.py assigns what is kept

with st.spinner("Loading the models"):
    classifiers, silent = load_trained()  # silent: why a model gives no answer, by name
if "rcdnet" in silent:
    st.error(str(silent["rcdnet"]))
    st.stop()
own = shared()
state["keep_own_models"] = [name for name in state.get("keep_own_models", []) if name in own]
with st.sidebar:
    for name in st.multiselect("Your own models", list(own), key="keep_own_models") if own else []:
        try:
            classifiers.append(load_own(name, own[name]))
        except RcdnetError as error:
            st.warning(str(error))
cards = {c.name: c.card for c in classifiers}


def take_in(files: list[tuple[str, bytes]]) -> None:
    """Read and classify each file; bytes already here are not run again."""
    state.refused.clear()  # what is said there is about the last upload
    first = None
    progress = st.progress(0.0)
    for index, (name, data) in enumerate(files):
        progress.progress(index / len(files), text=f"Reading scan {index + 1} of {len(files)}")
        try:
            scan = read_scan(data)
            key = (scan.sha256, name)
            if key not in state.scans:
                if sum(entry[0].pixels.size for entry in state.scans.values()) + scan.pixels.size > MAX_PIXELS:
                    raise ImageError("The memory set aside for one session is full. Clear the scans first.")
                same = next((entry for (sha256, _), entry in state.scans.items() if sha256 == scan.sha256), None)
                state.scans[key] = same or (
                    scan,
                    fit_within(scan.pixels, LARGE[0]),
                    calls_of(scan.pixels, classifiers),
                    png_url(staged(scan.pixels, *THUMBNAIL)),
                )
            first = first or key
        except RcdnetError as error:
            state.refused.append((name, str(error)))
    state["chosen"] = first or state.get("chosen")
    progress.empty()


def calls_of(pixels, asked: list) -> dict:
    """Predictions by the hash of the weights that made them."""
    return {c.card.sha256: p for c, p in zip(asked, classify(pixels, asked), strict=True)}


def forget_uploads(files) -> None:
    """Drop the raw files, metadata and all, from the server's memory; Streamlit keeps them to the end of the session."""
    context: Any = get_script_run_ctx()  # as Streamlit's own chat input does; its protocol does not name remove_file
    for file in files:
        context.uploaded_file_mgr.remove_file(session_id=context.session_id, file_id=file.file_id)


def clear() -> None:
    state.scans.clear()
    state.refused.clear()


with st.sidebar:
    uploads = st.file_uploader(
        "Breast ultrasound scans",
        accept_multiple_files=True,
        key=f"upload_{state.upload_round}",
        help="PNG, JPEG, BMP or single-frame TIFF, up to 20 MB and 4096 pixels a side. Files stay in memory on this machine.",
    )
    samples = st.button("Try three synthetic phantoms", width="stretch", icon=":material/science:")
    if uploads or samples:
        drawn = [(path.name, path.read_bytes()) for path in sorted(SAMPLES.glob("*.png"))] if samples else []
        take_in([(file.name, file.getvalue()) for file in uploads] + drawn)
        forget_uploads(uploads)
        state.upload_round += 1  # an empty uploader: the list below is the one list of scans
        st.rerun()
    for scan, _, said, _ in state.scans.values():  # a model of one's own may have come later than the scan
        if missing := [c for c in classifiers if c.card.sha256 not in said]:
            said.update(calls_of(scan.pixels, missing))
    for position, (key, (_, _, said, thumbnail)) in enumerate(state.scans.items(), start=1):
        call = said[cards["rcdnet"].sha256]
        left, right = st.columns([2, 3], vertical_alignment="center")
        left.image(thumbnail)
        if right.button(
            f"{CALL_SIGNS[call.call]} {call.call} {call.p_malignant:.2f}",
            key=f"show_{position}",
            width="stretch",
            type="primary" if key == state.get("chosen") else "secondary",
            help=f"Show scan {position}",
        ):
            state["chosen"] = key
            st.rerun()
        right.text(key[1])
    if state.scans:
        rows = [
            call_row(name, scan, said[card.sha256])
            for (_, name), (scan, _, said, _) in state.scans.items()
            for card in cards.values()
        ]
        st.download_button("All calls as CSV", calls_csv(rows), "rcdnet-calls.csv", "text/csv", width="stretch")
    if state.scans or state.refused:
        st.button("Clear all scans", on_click=clear, width="stretch")

for position, (name, reason) in enumerate(state.refused):
    with st.container(border=True, key=f"refused_{position}"):
        st.text(f"Not read: {name}")
        st.error(reason)

if not state.scans:
    st.title("Breast ultrasound, read by RcdNet and its baselines")
    st.markdown(
        "Drop one or more scans into the panel on the left. For each one you see **RcdNet's call**, benign or malignant, "
        "with its probability, its threshold and a heatmap of what it looked at, beside "
        f"{sum(name in MODELS for name in cards) - 1} of 5 baseline models that are trained."
    )
    st.markdown("No scan at hand? **Try three synthetic phantoms** on the left. They are drawn, no patient is in them.")
    st.stop()

chosen = state.chosen if state.get("chosen") in state.scans else next(iter(state.scans))
scan, view, said, _ = state.scans[chosen]
predictions = [said[card.sha256] for card in cards.values()]
rcdnet = predictions[0]

controls = st.columns([2, 1.4, 1.4, 0.8], vertical_alignment="bottom")
with controls[0]:
    shown = str(st.segmented_control("Heatmap of", [CALLED, *reversed(CLASSES), OFF], required=True, key="keep_shown"))
opacity = controls[1].slider("Heatmap opacity", 0, 100, format="%d %%", key="keep_opacity")
colour_map = controls[2].selectbox("Colours", list(COLOUR_MAPS), key="keep_colours")
with_outline = rcdnet.lesion is not None and controls[3].toggle(
    "Outline",
    key="keep_outline",
    help="RcdNet's outline of the lesion, from a part trained on lesion masks",
)


def class_shown(prediction) -> str:
    return prediction.call if shown == CALLED else shown


def picture(prediction, width: int, height: int) -> str:
    """The overlay that the controls ask for, as a data URL; no model runs for it."""
    drawn = view
    if shown != OFF:
        heat = prediction.heat(class_shown(prediction), view.shape)
        drawn = overlay(view, heat, opacity=opacity / 100, colour_map=colour_map)
    if with_outline:
        drawn = outlined(drawn, prediction.outlines(view.shape))
    return png_url(staged(drawn, width, height))


def silent_word(name: str) -> str:
    return "not trained yet" if isinstance(silent[name], NotTrained) else "weights damaged"


def map_note(prediction) -> str:
    if shown == OFF:
        return "Heatmap off"
    class_name = class_shown(prediction)
    if prediction.strength(class_name) == 0:
        return f"Empty map: nothing in the scan spoke for {class_name}"
    return f"Map for {class_name}, strength {prediction.strength(class_name):.2g}"


original, explained, verdict = st.columns([1.25, 1.25, 1], gap="medium")
with original:
    st.image(png_url(staged(view, *LARGE)), width="stretch", alt="The scan as uploaded")
    st.text(chosen[1])
    st.download_button(
        "This scan as a figure",
        lambda: scan_figure(scan, predictions, opacity=opacity / 100, colour_map=colour_map),
        f"rcdnet-{scan.sha256[:8]}.png",
        "image/png",
        width="stretch",
    )
with explained:
    st.image(picture(rcdnet, *LARGE), width="stretch", alt=f"RcdNet. {map_note(rcdnet)}")
    stops = ", ".join(f"rgb({r},{g},{b})" for r, g, b in colour_table(colour_map)[::32].tolist())
    st.html(
        f'<div class="legend">0<div class="ramp" style="background:linear-gradient(90deg,{stops})"></div>map\'s own maximum</div>'
    )
    grid = " × ".join(map(str, rcdnet.maps.shape[1:]))
    st.caption(f"RcdNet. {map_note(rcdnet)}. Grad-CAM on a {grid} grid: it points, it does not outline.")
    if with_outline and not rcdnet.outlines(view.shape):
        st.caption("No outline: RcdNet finds no lesion in this scan, so its call means little.")
with verdict:
    st.html(
        f'<div class="call {rcdnet.call}"><div class="plain">RcdNet calls</div>'
        f'<div class="word">{CALL_SIGNS[rcdnet.call]} {rcdnet.call}</div>'
        f'<div class="plain">{call_sentence(rcdnet)}</div></div>'
    )
    for warning in scan.warnings:
        st.warning(warning)
    st.markdown(agreement(predictions))
    st.caption(trust_sentence(cards["rcdnet"]))
others = [*list(MODELS)[1:], *(name for name in cards if name not in MODELS)]  # the five baselines, then one's own
for column, name in zip(cycle(st.columns(len(MODELS) - 1)), others, strict=False):
    with column, st.container(border=True, key=f"card_{name}"):
        if name in silent:
            st.html(
                f'<div class="card"><div class="title">{MODELS[name].title}</div>'
                f'<div class="word">{silent_word(name)}</div></div>'
            )
            st.caption("It gives no answer rather than a guess.")
            st.popover("Why, and what to do").code(str(silent[name]), language=None, wrap_lines=True)
            continue
        p = said[cards[name].sha256]
        st.image(picture(p, *SMALL), width="stretch", alt=f"{p.title}. {map_note(p)}")
        st.html(
            f'<div class="card {p.call}"><div class="title">{p.title}</div>'
            f'<div class="word">{CALL_SIGNS[p.call]} {p.call} {p.p_malignant:.2f}</div>'
            f'<div class="plain">threshold {p.threshold:.2f}, validation AUC {cards[name].validation[0].auc:.2f}'
            f"<br>{map_note(p)}</div></div>"
        )
st.plotly_chart(
    probability_bars(predictions, {MODELS[name].title: silent_word(name) for name in silent}),
    key="probabilities",
    config={"displayModeBar": False},
)
st.caption(
    "Each map is scaled to its own maximum, so only its strength tells a weak one from a strong one. "
    "Strengths of different models do not compare."
)
