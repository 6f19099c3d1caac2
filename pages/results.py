"""How good the models are, and how we know: every figure from the records of its evaluation."""

import re

import streamlit as st

from pages.shared.markdown_escape import plain
from pages.shared.permissions import barred
from pages.shared.widget_state import KEPT, put, tabs
from train.results.load_results import bundled, own_results
from train.results.sections import SECTIONS, Exhibit, operating_point, scored
from train.results.tables import measured_how, roles

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "results"
    st.switch_page("app.py")

POINT = "Operating point"
TOOLBAR = {"displaylogo": False, "displayModeBar": True, "toImageButtonOptions": {"format": "svg"}}

st.title("How good is it, and how do we know?")
bundle = bundled()
st.markdown(
    f"Measured on images that were kept out of training, by patient and near-copy; BUSI names no patients. {measured_how(bundle.cards)} "
    "Intervals are 95 %, by bootstrap over patients or groups of near-copies. What the paper reports stands by itself, for its "
    "models, and most of its images, are not these."
)
if bundle.missing:
    st.warning("\n\n".join(map(plain, bundle.missing.values())))

own, refused = ({}, {}) if barred() else own_results()
chosen = []
if own or refused:
    put(keep_own_results=[name for name in st.session_state.get("keep_own_results", []) if name in own])
    named = st.multiselect("Your own runs and external tests", list(own), key="keep_own_results", **KEPT)
    chosen = [result for name in named for result in own[name]]
    for reason in refused.values():
        st.caption(plain(reason))


def show(exhibit: Exhibit, key: str) -> None:
    st.subheader(plain(exhibit.title))
    st.markdown(plain(exhibit.text))
    if exhibit.figure is not None:
        st.plotly_chart(exhibit.figure, config=TOOLBAR, key=f"figure {key}")
    if exhibit.table:
        st.dataframe(exhibit.table, hide_index=True, height="content")
    if exhibit.table or exhibit.data:
        offer(exhibit, key)


def offer(exhibit: Exhibit, key: str) -> None:
    name = re.sub(r"\W+", "-", exhibit.title).strip("-").lower()
    st.download_button(
        "Data as CSV", exhibit.csv.encode("utf-8-sig"), f"{name}.csv", "text/csv", key=f"csv {key}", on_click="ignore"
    )


@st.fragment
def operating_points() -> None:
    """Rerun by itself, so that the figures follow the sliders at once."""
    st.markdown(
        "Move the threshold and the share of malignant lesions in your clinic, and read what a call would mean there."
    )
    results = {f"{r.name}. {r.images}": r for r in [*bundle.validation, *bundle.cross_site, *chosen]}
    if not results:
        st.info("There are no figures for this section yet.")
        return
    left, right = st.columns([1, 1.6], gap="large")
    with left:
        which = st.selectbox("Model and images", list(results), key="keep_point_of", **KEPT)
        result = results[which]
        threshold = st.slider(
            "Threshold", 0.0, 1.0, result.figures.threshold, 0.001, format="%.3f", key=f"threshold of {which}", **KEPT
        )
        prevalence = st.slider("Share of malignant lesions, %", 1, 60, 10, key="keep_prevalence", **KEPT) / 100
        whose = "The app's own threshold" if result in bundle.validation else "The threshold of this run"
        st.caption(plain(f"{whose} is {result.figures.threshold:.3f}, {result.rule}. {roles([result])}"))
    at, confusion, scores = operating_point(result, threshold, prevalence)
    with right:
        figures = st.columns(4)
        for column, (title, value) in zip(
            figures,
            {"Sensitivity": at.sensitivity, "Specificity": at.specificity, "PPV": at.ppv, "NPV": at.npv}.items(),
            strict=True,
        ):
            column.metric(title, f"{value:.3f}" if value == value else "undefined")
        st.plotly_chart(confusion, config=TOOLBAR, key="confusion")
    st.plotly_chart(scores, config=TOOLBAR, key="scores")
    offer(scored(result), "scores")


names = list(SECTIONS)
names.insert(2, POINT)
for name, tab in zip(names, tabs(names, "tab_results"), strict=True):
    if not tab.open:  # drawn when it is looked at
        continue
    with tab:
        if name == POINT:
            operating_points()
            continue
        rows = SECTIONS[name](bundle, chosen)
        if not rows:
            st.info("There are no figures for this section yet.")
        for number, row in enumerate(rows):
            for place, (exhibit, column) in enumerate(zip(row, st.columns(len(row), gap="medium"), strict=True)):
                with column:
                    show(exhibit, f"{name} {number} {place}")
