#!/usr/bin/env bash
# Library   tifffile 2026.3.3 with imagecodecs 2026.3.6, 2026-11-27
# Expected  12-bit samples written packed (bitspersample=12) are read back as they were, in either byte order of the file
# Seen      in a little-endian file they are; from a big-endian one other numbers come back, without an error or a warning
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q tifffile==2026.3.3 imagecodecs==2026.3.6 numpy==2.4.6
"$place/venv/bin/python" -W error - <<'PYTHON'
import io

import numpy as np
import tifffile

samples = (np.add.outer(np.arange(96), np.arange(128)) * 15).astype(np.uint16)  # 0 to 3330 of 4095
same = {}
for order in "<>":
    file = io.BytesIO()
    tifffile.imwrite(file, samples, bitspersample=12, byteorder=order, photometric="minisblack")
    file.seek(0)
    back = tifffile.imread(file)
    same[order] = bool((back == samples).all())
    print(order, "written", samples[5, 5:8].tolist(), "read back", back[5, 5:8].tolist())
assert same == {"<": True, ">": False}, "this is no longer seen"
PYTHON
