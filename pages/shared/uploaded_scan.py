"""The way of an upload on Analyse and Compare: bytes to a scan, a scan to predictions, both to what the session shows."""

from dataclasses import dataclass, field

import numpy as np

from rcdnet.errors import ImageError
from rcdnet.present.overlay import fit_within, letterboxed, png_url
from rcdnet.reading.inference import Classifier, Prediction, classify
from rcdnet.reading.input_check import check_input
from rcdnet.scans.scan_and_mask import Scan, read_scan

MAX_PIXELS = 200_000_000  # of all scans of a session together, which keeps them in memory
SCREEN, THUMBNAIL = 800, (128, 96)  # pixels

Key = tuple[str, str]  # a scan in the session: sha256 of its file, and the file's name


@dataclass(frozen=True, eq=False)  # a list is searched for one: the very same, whatever another is called
class UploadedScan:
    """A scan in the session. preview: its pixels at a screen's size. predictions: by `Classifier.key`.

    heatmaps: predictions with the maps of any method, by that key and method. faithfulness: of
    `rcdnet.explain.faithfulness.evaluate_faithfulness`, as Compare keeps it.
    """

    name: str
    scan: Scan
    preview: np.ndarray = field(repr=False)
    predictions: dict[str, Prediction] = field(repr=False)
    heatmaps: dict[tuple[str, str], Prediction] = field(repr=False)
    faithfulness: dict = field(repr=False)
    thumbnail: str = field(repr=False)


def add_upload(scans: dict[Key, UploadedScan], name: str, data: bytes, classifiers: list[Classifier]) -> Key:
    """Read a file and keep it among the scans of the session; models do not run again on bytes that are there already.

    Raises:
        ImageError: as `rcdnet.scans.scan_and_mask.read_scan` and `rcdnet.reading.input_check.check_input`, or the session holds too
            many pixels.
        HeatmapError, CheckpointError: as `rcdnet.reading.inference.classify`.
    """
    scan = read_scan(data)
    key = scan.sha256, name
    if key in scans:
        return key
    if sum(one.scan.pixels.size for one in scans.values()) + scan.pixels.size > MAX_PIXELS:
        raise ImageError("The memory set aside for one session is full. Clear the scans first.")
    same = next((one for one in scans.values() if one.scan.sha256 == scan.sha256), None)
    scan = same.scan if same else check_input(scan)
    scans[key] = UploadedScan(
        name,
        scan,
        fit_within(scan.pixels, SCREEN),
        same.predictions if same else predict(scan.pixels, classifiers),
        same.heatmaps if same else {},
        same.faithfulness if same else {},
        png_url(letterboxed(scan.pixels, *THUMBNAIL)),
    )
    return key


def predict(pixels: np.ndarray, classifiers: list[Classifier]) -> dict[str, Prediction]:
    """Predictions of a grey scan, uint8 (H, W), by `Classifier.key`."""
    return {c.key: p for c, p in zip(classifiers, classify(pixels, classifiers), strict=True)}
