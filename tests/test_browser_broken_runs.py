"""Broken run folders beside a good one, in a real Chromium: a line for each on Train and on Results, and the good one works."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from broken_runs import BOTH, PLANTED, RESULTS, TRAIN
from browser_app import chromium, expect, idle, opened, start_server, stop_server
from conftest import copied

CHOSEN = [
    "settings nested deep", "settings with half a letter", "a pipe as settings", "settings of 300 MB", "events of 300 MB",
    "a pipe as events", "an epoch of no run", "seconds without end", "a folder as lock", "a job nested deep",
    "a log of 300 MB", "a start in the future", "an evaluation nested deep", "a link to nothing as evaluation",
    "a set without its AUC", "a pipe as weights",
]  # fmt: skip


@pytest.fixture(scope="module")
def tree(drawn_tree, run, tmp_path_factory) -> Path:
    tree = copied(drawn_tree, tmp_path_factory.mktemp("planted") / "tree")
    copied(run, tree / "runs" / "good")
    for number, name in enumerate(CHOSEN):
        PLANTED[name][0](copied(run, tree / "runs" / f"bad-{number}"))
    return tree


@pytest.fixture(scope="module")
def server(tree) -> Iterator[str]:
    process, address = start_server(tree)
    yield address
    stop_server(process, tree)
    shutil.rmtree(tree / "runs")


def lines_on(page, which: str) -> None:
    for number, name in enumerate(CHOSEN):
        listed = which in PLANTED[name][1]
        expect(page.get_by_text(f"bad-{number} is not shown. ")).to_have_count(1 if listed else 0)


def test_every_broken_run_is_a_line_and_the_others_can_be_used(server):
    assert {TRAIN, RESULTS, BOTH, ""} == {PLANTED[name][1] for name in CHOSEN}
    with chromium() as browser:
        with opened(browser, server, "/training") as page:
            expect(page.get_by_text("bad-0 is not shown. ")).to_be_visible()
            idle(page)
            lines_on(page, TRAIN)
            page.get_by_role("combobox", name="Run", exact=True).click()
            page.get_by_role("option", name="good", exact=True).click()
            idle(page)
            expect(page.get_by_text("Finished, 3 of 3 epochs")).to_be_visible()
            expect(page.locator(".js-plotly-plot").first).to_be_visible()
        with opened(browser, server, "/results") as page:
            expect(page.get_by_text("bad-0 is not shown. ")).to_be_visible()
            idle(page)
            lines_on(page, RESULTS)
            page.get_by_role("combobox", name="Your own runs and external tests").click()
            page.get_by_role("option", name="good", exact=True).click()
            idle(page)
            expect(page.locator(".js-plotly-plot").first).to_be_visible()
