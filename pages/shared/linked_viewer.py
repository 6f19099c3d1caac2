"""The panels of the Compare page, which zoom, move and read values together in the browser."""

from pathlib import Path

import streamlit as st

_ASSETS = Path(__file__).parent.parent.parent / "assets"

# Registered once for the whole app. What the browser draws comes as `rcdnet.present.heatmap_grid.viewer_data`; a box drawn by the
# reader comes back as `box`.
viewer = st.components.v2.component(
    "rcdnet_viewer",
    html='<div class="viewer"></div>',
    css=(_ASSETS / "viewer.css").read_text(encoding="utf-8"),
    js=(_ASSETS / "viewer.js").read_text(encoding="utf-8"),
)
