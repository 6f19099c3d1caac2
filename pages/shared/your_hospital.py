"""A bundled model tested on a hospital's own scans, and its operating point there offered on Analyse, from the Results page."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from pages.shared.access_control import training_denied_reason
from pages.shared.markdown_escape import escape_markdown
from pages.shared.widget_state import PERSIST
from rcdnet.errors import RcdnetError
from rcdnet.models.registry import MODELS
from train.evaluate.adapt import bundled_tests, save_local_operating_point
from train.evaluate.external_test import OPERATING_POINT
from train.results.your_hospital_blocks import WHAT
from train.runs.data_locations import PHANTOMS, data_root
from train.runs.external_test_from_page import run_bundled_test
from train.runs.training_form import data_titles


def your_hospital(named: Sequence[str]) -> None:
    """Widgets above the figures; `named` are the results that are shown."""
    st.markdown(WHAT)
    if reason := training_denied_reason():
        st.info(escape_markdown(reason))
        return
    titles = [title for title in data_titles(data_root()) if title != PHANTOMS]
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    which = left.selectbox(
        "Scans in the data folder", titles, key="keep_hospital_data", placeholder="There is no data set yet", **PERSIST
    )
    model = middle.selectbox(
        "Model", list(MODELS), format_func=lambda name: MODELS[name].title, key="keep_hospital_model", **PERSIST
    )
    if right.button("Test", disabled=which is None, width="stretch") and which:
        try:
            with st.spinner(f"Testing {MODELS[model].title} on {which}"):
                tested = run_bundled_test(model, which, data_root())
            st.session_state["tested"] = tested  # chosen above when the page is drawn again
            st.rerun()
        except RcdnetError as error:
            st.error(escape_markdown(str(error)))
    for name, place in bundled_tests().items():
        if name in named:
            _offer(name, place / OPERATING_POINT)


def _offer(name: str, point: Path) -> None:
    told, button = st.columns([4, 1], vertical_alignment="center")
    if point.exists():
        told.caption(
            escape_markdown(f"Analyse offers the operating point of {name}. What came with the app stays as it is.")
        )
        if button.button("Take it back", key=f"withdraw {name}", width="stretch"):
            point.unlink(missing_ok=True)
            st.rerun()
    elif button.button("Offer on Analyse", key=f"offer {name}", width="stretch"):
        try:
            save_local_operating_point(point.parent)
            st.rerun()
        except RcdnetError as error:
            told.error(escape_markdown(str(error)))
