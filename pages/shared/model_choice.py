"""Which models answer on Analyse and Compare: those that are trained, and the user's own that are chosen."""

import streamlit as st

from pages.shared.access_control import training_denied_reason
from pages.shared.markdown_escape import escape_markdown
from pages.shared.widget_state import PERSIST, set_widget_values
from rcdnet.errors import RcdnetError
from rcdnet.reading.inference import Classifier, load_custom, load_trained
from train.runs.weights_for_analyse import shared


def select_models() -> tuple[list[Classifier], dict[str, RcdnetError]]:
    """Every trained model, the user's own that are chosen after them, and why others are unavailable; stops without RcdNet."""
    with st.spinner("Loading the models"):
        classifiers, unavailable = load_trained()
    if "rcdnet" in unavailable:
        st.error(escape_markdown(str(unavailable["rcdnet"])))
        st.stop()
    own = {} if training_denied_reason() else shared()
    set_widget_values(keep_own_models=[name for name in st.session_state.get("keep_own_models", []) if name in own])
    with st.sidebar:
        for name in st.multiselect("Your own models", list(own), key="keep_own_models", **PERSIST) if own else []:
            try:
                classifiers.append(load_custom(name, own[name]))
            except RcdnetError as error:
                st.warning(escape_markdown(str(error)))
    return classifiers, unavailable
