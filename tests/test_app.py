"""The pages through Streamlit's own test runner, where the process can be looked into."""

import asyncio
import gc

import pytest
import streamlit.net_util
from conftest import ROOT, copied
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from streamlit.testing.v1 import AppTest

import pages.shared.uploaded_scan
from rcdnet.reading.inference import Prediction
from train.runs.run_results import EPOCH

SAMPLE = (ROOT / "assets" / "samples" / "phantom-cyst.png").read_bytes()


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """One entry for every time a scan goes through the models."""
    seen: list[int] = []
    classify = pages.shared.uploaded_scan.classify

    def counted(pixels, classifiers) -> list[Prediction]:
        seen.append(pixels.size)
        return classify(pixels, classifiers)

    monkeypatch.setattr(pages.shared.uploaded_scan, "classify", counted)
    return seen


def opened() -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()


def test_the_libraries_are_kept_out_of_garbage_collection():
    """To look through them after every run of a page took 0.3 s, in which no session was answered."""
    opened()
    gc.collect()
    assert gc.get_freeze_count() > 300_000
    assert len(gc.get_objects()) < gc.get_freeze_count() / 2


def test_controls_run_no_model(calls):
    app = opened()
    app.file_uploader[0].upload("scan.png", SAMPLE, "image/png").run()
    assert not app.exception
    assert len(calls) == 1
    app.slider(key="keep_opacity").set_value(80).run()
    app.selectbox(key="keep_colours").set_value("Viridis").run()
    assert len(calls) == 1
    assert not app.exception


def test_one_scan_under_two_names_stands_under_both_and_runs_once(calls):
    """The second name once vanished, and its scan showed under the first."""
    app = opened()
    app.file_uploader[0].set_value([("left.png", SAMPLE, "image/png"), ("right.png", SAMPLE, "image/png")]).run()
    assert {"left.png", "right.png"} <= {text.value for text in app.text}
    assert len(calls) == 1


def test_two_scans_of_one_name_stand_side_by_side():
    """Many devices call every export image.png; to tell the two apart by their pixels once crashed the page."""
    app = opened()
    other = (ROOT / "assets" / "samples" / "phantom-oval-mass.png").read_bytes()
    app.file_uploader[0].set_value([("image.png", SAMPLE, "image/png"), ("image.png", other, "image/png")]).run()
    app.session_state["keep_models"], app.session_state["keep_methods"] = ["RcdNet"], ["Grad-CAM"]
    app.switch_page("pages/compare.py").run()
    second = next(box for box in app.selectbox if box.label == "Second scan")
    second.set_value("2: image.png").run()
    assert not app.exception
    rows = next(box for box in app.selectbox if box.label == "Between methods")
    assert rows.options == ["RcdNet, Scan 1", "RcdNet, Scan 2"]


def test_a_refused_file_takes_a_line_until_it_is_dismissed(calls):
    app = opened()
    app.file_uploader[0].upload("bad.png", SAMPLE[:3000], "image/png").run()
    message = "bad.png: The image is damaged or incomplete. Export the scan again and upload the new file."
    assert [text.value for text in app.text] == [message]
    app.file_uploader[0].upload("good.png", SAMPLE, "image/png").run()
    assert message in [text.value for text in app.text]
    next(button for button in app.button if button.label == "✕").click().run()
    assert message not in [text.value for text in app.text]
    assert app.text


def test_a_large_upload_stays_in_memory():
    """The web server's parser would put parts of more than 1 MB into a temporary file."""
    opened()

    async def part():
        yield b'--b\r\nContent-Disposition: form-data; name="f"; filename="scan.png"\r\n\r\n'
        for _ in range(20):
            yield bytes(1024 * 1024)
        yield b"\r\n--b--\r\n"

    async def parsed() -> tuple[int, bool]:
        headers = Headers({"content-type": "multipart/form-data; boundary=b"})
        form = await MultiPartParser(headers, part()).parse()
        size, on_disk = form["f"].size, form["f"].file._rolled
        await form.close()
        return size, on_disk

    assert asyncio.run(parsed()) == (20 * 1024 * 1024, False)


def test_nobody_is_asked_for_this_machines_address():
    opened()
    assert streamlit.net_util.get_external_ip() == "127.0.0.1"


def test_pages_without_any_evaluation_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr("train.results.load_results.load_bundled_results.__defaults__", (tmp_path, tmp_path))
    monkeypatch.setattr("train.results.load_results.load_user_results.__defaults__", (tmp_path,))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    app.switch_page("pages/results.py").run()
    assert not app.exception
    assert "ResNet50 is not trained yet" in app.warning[0].value
    app.session_state["tab_results"] = "Operating point"
    app.run()
    assert not app.exception
    assert "There are no figures for this section yet." in [info.value for info in app.info]


def test_the_open_tab_stays_from_page_to_page():
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    app.switch_page("pages/results.py").run()
    app.session_state["tab_results"] = "Operating point"
    app.run()
    app.switch_page("pages/about.py").run()
    app.run()  # Streamlit forgets it with the second run of another page
    app.switch_page("pages/results.py").run()
    assert not app.exception
    assert app.session_state["tab_results"] == "Operating point"


def test_the_roc_of_an_epoch_stays_from_page_to_page(run, tmp_path, monkeypatch):
    copied(run, tmp_path / "runs" / "done")
    monkeypatch.setattr("train.folders.RUNS_FOLDER", tmp_path / "runs")
    monkeypatch.setattr("pages.shared.access_control.training_denied_reason", str)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    app.switch_page("pages/training.py").run()
    assert app.select_slider(key=EPOCH).value == 3
    app.select_slider(key=EPOCH).set_value(2).run()
    app.switch_page("pages/about.py").run()
    app.run()
    app.switch_page("pages/training.py").run()
    assert not app.exception
    assert app.select_slider(key=EPOCH).value == 2
