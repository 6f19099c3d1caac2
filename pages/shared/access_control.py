"""What the person at the page may see."""

import streamlit as st

from train.runs.access_control import denial_reason


def training_denied_reason() -> str:
    """Why they may not train, nor see what others trained, as a sentence; empty if they may."""
    secrets = st.secrets if st.secrets.load_if_toml_exists() else {}
    return denial_reason(dict(st.user) or None, secrets.get("training", {}), st.get_option("server.address"))
