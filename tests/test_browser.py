"""The running app in a real Chromium, as a radiologist uses it."""

import codecs
import re
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from browser_app import chromium, expect, idle, opened, start_server, stop_server
from conftest import ROOT, encoded, ramp
from PIL import Image
from processes import wait_for

from rcdnet.models.registry import MODELS
from rcdnet.reading.inference import load_trained
from rcdnet.scans.scan_and_mask import MAX_BYTES
from train.data.other_pictures import OTHER_PICTURES

SAMPLES = sorted((ROOT / "assets" / "samples").glob("*.png"))
TRAINED = [c.spec for c in load_trained()[0]]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    process, address = start_server(ROOT)
    yield address
    output = stop_server(process, ROOT)
    for name in ("secret-name", "phantom", "broken"):
        assert name not in output  # file names are never logged


@pytest.fixture
def page(browser, server) -> Iterator:
    with opened(browser, server) as page:
        yield page


def upload(page, *files: tuple[str, bytes]) -> None:
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(
        [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files]
    )


def thumbnails(page):
    """The buttons that choose a scan; each begins with the sign of RcdNet's answer."""
    return page.get_by_role("button", name=re.compile("^[▲◆●] (high|uncertain|low|malignant|benign) "))


def pixels_of(page, alt: str) -> np.ndarray:
    """What the picture with that text really shows in the browser, uint8 (H, W, 3)."""
    image = page.locator(f"img[alt^='{alt}']").first
    expect(image).to_be_visible()
    width, source = image.evaluate("async img => { await img.decode(); return [img.naturalWidth, img.src]; }")
    with Image.open(BytesIO(b64decode(source.partition(",")[2]))) as picture:
        assert picture.width == width  # the browser has it, and decoded it
        return np.asarray(picture.convert("RGB"))


def test_a_direct_link_on_a_fresh_server_shows_that_page_in_its_frame(browser):
    """Streamlit runs pages/about.py without app.py until someone has opened the home page."""
    process, address = start_server(ROOT)
    page = browser.new_page()
    page.goto(f"{address}/about")
    expect(page.get_by_role("heading", name="About RcdNet Dashboard")).to_be_visible()
    expect(page.get_by_text("Research use only, not for diagnosis").last).to_be_visible()
    expect(page.get_by_role("link", name="Analyse")).to_be_visible()
    page.close()
    process.terminate()
    process.communicate(timeout=30)


def test_two_scans_and_a_broken_file(page):
    broken = SAMPLES[0].read_bytes()[:4000]
    upload(
        page,
        ("secret-name one.png", SAMPLES[0].read_bytes()),
        ("broken <b>scan</b>.png", broken),
        ("two.png", SAMPLES[1].read_bytes()),
        ("huge.png", SAMPLES[1].read_bytes() + bytes(MAX_BYTES)),
    )
    expect(thumbnails(page)).to_have_count(2)
    idle(page)
    refusals = page.locator(".st-key-refusals")
    broken_one = refusals.get_by_text("broken <b>scan</b>.png: The image is damaged or incomplete.")
    expect(broken_one).to_be_visible()  # as text, never as markup
    expect(refusals.get_by_text("huge.png: File must be 20.0MB or smaller.")).to_be_visible()
    lines = refusals.locator("[class*='st-key-refused_']")
    assert all(line.bounding_box()["height"] < 40 for line in lines.all())  # a line each, which goes by itself
    lines.filter(has_text="huge.png").get_by_role("button").click()
    expect(refusals.get_by_text("huge.png")).to_have_count(0)
    expect(broken_one).to_be_visible()
    scans = thumbnails(page)
    expect(scans).to_have_count(2)
    for number in range(2):
        scans.nth(number).click()
        expect(scans.nth(number)).to_have_attribute("data-testid", "stBaseButton-primary")
        idle(page)
        expect(page.locator(".call .word")).to_be_visible()
        expect(page.locator(".call")).to_contain_text("Probability of malignancy")
        for spec in TRAINED:
            shown = pixels_of(page, f"{spec.title}.")
            colourful = np.ptp(shown.astype(int), axis=2) > 30
            note = page.locator(f"img[alt^='{spec.title}.']").first.get_attribute("alt")
            assert colourful.mean() > 0.001 or "Empty map" in note
        for spec in MODELS.values():
            if spec not in TRAINED:
                expect(page.locator(f".st-key-card_{spec.name}")).to_contain_text("not trained yet")
    expect(page.locator(".js-plotly-plot .bars path")).to_have_count(len(TRAINED))


