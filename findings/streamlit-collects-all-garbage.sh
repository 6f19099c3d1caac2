#!/usr/bin/env bash
# Library   streamlit 1.67.0 (with torch 2.14.1 and timm 1.0.31), 2026-11-28
# Expected  a page that draws one word reruns in some milliseconds, whatever libraries its process has imported and does not use
# Seen      Streamlit ends each run with a full garbage collection (runner.postScriptGC, on by default). torch and timm alone bring some
#           400,000 objects, so every rerun of any page holds the interpreter for a fifth of a second or more, in which no other session is
#           answered. gc.freeze() after the imports takes them out of its sight. (streamlit.testing collects nothing and shows none of it)
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q streamlit==1.67.0 timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 websockets==15.0.1
cd "$place"
cat > app.py <<'PYTHON'
import gc
import os
from functools import cache

import streamlit as st


@cache
def begin() -> None:
    if os.environ["APP"] != "alone":
        import timm  # noqa: F401  with torch and torchvision
    if os.environ["APP"] == "frozen":
        gc.collect()
        gc.freeze()


begin()
st.write("one word")
PYTHON
"$place/venv/bin/python" - <<'PYTHON'
import os
import socket
import statistics
import subprocess
import sys
import time

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect


def rerun_ms(app: str) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--server.port", str(port), "--server.headless", "true", "--browser.gatherUsageStats", "false"]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", *options],
        env=os.environ | {"APP": app}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            time.sleep(0.1)
    ask = BackMsg()
    ask.rerun_script.query_string = ""
    seconds = []
    with connect(f"ws://127.0.0.1:{port}/_stcore/stream", subprotocols=["streamlit"], max_size=None) as page:
        for _ in range(12):
            began = time.perf_counter()
            page.send(ask.SerializeToString())
            while True:
                heard = ForwardMsg()
                heard.ParseFromString(page.recv(timeout=60))
                if heard.WhichOneof("type") == "script_finished":
                    break
            seconds.append(time.perf_counter() - began)
    server.kill()
    server.wait()
    return statistics.median(seconds[2:]) * 1000


alone, loaded, frozen = (rerun_ms(app) for app in ("alone", "loaded", "frozen"))
print(f"a rerun takes {alone:.0f} ms; {loaded:.0f} ms with timm imported and not used; {frozen:.0f} ms once its objects are frozen")
assert loaded > 2 * alone and loaded > 2 * frozen, "this is no longer seen"
PYTHON
