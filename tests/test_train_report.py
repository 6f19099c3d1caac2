"""The HTML report of all results, opened in a browser."""

import re
import subprocess
import sys

import pytest
from browser_app import chromium

from rcdnet.models.registry import MODELS
from train.results.bundle import Result
from train.results.load_results import load_bundled_results
from train.results.results_report import write_report
from train.results.sections import SECTIONS


@pytest.fixture(scope="module")
def report(drawn_tree, tmp_path_factory):
    """Written by the command, in a tree whose code and records are its own."""
    out = tmp_path_factory.mktemp("report")
    command = [sys.executable, "-m", "train", "report", "--out", str(out), "--own", "bundled-rcdnet on our-clinic"]
    subprocess.run(command, cwd=drawn_tree, check=True, timeout=120, capture_output=True)
    return out / "report.html"


def test_the_report_holds_all_and_asks_nobody(report, bundle):
    text = report.read_text()
    for heading in (
        "Summary",
        "Introduction",
        "Methods",
        "Data partitions",
        "Results",
        "Discussion",
        "Model cards",
        *SECTIONS,
    ):
        assert re.search(rf"<h[23]>{heading}", text), heading
    with chromium() as browser:
        page = browser.new_page()
        requests: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(report.as_uri())
        plots = sum(e.figure is not None for section in SECTIONS.values() for row in section(bundle, ()) for e in row)
        page.wait_for_function(f"document.querySelectorAll('.js-plotly-plot .main-svg').length >= {plots}")
        assert page.get_by_text("our-clinic, external test").count()
        page.close()
    assert requests == [report.as_uri()]
    assert errors == []


def test_a_report_escapes_what_others_wrote(bundle, tmp_path):
    row = bundle.validation[0]
    hostile = Result("<script>alert(1)</script>", "rcdnet", "=SUM(A1)<b>", row.figures, row.rows[:50], row.rule)
    text = write_report(bundle, [hostile], tmp_path).read_text()
    assert "<script>alert(1)" not in text
    assert "=SUM(A1)&lt;b&gt;" in text


def test_a_report_of_nothing_says_why(tmp_path):
    empty = load_bundled_results(tmp_path / "weights", tmp_path / "results")
    assert set(empty.missing) == {*MODELS, "input check"}
    text = write_report(empty, [], tmp_path / "out").read_text()
    assert text.count("is not trained yet") == len(MODELS)
    assert "Reported by the paper" in text
