"""What the person at the page may see."""

import streamlit as st

from train.runs.access_control import refusal


def barred() -> str:
    """Why they may not train, nor see what others trained, as a sentence; empty if they may."""
    secrets = st.secrets if st.secrets.load_if_toml_exists() else {}
    return refusal(dict(st.user) or None, secrets.get("training", {}), st.get_option("server.address"))
