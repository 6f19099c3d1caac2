#!/usr/bin/env bash
# Library   Pillow 13.0.0 (checked against tifffile 2026.3.3), 2026-11-27
# Expected  a grey TIFF of signed 8-bit samples (SampleFormat 2) is read as signed, or refused
# Seen      it opens as mode L: -1 becomes 255 and the dark half of the picture is its bright half, without an error or a warning
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
"$place/venv/bin/python" -W error - <<'PYTHON'
import io

import numpy as np
import tifffile
from PIL import Image

signed = np.arange(-64, 64, dtype=np.int8)[None].repeat(96, axis=0)
file = io.BytesIO()
tifffile.imwrite(file, signed)
file.seek(0)
assert (tifffile.imread(file) == signed).all()  # the file is valid, and says that it is signed
image = Image.open(file)
read = np.asarray(image)
print(f"mode {image.mode}; stored {signed[0, [0, 63, 64, 127]].tolist()}, read {read[0, [0, 63, 64, 127]].tolist()}")
assert image.mode == "L" and (read == signed.view(np.uint8)).all(), "this is no longer seen"
PYTHON