def test_clicking_on_while_a_page_is_drawn_loses_no_picture(page):
    """Pictures were media files of the server, which were sometimes gone before the browser came for them."""
    page.get_by_role("button", name="Try three synthetic phantoms").click()
    scans = thumbnails(page)
    expect(scans).to_have_count(3)
    for number in range(30):
        scans.nth(number % 3).click()
        page.wait_for_timeout(number * 37 % 200)
    idle(page)
    expect(page.locator("img[src^='data:image/png;']")).to_have_count(3 + 1 + len(TRAINED))
    assert page.evaluate("Array.from(document.images).every(i => i.complete && i.naturalWidth > 0)")


def test_the_first_call_is_there_while_others_are_read(page):
    """A batch showed nothing until its last scan was read."""
    upload(page, *((f"scan {k}.png", path.read_bytes() + bytes([k])) for k, path in enumerate(4 * SAMPLES)))
    expect(page.locator(".call .word")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^Reading scan \d+ of 12"))).to_be_visible()
    expect(page.get_by_role("button", name="All calls as CSV")).to_be_disabled()  # it would lack some
    thumbnails(page).first.click()  # which stops none
    expect(thumbnails(page)).to_have_count(12, timeout=120_000)
    idle(page)
    expect(thumbnails(page).first).to_have_attribute("data-testid", "stBaseButton-primary")
    expect(page.get_by_role("button", name="All calls as CSV")).to_be_enabled()


def test_what_the_uploader_says_of_its_limit_is_what_is_read(page):
    expect(page.get_by_test_id("stFileUploaderDropzoneInstructions")).to_have_text("20MB per file")
    expect(page.get_by_text("PNG, JPEG, BMP or TIFF, up to 20 MB each and 300 MB at a time.")).to_be_visible()


def test_a_change_of_page_while_scans_are_read_loses_none(page):
    """Those that waited were gone without a word."""
    upload(page, *((f"scan {k}.png", path.read_bytes() + bytes([k])) for k, path in enumerate(2 * SAMPLES)))
    page.wait_for_timeout(500)
    page.get_by_role("link", name="About").click()
    expect(page.get_by_role("heading", name="About RcdNet Dashboard")).to_be_visible()
    page.get_by_role("link", name="Analyse").click()
    expect(thumbnails(page)).to_have_count(6)
    idle(page)
    expect(thumbnails(page).first).to_have_attribute("data-testid", "stBaseButton-primary")


def test_controls_change_the_picture_and_run_no_model(page):
    page.get_by_role("button", name="Try three synthetic phantoms").click()
    expect(thumbnails(page)).to_have_count(3)
    with_map = pixels_of(page, "RcdNet.")
    original = pixels_of(page, "The scan as uploaded")
    assert np.ptp(with_map.astype(int), axis=2).max() > 30
    page.get_by_role("radio", name="off").or_(page.get_by_role("button", name="off", exact=True)).first.click()
    expect(page.locator("img[alt='RcdNet. Heatmap off']")).to_be_visible()
    outlined = pixels_of(page, "RcdNet. Heatmap off")
    assert 0 < (outlined != original).any(axis=2).mean() < 0.05
    page.get_by_text("Outline", exact=True).click()
    wait_for(lambda: np.array_equal(pixels_of(page, "RcdNet. Heatmap off"), original), 30)
    page.get_by_role("radio", name="benign").or_(page.get_by_role("button", name="benign", exact=True)).first.click()
    expect(page.locator("img[alt^='RcdNet.'][alt*='benign']")).to_be_visible()


def test_results_survive_a_page_switch_and_can_be_cleared(page):
    upload(page, ("scan.png", SAMPLES[2].read_bytes()))
    word = page.locator(".call .word")
    expect(word).to_be_visible()
    before = word.inner_text()
    page.get_by_role("link", name="About").click()
    expect(page.get_by_role("heading", name="About RcdNet Dashboard")).to_be_visible()
    page.get_by_role("link", name="Analyse").click()
    expect(word).to_have_text(before)
    page.get_by_role("button", name="Clear all scans").click()
    expect(page.get_by_text("This removes the scan with its calls, masks and boxes.")).to_be_visible()
    expect(word).to_have_text(before)
    page.get_by_role("button", name="Clear them").click()
    expect(page.get_by_role("heading", name="Breast ultrasound, read by RcdNet and its baselines")).to_be_visible()


def test_downloads(page, tmp_path):
    page.get_by_role("button", name="Try three synthetic phantoms").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="All calls as CSV").click()
    table = download.value.path().read_bytes()
    assert table.startswith(codecs.BOM_UTF8)  # or Excel takes the letters of a name for those of Windows' own
    assert len(table.decode("utf-8-sig").splitlines()) == 1 + 3 * len(TRAINED)
    idle(page)
    thumbnails(page).nth(1).click()  # one run of the script draws the button anew; a second one dropped what it offers
    idle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="This scan as a figure").click()
    with Image.open(download.value.path()) as figure:
        assert figure.format == "PNG"


