#!/usr/bin/env bash
# Library   pydicom 3.0.2 on the ultrasound loop that it ships (examples.ybr_color), 2026-11-27
# Expected  pixels belong to the PhotometricInterpretation that the dataset names, so YBR_FULL_422 has to be turned into RGB, as up to 2.x
# Seen      pixel_array is RGB already while the dataset goes on naming YBR_FULL_422: convert_color_space by that name, without an error,
#           makes a grey scan green
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q pydicom==3.0.2 pillow==13.0.0 numpy==2.4.6
"$place/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
from pydicom import examples
from pydicom.pixels import convert_color_space, pixel_array

scan = examples.ybr_color
frame = scan.pixel_array[0]
named = scan.PhotometricInterpretation
twice = convert_color_space(frame, named, "RGB")
once = convert_color_space(pixel_array(scan, index=0, raw=True), named, "RGB")
for name, pixels in (("pixel_array", frame), ("converted by its name", twice), ("raw=True, converted", once)):
    print(f"{name}: mean red, green, blue", pixels.reshape(-1, 3).mean(axis=0).round(1).tolist())
red, green, blue = twice.reshape(-1, 3).mean(axis=0)
grey = frame.reshape(-1, 3).mean(axis=0)
assert scan.Modality == "US" and named == "YBR_FULL_422", "the example is another"
assert np.ptp(grey) < 1 and green > red + 100 and green > blue + 100, "this is no longer seen"
assert np.abs(once.astype(int) - frame).max() <= 1, "this is no longer seen"
PYTHON
