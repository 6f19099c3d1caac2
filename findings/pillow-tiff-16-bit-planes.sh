#!/usr/bin/env bash
# Library   Pillow 13.0.0 (checked against tifffile 2026.3.3), 2026-11-27
# Expected  a 16-bit colour TIFF in separate planes, as channel-first arrays are written, is read like one in interleaved samples, or refused
# Seen      it opens as 8-bit RGB without an error or a warning, and its pixels are noise; the same samples interleaved are right
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

ramp = (np.add.outer(np.arange(96), np.arange(128)) * 250).astype(np.uint16)


def mean_error(samples, layout):
    """Between the upper 8 bits and what Pillow reads, in grey levels."""
    file = io.BytesIO()
    tifffile.imwrite(file, samples, photometric="rgb", planarconfig=layout)
    file.seek(0)
    assert (tifffile.imread(file) == samples).all()  # the file is valid
    read = np.asarray(Image.open(file).convert("RGB"))[..., 0]
    return np.abs(read.astype(int) - (ramp >> 8)).mean()


interleaved = mean_error(np.dstack([ramp] * 3), "contig")
separate = mean_error(np.stack([ramp] * 3), "separate")
print(f"mean error in grey levels: interleaved {interleaved:.1f}, in separate planes {separate:.1f}")
assert interleaved == 0 and separate > 20, "this is no longer seen"
PYTHON
