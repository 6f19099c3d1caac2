"""Upload scans, read RcdNet's call with its heatmap beside the five baselines."""

import html
from itertools import cycle

import streamlit as st

from pages.shared.markdown_escape import escape_markdown
from pages.shared.model_choice import select_models
from pages.shared.scan_list import read_next_upload, scan_list, uploads_pending
from pages.shared.uploaded_scan import UploadedScan
from pages.shared.widget_state import PERSIST
from rcdnet.errors import NotTrained
from rcdnet.models.registry import CLASSES, MODELS
from rcdnet.present.answers import answer, label
from rcdnet.present.charts import probability_bars
from rcdnet.present.heatmap_grid import PREDICTED_CLASS
from rcdnet.present.overlay import COLOUR_MAPS, colour_table, draw_contours, letterboxed, overlay, png_url
from rcdnet.present.prediction_report import call_row, calls_csv, scan_figure
from rcdnet.present.prediction_sentences import (
    agreement,
    answer_sentence,
    evidence_sentence,
    numbers,
    presence_sentence,
    site_sentence,
    trust_sentence,
)
from rcdnet.present.statements import ON_PHANTOMS

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "analyse"
    st.switch_page("app.py")

OFF = "off"
NO_OUTLINE = (
    "RcdNet could not outline a lesion in this scan, so its call means little. This does not mean that there is none."
)
LARGE, SMALL = (800, 600), (400, 300)  # pixels, width and height of the stages

state = st.session_state
for key, value in {
    "keep_shown": PREDICTED_CLASS,
    "keep_opacity": 50,
    "keep_outline": True,
    "keep_binary": False,
}.items():
    state.setdefault(key, value)

classifiers, unavailable = select_models()  # unavailable: why a model gives no answer, by name
cards = {c.name: c.card for c in classifiers}


def all_calls(uploaded: list[UploadedScan]) -> None:
    rows = [call_row(one.name, one.scan, one.predictions[c.key]) for one in uploaded for c in classifiers]
    st.download_button(
        "All calls as CSV",
        calls_csv(rows).encode("utf-8-sig"),
        "rcdnet-calls.csv",
        "text/csv",
        width="stretch",
        disabled=uploads_pending(),
    )


uploaded, chosen = scan_list(classifiers, all_calls)
if not uploaded:
    st.title("Breast ultrasound, read by RcdNet and its baselines")
    st.markdown(
        "Drop one or more scans into the panel on the left. For each one you see **RcdNet's answer**, low suspicion, uncertain "
        "or high suspicion, with its probability, its thresholds and a heatmap of what it looked at. Next to it you see the same from "
        f"{sum(name in MODELS for name in cards) - 1} of 5 baseline models that are trained."
    )
    st.markdown(
        "No scan at hand? **Try three synthetic phantoms** on the left. They are drawn by a program and show no patient."
    )
    st.stop()

binary = bool(state.keep_binary)
scan, preview, by_key = uploaded[chosen].scan, uploaded[chosen].preview, uploaded[chosen].predictions
answers = {c.name: by_key[c.key] for c in classifiers}
predictions = list(answers.values())
rcdnet = predictions[0]
phantom_models = {c.name for c in classifiers if c.on_phantoms}

controls = st.columns([2.3, 1.3, 1.2, 0.8], vertical_alignment="bottom")
with controls[0]:
    shown = str(
        st.segmented_control(
            "Heatmap of", [PREDICTED_CLASS, *reversed(CLASSES), OFF], required=True, key="keep_shown", **PERSIST
        )
    )
opacity = controls[1].slider("Heatmap opacity", 0, 100, format="%d %%", key="keep_opacity", **PERSIST)
colour_map = controls[2].selectbox("Colours", list(COLOUR_MAPS), key="keep_colours", **PERSIST)
with_outline = rcdnet.lesion is not None and controls[3].toggle(
    "Outline",
    key="keep_outline",
    **PERSIST,
    help="Each model's own lesion outline (segmentation), from a part trained on lesion masks",
)


def class_shown(prediction) -> str:
    return prediction.call if shown == PREDICTED_CLASS else shown


def picture(prediction, width: int, height: int) -> str:
    """The overlay that the controls ask for, as a data URL; no model runs for it."""
    drawn = preview
    if prediction.no_lesion:
        return png_url(letterboxed(drawn, width, height))
    if shown != OFF:
        heat = prediction.heat(class_shown(prediction), preview.shape)
        drawn = overlay(preview, heat, opacity=opacity / 100, colour_map=colour_map)
    if with_outline:
        drawn = draw_contours(drawn, prediction.outlines(preview.shape))
    return png_url(letterboxed(drawn, width, height))


def auc_note(name: str) -> str:
    if name in phantom_models:
        return f'</div><div class="toy">{ON_PHANTOMS}</div><div class="plain">'
    return f", validation AUC {cards[name].validation[0].auc:.2f}"


def unavailable_label(name: str) -> str:
    return "not trained yet" if isinstance(unavailable[name], NotTrained) else "weights damaged"


