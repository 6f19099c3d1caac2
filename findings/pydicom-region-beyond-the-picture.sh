#!/usr/bin/env bash
# Data      the ultrasound loop that pydicom 3.0.2 ships (examples.ybr_color), 2026-11-27
# Expected  SequenceOfUltrasoundRegions gives places in the picture beside it, so that a crop to the tissue region is the scan, in its scale
# Seen      the picture has 320 columns and 240 rows and the region ends at column 595 and row 414, as in a larger one: a slice by these
#           bounds gives less than the region without an error, and whether PhysicalDeltaX is true of its pixels is in doubt
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q pydicom==3.0.2 pillow==13.0.0 numpy==2.4.6
"$place/venv/bin/python" -W error - <<'PYTHON'
from pydicom import examples
from pydicom.pixels import pixel_array

scan = examples.ybr_color
(region,) = scan.SequenceOfUltrasoundRegions
left, top = region.RegionLocationMinX0, region.RegionLocationMinY0
right, bottom = region.RegionLocationMaxX1, region.RegionLocationMaxY1
crop = pixel_array(scan, index=0)[top : bottom + 1, left : right + 1]
print(
    f"picture {scan.Columns} x {scan.Rows}; region {left}, {top} to {right}, {bottom}: "
    f"{right - left + 1} x {bottom - top + 1}; the slice has {crop.shape[1]} x {crop.shape[0]}"
)
assert (region.RegionSpatialFormat, region.RegionDataType, region.PhysicalUnitsXDirection) == (1, 1, 3), (
    "the example is another"
)
assert right >= scan.Columns and bottom >= scan.Rows and crop.shape[:2] == (scan.Rows - top, scan.Columns - left), (
    "this is no longer seen"
)
PYTHON
