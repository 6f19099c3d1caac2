"""Which models answer on Analyse and Compare: those that are trained, and the user's own that are chosen."""

import streamlit as st

from pages.shared.access_control import training_denied_reason
from pages.shared.markdown_escape import escape_markdown
from pages.shared.widget_state import PERSIST, set_widget_values
from rcdnet.errors import RcdnetError
from rcdnet.models.local_operating_point import read_local_operating_point
from rcdnet.reading.inference import Classifier, at_site, load_custom, load_trained
from train.evaluate.adapt import local_operating_points
from train.runs.weights_for_analyse import shared

SHIPPED = "as it came"


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
            chosen = st.session_state.get("keep_site")
            set_widget_values(keep_site=chosen if chosen in sites else SHIPPED)
            site = st.selectbox("Operating point", [SHIPPED, *sites], key="keep_site", **PERSIST)
            for k, classifier in enumerate(classifiers):
                if path := sites.get(site, {}).get(classifier.spec.name):
                    try:
                        classifiers[k] = at_site(classifier, read_local_operating_point(path))
                    except RcdnetError as error:
                        st.warning(escape_markdown(str(error)))
        for name in st.multiselect("Your own models", list(own), key="keep_own_models", **PERSIST) if own else []:
            try:
                classifiers.append(load_custom(name, own[name]))
            except RcdnetError as error:
                st.warning(escape_markdown(str(error)))
    return classifiers, unavailable
