"""What the pages need of torch and its kin, loaded once and then left out of garbage collection.

Streamlit collects garbage after every run of a page. The libraries alone hold 570,000 objects, and to look through them takes 0.3 s,
in which nobody else on the server is answered either.
"""

import gc
from functools import cache
from importlib import import_module

NEEDED = (
    "rcdnet.reading.inference",
    "rcdnet.present.prediction_report",
    "train.results.sections",
    "train.runs.training_form",
    "train.runs.watch",
)


@cache
def load() -> None:
    """Import them, before any scan is read: what is there now is never looked through again."""
    for name in NEEDED:
        import_module(name)
    gc.collect()
    gc.freeze()