def test_a_picture_of_something_else_is_not_read(page):
    page_of_text = OTHER_PICTURES["a page of text"](np.random.default_rng(3), ramp(), ramp())
    upload(page, ("report.png", encoded(Image.fromarray(page_of_text))))
    refusal = "report.png: This looks like a page of text, not one breast B-mode scan, so no model reads it."
    expect(page.get_by_text(refusal)).to_be_visible()
    expect(page.get_by_text("No scan at hand?")).to_be_visible()


def test_a_doppler_scan_carries_its_warning(page, phantom):
    rgb = np.repeat(phantom[..., None], 3, axis=2)
    rgb[60:120, 60:150] = (220, 30, 20)
    upload(page, ("doppler.png", encoded(Image.fromarray(rgb))))
    expect(page.get_by_text("like a Doppler or elastography overlay")).to_be_visible()


@pytest.mark.parametrize("size", [(1440, 900), (1920, 1080)])
def test_call_threshold_heatmap_and_notice_are_on_the_first_screen(page, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.get_by_role("button", name="Try three synthetic phantoms").click()
    for locator in (
        page.locator(".call .word"),
        page.locator(".call").get_by_text("Probability of malignancy"),
        page.locator("img[alt^='RcdNet.']").first,
        page.locator(".research-use"),
    ):
        expect(locator).to_be_visible()
        box = locator.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= size[1]


def test_the_papers_two_answers_are_one_switch_away(page):
    page.get_by_role("button", name="Try three synthetic phantoms").click()
    expect(thumbnails(page)).to_have_count(3)
    idle(page)
    word, three = page.locator(".call .word"), re.compile("low suspicion|uncertain|high suspicion")
    expect(word).to_have_text(three)
    before = word.inner_text()
    for on in (True, False):
        page.get_by_text("Two answers").click()
        idle(page)
        expect(word).to_have_text(re.compile("malignant|benign") if on else before)
        expect(page.locator(".call")).to_contain_text("threshold that found" if on else "Probability of malignancy")
        of_list = re.compile("^[▲●] (malignant|benign) " if on else "^[▲◆●] (high|uncertain|low) ")
        expect(page.get_by_role("button", name=of_list)).to_have_count(3)
