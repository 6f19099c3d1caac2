"""Starting the real app and a real Chromium, for every test that looks at a page."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None and not os.environ.get("CI"):
    pytest.skip("no Chromium on this machine; on Debian: apt install chromium", allow_module_level=True)
playwright_api = pytest.importorskip("playwright.sync_api")
expect = playwright_api.expect
expect.set_options(timeout=30_000)
FIELDS = "Array.from(document.querySelectorAll('input')).map(i => `${i.ariaLabel}: ${i.value}`).join('\\n')"

STILL = """asked => {
    const running = document.querySelector('[data-testid=stApp]')?.dataset.testScriptState !== 'notRunning'
        || document.querySelector('[data-testid=stSidebar] [data-testid=stProgress]');  // scans still wait to be read
    if (running || window.idleAsked !== asked) [window.idleAsked, window.idleSince] = [asked, performance.now()];
    return performance.now() - window.idleSince >= 250;
}"""


@contextmanager
def chromium() -> Iterator:
    with playwright_api.sync_playwright() as playwright:
        # Chromium's own background requests would look like the app's.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
        )
        yield browser
        browser.close()


def start_server(tree: Path, *options: str) -> tuple[subprocess.Popen, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), *options],
        cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return server, f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.1)
    server.kill()
    raise AssertionError("the app did not start within 30 seconds")


def stop_server(server: subprocess.Popen, tree: Path) -> str:
    """What it logged, once it is sure that nothing failed in the app's own code."""
    server.terminate()
    output = server.communicate(timeout=30)[0]
    # The web server also logs a browser that left while it was answering.
    assert not re.search(rf'Uncaught app|File "{re.escape(str(tree))}/(app|pages|rcdnet|train)\b', output), output
    return output


@contextmanager
def opened(browser, server: str, path: str = "") -> Iterator:
    """A page that fails the test when it asks another host for anything or shows an exception; what failed tells what it showed."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)  # the first page of a server loads the models
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(server + path)
    try:
        # The first page of a server waits for its libraries, on a busy machine for longer than `expect` does.
        idle(page)
        yield page
    except BaseException as error:
        error.add_note(f"The page showed:\n{page.inner_text('body')}\nIts fields:\n{page.evaluate(FIELDS)}")
        raise
    local = (server, server.replace("http", "ws"), "data:", "blob:")
    assert [url for url in requested if not url.startswith(local)] == []
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.close()


def idle(page) -> None:
    """Wait until no script has run for a while: a direct link, or a button, may start several in a row, with a moment between them."""
    page.wait_for_function(STILL, arg=time.monotonic())


def enter(page, field, value: str) -> None:
    """Type into a field, whatever the script is at, and see that it stays."""
    field.fill(value)
    field.press("Enter")
    page.wait_for_timeout(500)  # a script that this starts begins within it
    idle(page)
    expect(field).to_have_value(value)


def choose(page, box: str, option: str) -> None:
    page.get_by_role("combobox", name=box).click()
    page.get_by_role("option", name=option, exact=True).click()
    page.keyboard.press("Escape")
    idle(page)


def fill(page, setting: str, value: float) -> None:
    enter(page, page.get_by_role("spinbutton", name=setting, exact=True), str(value))


def press(page, name: str) -> None:
    """A part of a segmented control, whichever way this Streamlit draws one."""
    page.get_by_role("radio", name=name).or_(page.get_by_role("button", name=name, exact=True)).first.click()


def app_copy(root: Path, tree: Path) -> Path:
    """The app with its shipped weights, and room for runs and data of its own."""
    for name in ("pages", "rcdnet", "train", ".streamlit", "assets"):
        shutil.copytree(root / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "app.py", tree)
    return tree
