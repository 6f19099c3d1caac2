"""Which models answer on Analyse and Compare: those that are trained, and the user's own that are chosen."""

from pathlib import Path

import streamlit as st

from pages.shared.access_control import training_denied_reason
from pages.shared.markdown_escape import escape_markdown
from pages.shared.widget_state import PERSIST, set_widget_values
from rcdnet.errors import RcdnetError
from rcdnet.models.local_operating_point import read_local_operating_point
from rcdnet.present.text import join_names
from rcdnet.reading.inference import Classifier, at_site, load_custom, load_trained
from train.evaluate.adapt import local_operating_points
from train.runs.weights_for_analyse import shared

SHIPPED = ""  # which is the name of no folder


def select_models() -> tuple[list[Classifier], dict[str, RcdnetError]]:
    """Every trained model at the operating point that is chosen, the user's own after them, and why others are unavailable;
    stops without RcdNet."""
    with st.spinner("Loading the models"):
        classifiers, unavailable = load_trained()
    if "rcdnet" in unavailable:
        st.error(escape_markdown(str(unavailable["rcdnet"])))
        st.stop()
    denied = training_denied_reason()
    sites = {} if denied else local_operating_points()
    own = {} if denied else shared()
    set_widget_values(keep_own_models=[name for name in st.session_state.get("keep_own_models", []) if name in own])
    with st.sidebar:
        if sites:
            before = st.session_state.get("keep_site")
            set_widget_values(keep_site=before if before in sites else SHIPPED)
            site = st.selectbox(
                "Operating point",
                [SHIPPED, *sites],
                format_func=lambda name: name or "as it came",
                key="keep_site",
                **PERSIST,
            )
            _move_to(site, sites.get(site, {}), classifiers)
        for name in st.multiselect("Your own models", list(own), key="keep_own_models", **PERSIST) if own else []:
            try:
                classifiers.append(load_custom(name, own[name]))
            except RcdnetError as error:
                st.warning(escape_markdown(str(error)))
    return classifiers, unavailable


def _move_to(site: str, paths: dict[str, Path], classifiers: list[Classifier]) -> None:
    """Give classifiers the operating point of a site, and say which have none there."""
    for k, classifier in enumerate(classifiers):
        if path := paths.get(classifier.spec.name):
            try:
                classifiers[k] = at_site(classifier, read_local_operating_point(path))
            except RcdnetError as error:
                st.warning(escape_markdown(str(error)))
    if site and (others := [c.title for c in classifiers if c.site is None]):
        st.caption(f"{join_names(others)} {'stays as it' if len(others) == 1 else 'stay as they'} came.")
