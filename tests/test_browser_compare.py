"""The Compare page in a real Chromium: a grid, panels that move together, a box, slow methods, a figure."""

import json
import re
from collections.abc import Iterator
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from browser_app import chromium, expect, idle, opened, start_server, stop_server
from conftest import ROOT, encoded
from PIL import Image
from processes import wait_for

from rcdnet.reading.inference import classify, load_trained
from train.data.phantoms import SAMPLE_PHANTOMS, render_phantom

PHANTOM = render_phantom(SAMPLE_PHANTOMS["phantom-irregular-mass"], seed=2)
TRAINED = load_trained()[0]


@pytest.fixture(scope="module")
def page() -> Iterator:
    with chromium() as browser:
        process, address = start_server(ROOT)
        with opened(browser, address, "/compare") as page:
            page.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files(
                {"name": "scan.png", "mimeType": "image/png", "buffer": encoded(Image.fromarray(PHANTOM.image))}
            )
            expect(panels(page)).to_have_count(3 * len(TRAINED))
            yield page
        stop_server(process, ROOT)


def panels(page):
    return page.locator(".viewer .grid canvas")


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    idle(page)


def pixels(page, number: int) -> np.ndarray:
    """What a panel shows, uint8 (H, W, 3)."""
    values = (
        panels(page)
        .nth(number)
        .evaluate(
            """c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height);
                  return JSON.stringify([c.height, c.width, Array.from(d.data)]); }"""
        )
    )
    height, width, data = json.loads(values)
    return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]


def point(page, number: int, across: float, down: float) -> None:
    panels(page).nth(number).scroll_into_view_if_needed()
    box = panels(page).nth(number).bounding_box()
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])


def test_every_model_and_method_has_its_panel(page):
    labels = [panels(page).nth(k).get_attribute("aria-label") for k in range(3 * len(TRAINED))]
    for classifier in TRAINED:
        assert sum(label.startswith(f"{classifier.title}, Grad-CAM for") for label in labels) == 1
    colourful = [np.ptp(pixels(page, k).astype(int), axis=2).max() > 30 for k in range(len(labels))]
    notes = page.locator(".viewer .note").all_inner_texts()
    assert all(seen or "an empty map" in note for seen, note in zip(colourful, notes, strict=True))
    expect(page.locator(".viewer .legend-block p").first).to_contain_text("model")  # who agrees is said first


def test_the_pointer_reads_every_panel(page):
    """The values are those of the library, at the same place of the scan."""
    across, down = 0.45, 0.6
    point(page, 0, across, down)
    expect(panels(page).last).to_have_attribute("aria-label", re.compile(r", .* = \d+ %$"))
    height, width = PHANTOM.image.shape
    for row, p in enumerate(classify(PHANTOM.image, TRAINED)):
        label = panels(page).nth(3 * row).get_attribute("aria-label")
        expected = p.heat(p.call)[int(down * height), int(across * width)]
        assert float(re.search(r", ([\d.e-]+) = ", label)[1]) == pytest.approx(expected, abs=0.04 * p.strength(p.call))


def test_zooming_and_moving_one_panel_takes_the_others_along(page):
    before = [pixels(page, k) for k in (0, 1, 4)]
    point(page, 1, 0.5, 0.5)
    for _ in range(3):
        page.mouse.wheel(0, -100)
    expect(page.locator(".viewer .size")).to_have_text("195 %")
    zoomed = [pixels(page, k) for k in (0, 1, 4)]
    assert all(np.abs(a.astype(int) - b).mean() > 5 for a, b in zip(before, zoomed, strict=True))
    page.mouse.down()
    point(page, 1, 0.2, 0.5)
    page.mouse.up()
    moved = [pixels(page, k) for k in (0, 1, 4)]
    assert all(np.abs(a.astype(int) - b).mean() > 5 for a, b in zip(zoomed, moved, strict=True))
    # An other opacity comes from the server, and what the reader looks at stays where it was.
    page.get_by_role("slider", name="Opacity").press("Home")
    idle(page)
    expect(page.locator(".viewer .size")).to_have_text("195 %")
    page.mouse.move(5, 5)
    wait_for(lambda: np.ptp(pixels(page, 0).astype(int), axis=2).max() <= 2)  # no colour is left
    page.get_by_role("button", name="Show the whole scan").click()
    expect(page.locator(".viewer .size")).to_have_text("100 %")
    for _ in range(12):
        page.get_by_role("slider", name="Opacity").press("PageUp")
    idle(page)


