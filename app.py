"""The frame around every page: streamlit run app.py"""

from pathlib import Path

import streamlit as st
import streamlit.net_util
from starlette.formparsers import MultiPartParser

from pages.shared import (
    preload_libraries,
    upload_limits,  # noqa: F401  importing it bounds what may wait, whichever page is opened first
)
from rcdnet.present.statements import RESEARCH_USE
from rcdnet.scans.scan_and_mask import MAX_BYTES

ASSETS = Path(__file__).parent / "assets"

# The web server would put an upload of more than 1 MB into a temporary file; scans stay in memory.
MultiPartParser.spool_max_size = 2 * MAX_BYTES
# Streamlit asks a public service for this machine's address when a foreign page knocks; it is told beforehand.
streamlit.net_util._external_ip = "127.0.0.1"

st.set_page_config(page_title="RcdNet Dashboard", page_icon=str(ASSETS / "icon.png"), layout="wide")
pages = {
    "analyse": st.Page("pages/analyse.py", title="Analyse", icon=":material/radiology:", default=True),
    "compare": st.Page("pages/compare.py", title="Compare", icon=":material/grid_view:"),
    "results": st.Page("pages/results.py", title="Results", icon=":material/query_stats:"),
    "training": st.Page("pages/training.py", title="Train", icon=":material/model_training:"),
    "about": st.Page("pages/about.py", title="About", icon=":material/info:"),
}
page = st.navigation(list(pages.values()), position="top")

# Each page asks for this mark, because a direct link to a page would otherwise run it without this frame.
st.session_state["framed"] = True
wanted = st.session_state.pop("wanted_page", None)
if wanted in pages:
    st.switch_page(pages[wanted])

st.logo(ASSETS / "logo.svg", size="large")
st.html(ASSETS / "frame.css")
st.html(f'<div class="research-use" role="note">{RESEARCH_USE}</div>')
preload_libraries.load()
page.run()
