"""A newcomer on a fresh Train page, in a real Chromium: data, a model, a recipe, Start, and the first curve."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_app import app_copy, choose, chromium, expect, fill, idle, opened, press, start_server, stop_server
from conftest import ROOT
from processes import process_of, worker_of

from train.data.phantoms import write_dataset
from train.presets import PRESETS


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Iterator[Path]:
    """The app as it was unpacked, without a run; with a folder of somebody's own, and one of too few scans."""
    tree = app_copy(ROOT, tmp_path_factory.mktemp("start") / "tree")
    clinic = tree / "data" / "clinic"
    for place, each in ((clinic, 25), (tree / "data" / "few", 2)):
        write_dataset(place, each, seed=3)
        (place / "phantoms.csv").unlink()  # by which phantoms are known
    for path in [p for p in clinic.rglob("* (*") if p.is_file()]:  # else their names are BUSI's
        path.rename(path.with_name(path.name.replace(" (", "-").replace(")", "")))
    yield tree
    for pid in [*worker_of(tree / "runs"), *(pid for run in (tree / "runs").glob("*") for pid in process_of(run))]:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def served(tree) -> Iterator[tuple]:
    """A browser, and where the app answers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # for whatever else this machine does
        process, address = start_server(tree)
        with chromium() as browser:
            yield browser, address
        stop_server(process, tree)


@pytest.fixture
def page(served, tree) -> Iterator:
    with opened(*served, "/training") as page:
        page.set_viewport_size({"width": 1280, "height": 720})
        idle(page)
        if any((tree / "runs").glob("*/config.json")):  # of a test before
            press(page, "New run")
            idle(page)
        yield page


def started(page) -> None:
    """Press Start, see the first curve, and stop again."""
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("[class*='st-key-live-0'] .js-plotly-plot").last).to_be_visible(timeout=400_000)
    expect(page.get_by_role("heading", name=re.compile(r"^Epoch \d+ of \d+|^Finished"))).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("^Stopped"))).to_be_visible(timeout=120_000)
    expect(page.get_by_role("combobox", name=re.compile("Run"))).to_have_count(1)


@pytest.mark.parametrize(("data", "model"), [("phantoms", "rcdnet"), ("clinic (labelled images)", "mobilenetv2")])
def test_every_recipe_starts(page, data, model):
    """Start was grey on two of three, for a reason in a closed panel; every folder of one's own as well."""
    choose(page, "Data", data)
    choose(page, "Models, one after the other", model)
    start = page.get_by_role("button", name="Start", exact=True)
    for number, recipe in enumerate(PRESETS):
        if number:
            press(page, "New run")
            idle(page)
        press(page, recipe)
        idle(page)
        expect(start).to_be_enabled()
        expect(page.get_by_text(re.compile("^phantoms: 40 benign|^clinic: 25 benign"))).to_be_visible()
        expect(page.get_by_text(re.compile(r"Split (7:3|k-fold): .* images train and \d+ validate"))).to_be_visible()
        if recipe == "finetune":  # an epoch passes over so few images so often that it takes minutes on a CPU
            page.get_by_text("All settings").click()
            fill(page, "min steps", 0)
            expect(page.get_by_text("Changed: min steps.")).to_be_visible()
        started(page)
    page.get_by_role("button", name="Clone settings").click()
    idle(page)
    expect(page.get_by_text("Changed: min steps.")).to_be_visible()  # of finetune, which is chosen
    expect(page.get_by_test_id("stMultiSelect").get_by_text(data)).to_be_visible()
    page.get_by_role("button", name="Fill in this recipe").click()
    idle(page)
    expect(page.get_by_text("Changed:")).to_have_count(0)
    expect(start).to_be_enabled()


def test_what_hinders_stands_beside_start(page):
    right = page.get_by_test_id("stColumn").filter(has=page.get_by_role("button", name="Start", exact=True))
    expect(right.get_by_text("No model is chosen. Choose one or more.")).to_be_visible()
    expect(right.get_by_text("No data is chosen.")).to_be_visible()
    choose(page, "Models, one after the other", "rcdnet")
    choose(page, "Data", "few (BUSI)")
    expect(right.get_by_text("A class has 2 patients or groups of near-copies; at least 3 are needed")).to_be_visible()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
