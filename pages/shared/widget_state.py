"""What the widgets of a page hold, from page to page."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

# Of a widget that another page, or another view of this one, must not reset
PERSIST: Any = {"persist_state": "session"}


def set_widget_values(**values: Any) -> None:
    """Give widgets these values where they hold others.

    The browser shows what is assigned, whatever somebody has typed since the script began. So what is there already is not
    assigned again.
    """
    for key, value in values.items():
        if key not in st.session_state or st.session_state[key] != value:
            st.session_state[key] = value


def persistent_tabs(titles: Sequence[str], key: str) -> Sequence[Any]:
    """`st.tabs` that are drawn when they are opened, and stay open from page to page, which `persist_state` does not offer for them."""
    state, before = st.session_state, f"{key} before"
    if key not in state and before in state:
        state[key] = state[before]
    made = st.tabs(titles, key=key, on_change="rerun")
    state[before] = state[key]
    return made
