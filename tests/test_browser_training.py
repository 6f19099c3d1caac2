"""The Train page in a real Chromium, with real training processes: start, watch, leave, stop, kill, resume, compare, use."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_app import app_copy, choose, chromium, enter, expect, fill, idle, opened, press, start_server, stop_server
from conftest import ROOT
from processes import process_of, wait_for, worker_of

from train.config import TrainConfig
from train.data.phantoms import write_dataset
from train.runs import watch
from train.runs.run_state import State


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Iterator[Path]:
    """The app with its shipped weights and a folder of runs of its own."""
    tree = app_copy(ROOT, tmp_path_factory.mktemp("training") / "tree")
    yield tree
    for pid in [*worker_of(tree / "runs"), *(pid for run in (tree / "runs").glob("*") for pid in process_of(run))]:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def servers(tree) -> Iterator[list]:
    """The running server, which a test may replace."""
    with pytest.MonkeyPatch.context() as patch:  # which leaves the setting of the test process as it was
        patch.setenv("OMP_NUM_THREADS", "1")  # for whatever else this machine does
        running = [start_server(tree)]
        yield running
        stop_server(running[0][0], tree)


def call_it(page, name: str) -> None:
    enter(page, page.get_by_role("textbox", name="Name"), name)


def view(page, name: str) -> None:
    press(page, name)
    idle(page)


def traces(page) -> dict[str, int]:
    """The curves of the first plot on the page, and how many epochs each has."""
    plot = page.locator("[class*='st-key-live-0'] .js-plotly-plot")
    if not plot.count():
        return {}
    # An old plot may be on its way out while a new one stands behind it.
    return plot.last.evaluate("plot => Object.fromEntries((plot.data ?? []).map(t => [t.name, t.x.length]).reverse())")


def points(page) -> int:
    """How many epochs the loss curve on the page shows."""
    return max(traces(page).values(), default=0)


def test_a_run_from_start_to_the_analyse_page(browser, servers, tree):
    server = servers[0][1]
    runs = tree / "runs"
    with opened(browser, server, "/training") as page:
        expect(page.get_by_text("No model is chosen. Choose one or more.")).to_be_visible()
        expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
        choose(page, "Data", "phantoms")
        expect(page.get_by_text(re.compile("phantoms: 40 benign and 40 malignant images"))).to_be_visible()
        choose(page, "Models, one after the other", "mobilenetv2")
        expect(page.get_by_role("button", name="Start", exact=True)).to_be_enabled()
        expect(page.get_by_text("Split k-fold: part 1 of 5 validates; 64 images train and 16 validate")).to_be_visible()
        page.get_by_text("All settings").click()
        choose(page, "split", "official")
        expect(page.get_by_text("None of these data sets has official folds.")).to_be_visible()
        expect(page.get_by_role("button", name="Start", exact=True)).to_be_disabled()
        page.get_by_text("All settings").click()
        expect(page.get_by_text("None of these data sets has official folds.")).to_be_visible()
        page.get_by_text("All settings").click()
        choose(page, "split", "7:3")
        fill(page, "batch size", 7)
        expect(page.get_by_text("batch_size is 7; expected an even number.")).to_be_visible()
        for setting, value in {"batch size": 16, "epochs": 100, "end size": 128, "warmup epochs": 1}.items():
            fill(page, setting, value)
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.get_by_text(re.compile(r"Epoch \d+ of 100"))).to_be_visible(timeout=90_000)
        run = runs / "mobilenetv2-1"
        wait_for(lambda: points(page) >= 1)

        # Another page, a reload and a second tab find the same run; the device is taken.
        before = points(page)
        page.get_by_role("link", name="About").click()
        expect(page.get_by_role("heading", name="About RcdNet Dashboard")).to_be_visible()
        page.get_by_role("link", name="Train").click()
        expect(page.get_by_role("heading", name="Train", exact=True)).to_be_visible()
        wait_for(lambda: points(page) > before)
        page.reload()
        expect(page.get_by_text(re.compile(r"Epoch \d+ of 100"))).to_be_visible()
        with opened(browser, server, "/training") as second:
            expect(second.get_by_text(re.compile(r"Epoch \d+ of 100"))).to_be_visible()
            second.get_by_role("button", name="Clone settings").click()
            idle(second)
            expect(second.get_by_text("Changed: epochs, batch size, warmup epochs, end size.")).to_be_visible()
            expect(second.get_by_text(re.compile("phantoms: 40 benign and 40 malignant images"))).to_be_visible()
            call_it(second, "mobilenetv2-1")
            expect(second.get_by_text("There is already a run named mobilenetv2-1.")).to_be_visible()
            expect(second.get_by_role("button", name="Start", exact=True)).to_be_disabled()
            call_it(second, "short")
            second.get_by_text("All settings").click()
            fill(second, "epochs", 3)
            second.get_by_role("button", name="Start", exact=True).click()
            expect(second.get_by_text("Queued for cpu, next in line")).to_be_visible()
        assert len(process_of(run)) == 1
        assert process_of(runs / "short") == []

        # The server dies and comes back: the run went on.
        servers[0][0].kill()
        servers[0][0].communicate()
        (pid,) = process_of(run)
        servers[0] = start_server(tree)
    with opened(browser, servers[0][1], "/training") as page:
        choose(page, "Run", "mobilenetv2-1")
        expect(page.get_by_text(re.compile(r"Epoch \d+ of 100"))).to_be_visible()
        assert process_of(run) == [pid]

        # Killed: lost within ten seconds, and resumed. It waits behind the other, which had its turn.
        os.kill(pid, signal.SIGKILL)
        expect(page.get_by_text(re.compile(r"Lost, \d+ of 100 epochs"))).to_be_visible(timeout=10_000)
        done = len(watch.view_of(run).epochs)
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_text(re.compile(r"Epoch \d+ of 100"))).to_be_visible(timeout=180_000)
        wait_for(lambda: points(page) > done)
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.get_by_text(re.compile(r"Stopped, \d+ of 100 epochs"))).to_be_visible(timeout=60_000)

        # The short one is finished: compared, and used.
        wait_for(lambda: watch.view_of(runs / "short").state is State.FINISHED)
        page.reload()
        choose(page, "Run", "short")
        expect(page.get_by_text("Finished, 3 of 3 epochs")).to_be_visible()
        choose(page, "Compare with", "mobilenetv2-1")
        expect(page.get_by_role("heading", name=re.compile("^short. phantoms"))).to_be_visible()
        wait_for(lambda: {"short, training", "mobilenetv2-1, training"} <= set(traces(page)), 30)
        expect(page.locator("img[alt^='phantoms/']")).to_have_count(8)
        write_dataset(tree / "data" / "clinic", 4, seed=8)
        (tree / "data" / "clinic" / "phantoms.csv").unlink()  # by which phantoms are known, and these stand for scans
        page.reload()
        choose(page, "Run", "short")
        page.get_by_text("Test it on other data").click()
        idle(page)  # a click that comes while the page is drawn anew may be lost
        page.get_by_role("button", name="Test", exact=True).click()
        expect(page.get_by_text("Done. Choose short on clinic on the Results page.")).to_be_visible(timeout=120_000)
        page.get_by_role("link", name="Results").click()
        choose(page, "Your own runs and external tests", "short on clinic")
        expect(page.get_by_role("heading", name="short on clinic: clinic, external test")).to_be_visible()
        page.get_by_role("link", name="Train").click()
        expect(page.get_by_role("heading", name="Train", exact=True)).to_be_visible()
        choose(page, "Run", "short")
        page.get_by_role("button", name="Use on the Analyse page").click()
        idle(page)
        weights, refused = runs / "short" / "app" / "mobilenetv2.json", page.get_by_text("gives no answer")
        wait_for(lambda: weights.exists() or refused.count(), 60)
        if not weights.exists():  # three epochs may not be enough to answer; then nothing is offered
            return
        expect(page.get_by_role("button", name="Remove from the Analyse page")).to_be_visible()
        idle(page)
        page.get_by_role("link", name="Analyse").click()
        choose(page, "Your own models", "short")
        page.get_by_role("button", name="Try three synthetic phantoms").click()
        expect(page.locator(".call .word")).to_be_visible(timeout=60_000)
        card = page.locator(".st-key-card_own-short")
        expect(card.get_by_text("short (your MobileNetV2)")).to_be_visible()
        expect(card.get_by_text("Trained on drawn phantoms, not on scans")).to_be_visible()
        expect(card.get_by_text("validation AUC")).to_have_count(0)
        expect(page.get_by_text(re.compile("All 6 models|of 6 models|stands alone"))).to_be_visible()  # without it


def test_what_is_typed_while_the_page_is_drawn_stays(browser, servers, tree):
    with opened(browser, servers[0][1], "/training") as page:
        idle(page)
        view(page, "New run")
        choose(page, "Data", "phantoms")
        page.get_by_text("All settings").click()
        typed = {"epochs": "77", "batch size": "48", "Name": "a-name-that-takes-a-while-to-type"}
        fields = {name: page.get_by_label(name, exact=True).last for name in typed}
        for field, value in zip(fields.values(), typed.values(), strict=True):
            page.get_by_text("compile", exact=True).click()
            field.select_text()
            # For as long as the script that the click began draws the page.
            field.press_sequentially(value, delay=1500 / len(value))
            field.press("Enter")
        page.wait_for_timeout(500)
        idle(page)
        for name, value in typed.items():
            expect(fields[name]).to_have_value(value)
        # Another page, and the same form again.
        page.get_by_role("link", name="About").click()
        expect(page.get_by_role("heading", name="About RcdNet Dashboard")).to_be_visible()
        page.get_by_role("link", name="Train").click()
        expect(page.get_by_role("heading", name="Train", exact=True)).to_be_visible()
        page.get_by_text("All settings").click()
        for name, value in typed.items():
            expect(page.get_by_label(name, exact=True).last).to_have_value(value)


def test_delete_asks_first(browser, servers, tree):
    for name in ("gone", "stays"):
        (tree / "runs" / name).mkdir(parents=True)
        (tree / "runs" / name / "config.json").write_text(TrainConfig(data=(("busi", "DIR"),)).to_json())
    gone = tree / "runs" / "gone"
    with opened(browser, servers[0][1], "/training") as page:
        choose(page, "Run", "gone")
        page.get_by_role("button", name=re.compile("^Delete")).click()
        expect(page.get_by_text("This cannot be undone.")).to_be_visible()
        assert gone.exists()
        page.get_by_role("button", name="Delete for good").click()
        wait_for(lambda: not gone.exists(), 20)
        expect(page.get_by_role("combobox", name="Run")).not_to_have_value("gone")


def test_nobody_trains_on_a_server_that_others_can_reach(browser, tree):
    """Neither a button nor a run, its log or its images are there, so nothing that a browser sends can ask for them."""
    process, place = start_server(tree, "--server.address", "0.0.0.0")
    with opened(browser, place, "/training") as page:
        expect(page.get_by_text("without signing in, so nobody may train here")).to_be_visible()
        idle(page)
        expect(page.get_by_test_id("stMain").get_by_role("combobox")).to_have_count(0)
        expect(page.get_by_test_id("stMain").get_by_role("button")).to_have_count(0)
        expect(page.get_by_test_id("stMain").locator("img")).to_have_count(0)
        page.goto(f"{place}/results")
        expect(page.get_by_role("heading", name="How good is it")).to_be_visible()
        idle(page)
        expect(page.get_by_text("Your own runs and external tests")).to_have_count(0)
    stop_server(process, tree)
