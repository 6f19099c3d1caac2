"""How long the Results page takes beside an empty page, on one warm server: PYTHONPATH=. python tests/bench_pages.py"""

import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from browser_app import chromium, expect, idle, start_server, stop_server
from synthetic_results import app_tree

ROUNDS = 5
EMPTY = 'import streamlit as st\n\nst.title("How good is it, and how do we know?")\n'


def main() -> None:
    with tempfile.TemporaryDirectory() as place, patch("train.metrics.bootstrap.BOOTSTRAP_SAMPLES", 20):
        tree = app_tree(Path(place) / "tree")
        frame = tree / "app.py"
        page = '    "about": st.Page('
        empty = '    "empty": st.Page("pages/empty.py", title="Empty"),\n'
        frame.write_text(frame.read_text().replace(page, empty + page))
        (tree / "pages" / "empty.py").write_text(EMPTY)
        process, address = start_server(tree)
        seconds: dict[str, list[float]] = {"empty": [], "results": []}
        with chromium() as browser:
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            tab.goto(address)
            idle(tab)
            for _ in range(ROUNDS + 1):  # the first round warms up
                for name, times in seconds.items():
                    began = time.perf_counter()
                    tab.goto(f"{address}/{name}")
                    expect(tab.get_by_role("heading", name="How good is it, and how do we know?")).to_be_visible()
                    idle(tab)
                    times.append(time.perf_counter() - began)
        stop_server(process, tree)
    empty_s, results_s = (statistics.median(times[1:]) for times in seconds.values())
    print(f"empty page {empty_s:.2f} s, Results page {results_s:.2f} s, ratio {results_s / empty_s:.2f}")


if __name__ == "__main__":
    main()
