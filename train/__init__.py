"""Training and evaluating the models of `rcdnet`; needs no streamlit, and to train neither plotly nor grad-cam."""

import rcdnet  # noqa: F401, for it settles torch's threads before any module in here loads torch
