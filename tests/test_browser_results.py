"""The Results page in a real Chromium, on drawn records of six models: every plot, the slider, what is stale, what is one's own."""

import codecs
import re
from collections.abc import Iterator

import pytest
from browser_app import chromium, expect, idle, opened, start_server, stop_server
from conftest import copied

from rcdnet.models.local_operating_point import read_local_operating_point
from train.evaluate.curves import Point
from train.evaluate.external_test import OPERATING_POINT
from train.results.bundle import Bundle
from train.results.load_results import load_bundled_results
from train.results.operating_point import operating_point
from train.results.sections import SECTIONS


@pytest.fixture(scope="module")
def tree(drawn_tree, tmp_path_factory):
    return copied(drawn_tree, tmp_path_factory.mktemp("served") / "tree")


@pytest.fixture(scope="module")
def bundle(tree) -> Bundle:
    return load_bundled_results(tree / "assets" / "weights", tree / "assets" / "results")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tree) -> Iterator[str]:
    process, address = start_server(tree)
    yield address
    stop_server(process, tree)


@pytest.fixture
def page(browser, server) -> Iterator:
    with opened(browser, server, "/results") as page:
        expect(page.get_by_role("heading", name="How good is it, and how do we know?")).to_be_visible()
        yield page


def go_to(page, section: str) -> None:
    page.get_by_role("tab", name=section).click()
    expect(page.get_by_role("tab", name=section)).to_have_attribute("aria-selected", "true")
    idle(page)


@pytest.mark.parametrize(
    "section", [name for name in SECTIONS if name != "Your hospital"]
)  # which is of one's own tests
def test_every_plot_of_a_section_is_drawn(page, bundle, section):
    go_to(page, section)
    blocks = [block for row in SECTIONS[section](bundle, ()) for block in row]
    drawn = page.locator("[role=tabpanel]:visible .js-plotly-plot .main-svg:first-of-type .cartesianlayer")
    expect(drawn).to_have_count(sum(block.figure is not None for block in blocks))
    for block in blocks:
        expect(page.get_by_role("heading", name=block.title, exact=True)).to_be_visible()
    first = next(block for block in blocks if block.table or block.data)
    buttons = page.locator("[role=tabpanel]:visible").get_by_role("button", name="Data as CSV")
    # All of them, or the first may not be there yet
    expect(buttons).to_have_count(sum(bool(block.table or block.data) for block in blocks))
    with page.expect_download() as download:
        buttons.first.click()
    assert download.value.path().read_bytes() == codecs.BOM_UTF8 + first.csv.encode()


def metrics(page) -> dict[str, str]:
    return {
        block.get_by_test_id("stMetricLabel").inner_text(): block.get_by_test_id("stMetricValue").inner_text()
        for block in page.get_by_test_id("stMetric").all()
    }


def expected_metrics(point: Point) -> dict[str, str]:
    return {
        "Sensitivity": f"{point.sensitivity:.3f}",
        "Specificity": f"{point.specificity:.3f}",
        "PPV": f"{point.ppv:.3f}",
        "NPV": f"{point.npv:.3f}",
    }


def test_the_slider_moves_every_figure_as_the_engine_does(page, bundle):
    go_to(page, "Operating point")
    result = bundle.validation[0]
    threshold, prevalence = page.get_by_role("slider").nth(0), page.get_by_role("slider").nth(1)
    expect(threshold).to_have_value("0.31")
    seen = []
    for slider, key, presses in (
        (threshold, "ArrowRight", 40),
        (prevalence, "ArrowRight", 15),
        (threshold, "ArrowLeft", 90),
    ):
        slider.focus()
        for _ in range(presses):
            slider.press(key)
        at = [float(s.input_value()) for s in (threshold, prevalence)]
        point, chart, _ = operating_point(result, at[0], at[1] / 100)
        expect(page.get_by_test_id("stMetricValue").nth(1)).to_have_text(f"{point.specificity:.3f}")
        expect(page.get_by_test_id("stMetricValue").nth(2)).to_have_text(f"{point.ppv:.3f}")
        assert metrics(page) == expected_metrics(point)
        page.wait_for_function(  # the old drawing may still stand beside the new one for a moment
            """words => {
                const plots = document.querySelectorAll(".st-key-confusion .js-plotly-plot");
                return plots.length === 1 && String(plots[0].data[0].text.flat()) === String(words);
            }""",
            arg=[word for row in chart.data[0].text for word in row],
        )
        seen.append((at, expected_metrics(point)))
    assert len({str(s) for s in seen}) == 3


def test_own_tests_stand_beside_under_their_own_name(page):
    page.get_by_role("combobox", name="Your own runs and external tests").click()
    page.get_by_role("option", name="bundled-rcdnet on our-clinic").click()
    page.keyboard.press("Escape")
    heading = page.get_by_role("heading", name="bundled-rcdnet on our-clinic: our-clinic, external test")
    expect(heading).to_be_visible()
    go_to(page, "Curves")
    expect(page.get_by_role("heading", name=re.compile("^ROC curve. bundled-rcdnet on our-clinic"))).to_be_visible()


def test_a_hospitals_operating_point_is_offered_and_taken_back(page, tree):
    page.get_by_role("combobox", name="Your own runs and external tests").click()
    page.get_by_role("option", name="bundled-rcdnet on our-clinic").click()
    page.keyboard.press("Escape")
    go_to(page, "Your hospital")
    expect(page.get_by_role("heading", name="RcdNet on our-clinic, external test", exact=True)).to_be_visible()
    point = tree / "runs" / "bundled-rcdnet" / "external" / "our-clinic" / OPERATING_POINT
    page.get_by_role("button", name="Offer on Analyse").click()
    expect(page.get_by_text("Analyse offers the operating point of bundled-rcdnet on our-clinic")).to_be_visible()
    assert read_local_operating_point(point).site == "our-clinic"
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_role("button", name="Offer on Analyse")).to_be_visible()
    assert not point.exists()


def test_figures_of_other_weights_are_not_shown(page, tree):
    """Last, because it changes the served tree."""
    weights = tree / "assets" / "weights" / "regnet.safetensors"
    before = weights.read_bytes()
    weights.write_bytes(b"trained anew")
    page.reload()
    expect(page.get_by_text("The figures of RegNet are of other weights than those in the app")).to_be_visible()
    expect(page.get_by_text("python -m train ship RUN").first).to_be_visible()
    expect(page.get_by_text(re.compile("^RegNet: on"))).to_have_count(0)
    weights.write_bytes(before)
    page.reload()
    expect(page.get_by_text(re.compile("^RegNet: on"))).to_be_visible()