def test_a_box_and_then_a_mask_give_localisation_figures(page):
    tab(page, "Do they lie on the lesion?")
    expect(page.get_by_text("Give a mask here")).to_be_visible()
    page.get_by_role("button", name="Draw a box around the lesion on any panel").click()
    point(page, 0, 0.3, 0.3)
    page.mouse.down()
    point(page, 0, 0.6, 0.6)
    page.mouse.up()
    expect(page.get_by_text("Energy over chance is 1")).to_be_visible()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    page.get_by_role("link", name="About").click()
    expect(page.get_by_role("heading", name="About RcdNet Dashboard")).to_be_visible()
    page.get_by_role("link", name="Compare").click()
    expect(page.get_by_text("Energy over chance is 1")).to_be_visible()  # the box is kept
    wrong, right = encoded(Image.fromarray(PHANTOM.mask[:-1])), encoded(Image.fromarray(PHANTOM.mask))
    upload = page.get_by_test_id("stFileUploaderDropzoneInput").last
    upload.set_input_files({"name": "mask.png", "mimeType": "image/png", "buffer": wrong})
    expect(page.get_by_text("Give the mask that belongs to this scan")).to_be_visible()
    page.get_by_role("button", name="Forget the box").click()
    expect(page.get_by_text("Give a mask here")).to_be_visible()
    idle(page)
    upload.set_input_files({"name": "mask.png", "mimeType": "image/png", "buffer": right})
    expect(page.get_by_text("Energy over chance is 1").first).to_be_visible()
    page.get_by_role("button", name="Remove the mask of Scan 1").click()
    expect(page.get_by_text("Give a mask here")).to_be_visible()
    idle(page)
    upload.set_input_files({"name": "mask.png", "mimeType": "image/png", "buffer": right})
    expect(page.get_by_text("The uploaded mask is used for Scan 1, in preference to any box.")).to_be_visible()


def test_maps_are_compared_and_a_slow_method_can_be_cancelled(page):
    tab(page, "How alike are the maps?")
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    tab(page, "Slow methods")
    page.get_by_role("button", name="Compute ScoreCAM").click()
    expect(page.get_by_text(re.compile(r"ScoreCAM, \d+ of \d+"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    idle(page)
    expect(page.get_by_role("button", name="Compute ScoreCAM")).to_be_visible()
    expect(panels(page)).to_have_count(3 * len(TRAINED))


def test_the_figure_and_the_raw_maps_hold_what_is_shown(page):
    tab(page, "Download")
    page.get_by_role("radio", name="SVG").or_(page.get_by_role("button", name="SVG", exact=True)).first.click()
    page.wait_for_timeout(500)  # the rerun replaces the button
    idle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="The grid as a figure").click()
    text = " ".join(ElementTree.parse(download.value.path()).getroot().itertext())
    for words in [*(c.title for c in TRAINED), "Grad-CAM++", "LayerCAM", "layer cbam", "Research use only"]:
        assert words in text
    idle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Raw maps as .npz").click()
    with np.load(BytesIO(download.value.path().read_bytes())) as archive:
        assert len(archive.files) == 1 + 3 * len(TRAINED)


def test_one_model_is_measured_against_chance(page):
    """Last, for it takes the other models and methods out."""
    for box, left in ((0, len(TRAINED)), (1, 3)):
        for kept in range(left - 1, 0, -1):
            page.get_by_test_id("stMultiSelect").nth(box).get_by_role("combobox").press("Backspace")
            expect(panels(page)).to_have_count(kept * (1 if box else 3))
    tab(page, "Does the model use them?")
    page.get_by_role("button", name=re.compile("Measure 2 maps")).click()
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    names = page.locator(".js-plotly-plot").first.evaluate("plot => plot.data.map(trace => trace.name)")
    assert names == ["Grad-CAM", "RandomCAM"]


def test_clearing_the_scans_forgets_what_was_said_of_their_lesions(page):
    """Last, because it clears them."""
    page.get_by_role("button", name="Clear all scans").click()
    page.get_by_role("button", name="Clear them").click()
    expect(page.get_by_role("heading", name="Heatmaps side by side")).to_be_visible()
    page.get_by_test_id("stFileUploaderDropzoneInput").first.set_input_files(
        {"name": "scan.png", "mimeType": "image/png", "buffer": encoded(Image.fromarray(PHANTOM.image))}
    )
    expect(page.locator(".viewer")).to_be_visible()
    idle(page)
    tab(page, "Do they lie on the lesion?")
    expect(page.get_by_text("Give a mask here")).to_be_visible()