def map_note(prediction) -> str:
    if prediction.no_lesion:
        return "No lesion seen, so no heatmap"
    if shown == OFF:
        return "Heatmap off"
    class_name = class_shown(prediction)
    if prediction.strength(class_name) == 0:
        return f"Empty map: nothing in the scan supported {class_name}"
    return f"Map for {class_name}, strength {prediction.strength(class_name):.2g}"


pictures, verdict = st.columns([2.5, 1], gap="medium")
original, explained = pictures.columns(2, gap="medium")
with original:
    st.image(png_url(letterboxed(preview, *LARGE)), width="stretch", alt="The scan as uploaded")
    st.text(uploaded[chosen].name)
    st.download_button(
        "This scan as a figure",
        lambda: scan_figure(scan, predictions, opacity=opacity / 100, colour_map=colour_map, binary=binary),
        f"rcdnet-{scan.sha256[:8]}.png",
        "image/png",
        width="stretch",
        disabled=uploads_pending(),  # a page that is drawn again would drop it
    )
with explained:
    st.image(picture(rcdnet, *LARGE), width="stretch", alt=f"RcdNet. {map_note(rcdnet)}")
    if rcdnet.no_lesion:
        st.caption(f"RcdNet. {map_note(rcdnet)}.")
    else:
        stops = ", ".join(f"rgb({r},{g},{b})" for r, g, b in colour_table(colour_map)[::32].tolist())
        st.html(
            f'<div class="legend">0<div class="ramp" style="background:linear-gradient(90deg,{stops})"></div>map\'s own maximum</div>'
        )
        grid = " × ".join(map(str, rcdnet.maps.shape[1:]))
        st.caption(
            f"RcdNet. {map_note(rcdnet)}. Grad-CAM on a {grid} grid: it points to an area and does not outline it."
        )
presence, site = classifiers[0].presence, classifiers[0].site
if presence and rcdnet.no_lesion:
    trust = presence_sentence(presence.card)
elif site:
    trust = escape_markdown(site_sentence(site, binary=binary))
else:
    trust = trust_sentence(cards["rcdnet"], binary=binary)
pictures.caption(f"**How far to trust RcdNet.** {trust}")
with verdict:
    given = answer(rcdnet, binary=binary)
    st.html(
        f'<div class="call {given.tone}"><div class="plain">RcdNet {"calls" if given.word == rcdnet.call else "answers"}</div>'
        f'<div class="word">{given.sign} {given.word}</div>'
        f'<div class="plain">{html.escape(answer_sentence(rcdnet, binary=binary))}</div></div>'
    )
    if rcdnet.model in phantom_models:
        st.warning(f"{ON_PHANTOMS}: what RcdNet says here means nothing.")
    for warning in [*scan.warnings, *([NO_OUTLINE] if rcdnet.misses_lesion and not rcdnet.no_lesion else [])]:
        st.warning(warning)
    st.markdown(agreement([rcdnet, *(p for p in predictions[1:] if p.model not in phantom_models)], binary=binary))
    if resting := evidence_sentence(rcdnet):
        st.caption(resting)
    if rcdnet.thresholds:
        st.toggle(
            "Two answers", key="keep_binary", **PERSIST, help="Benign or malignant at one threshold, as in the paper"
        )
weighed = any(p.parts.get("outline") for p in predictions[1:])
others = [*list(MODELS)[1:], *(name for name in cards if name not in MODELS)]  # the five baselines, then one's own
for column, name in zip(cycle(st.columns(len(MODELS) - 1)), others, strict=False):
    with column, st.container(border=True, key=f"card_{name}"):
        if name in unavailable:
            st.html(
                f'<div class="card"><div class="title">{MODELS[name].title}</div>'
                f'<div class="word">{unavailable_label(name)}</div></div>'
            )
            st.caption("It gives no answer rather than a guess.")
            st.popover("Why, and what to do").code(str(unavailable[name]), language=None, wrap_lines=True)
            continue
        p = answers[name]
        st.image(picture(p, *SMALL), width="stretch", alt=f"{p.title}. {map_note(p)}")
        st.html(
            f'<div class="card {answer(p, binary=binary).tone}"><div class="title">{p.title}</div>'
            f'<div class="word">{label(p, binary=binary)}</div>'
            f'<div class="plain">{numbers(p, binary=binary)}{auc_note(name)}<br>{map_note(p)}</div></div>'
        )
st.plotly_chart(
    probability_bars(predictions, {MODELS[name].title: unavailable_label(name) for name in unavailable}, binary=binary),
    key="probabilities",
    config={"displayModeBar": False},
)
st.caption(
    "Each map is scaled to its own maximum, so only its strength tells a weak one from a strong one. "
    "Strengths of different models cannot be compared."
    + (
        " Where a model draws its own outline, its call also weighs what is inside. No heatmap shows that part."
        if weighed
        else ""
    )
)
read_next_upload(classifiers)
