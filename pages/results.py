"""How good the models are, and how we know: every figure from the records of its evaluation."""

import re

import streamlit as st

from pages.shared.access_control import training_denied_reason
from pages.shared.markdown_escape import escape_markdown
from pages.shared.widget_state import PERSIST, persistent_tabs, set_widget_values
from pages.shared.your_hospital import your_hospital
from train.results.load_results import load_bundled_results, load_user_results
from train.results.operating_point import operating_point, scored
from train.results.report_block import ReportBlock
from train.results.sections import SECTIONS
from train.results.tables import measured_how, roles

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "results"
    st.switch_page("app.py")

POINT, HOSPITAL = "Operating point", "Your hospital"
TOOLBAR = {"displaylogo": False, "displayModeBar": True, "toImageButtonOptions": {"format": "svg"}}

st.title("How good is it, and how do we know?")
bundle = load_bundled_results()
st.markdown(
    "Measured on images that were kept out of training. Images of one patient, and near-copies, were kept together; BUSI names no "
    f"patients. {measured_how(bundle.cards)} Intervals are 95 %, by bootstrap over patients or groups of near-copies. The paper's own "
    "figures are shown separately, because its models and most of its images are different."
)
if bundle.missing:
    st.warning("\n\n".join(map(escape_markdown, bundle.missing.values())))

own, refused = ({}, {}) if training_denied_reason() else load_user_results()
chosen = []
if own or refused:
    before = [*st.session_state.get("keep_own_results", []), st.session_state.pop("tested", None)]
    set_widget_values(keep_own_results=[name for name in dict.fromkeys(before) if name in own])
    named = st.multiselect("Your own runs and external tests", list(own), key="keep_own_results", **PERSIST)
    chosen = [result for name in named for result in own[name]]
    for reason in refused.values():
        st.caption(escape_markdown(reason))


def show(block: ReportBlock, key: str) -> None:
    st.subheader(escape_markdown(block.title))
    st.markdown(escape_markdown(block.text))
    if block.figure is not None:
        st.plotly_chart(block.figure, config=TOOLBAR, key=f"figure {key}")
    if block.table:
        st.dataframe(block.table, hide_index=True, height="content")
    if block.table or block.data:
        offer(block, key)


def offer(block: ReportBlock, key: str) -> None:
    name = re.sub(r"\W+", "-", block.title).strip("-").lower()
    st.download_button(
        "Data as CSV", block.csv.encode("utf-8-sig"), f"{name}.csv", "text/csv", key=f"csv {key}", on_click="ignore"
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
        which = st.selectbox("Model and images", list(results), key="keep_point_of", **PERSIST)
        result = results[which]
        threshold = st.slider(
            "Threshold",
            0.0,
            1.0,
            result.figures.threshold,
            0.001,
            format="%.3f",
            key=f"threshold of {which}",
            **PERSIST,
        )
        prevalence = st.slider("Share of malignant lesions, %", 1, 60, 10, key="keep_prevalence", **PERSIST) / 100
        whose = "The app's own threshold" if result in bundle.validation else "The threshold of this run"
        st.caption(escape_markdown(f"{whose} is {result.figures.threshold:.3f}, {result.rule}. {roles([result])}"))
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
for name, tab in zip(names, persistent_tabs(names, "tab_results"), strict=True):
    if not tab.open:  # drawn when it is looked at
        continue
    with tab:
        if name == POINT:
            operating_points()
            continue
        if name == HOSPITAL:
            your_hospital(st.session_state.get("keep_own_results", []))
        rows = SECTIONS[name](bundle, chosen)
        if not rows:
            st.info("There are no figures for this section yet.")
        for number, row in enumerate(rows):
            for place, (block, column) in enumerate(zip(row, st.columns(len(row), gap="medium"), strict=True)):
                with column:
                    show(block, f"{name} {number} {place}")
