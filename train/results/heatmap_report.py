"""A study of heatmaps as one file that needs no network, with the scans whose maps lie best and worst; it stays with its reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rcdnet.models.lesion_decoder import contours
from rcdnet.models.registry import CLASSES, MODELS
from rcdnet.present.overlay import draw_contours, fit_within, overlay, png_url
from rcdnet.present.text import printable
from rcdnet.reading.inference import classify
from train.data.load_images import read_lesion, read_pixels
from train.data.public_datasets import TITLES
from train.data.sample import Sample
from train.results.heatmap_blocks import metric_blocks
from train.results.html_document import write_document
from train.studies.heatmap_records import MapFigures, MapRow
from train.studies.held_out import StudyInput

GALLERY = 6  # pictures at each end
_SIDE = 420  # pixels of a picture


@dataclass(frozen=True)
class Picture:
    """url: the map over the scan with the lesion's outline, as a data URL."""

    url: str
    caption: str


def write_study(weights: Sequence[StudyInput], rows: Sequence[MapRow], found: Sequence[MapFigures], out: Path) -> Path:
    """`heatmaps.html` in `out`: figures of every model and method, and galleries of the first method's maps."""
    return write_document(
        "study.html.j2",
        out / "heatmaps.html",
        sets={
            TITLES.get(source, source): metric_blocks(
                [f for f in found if f.source == source], TITLES.get(source, source)
            )
            for source in dict.fromkeys(f.source for f in found)
        },
        galleries={w.name: galleries(w, rows) for w in weights},
        method=rows[0].method,
        seen=sorted({MODELS[r.model].title for r in rows if r.seen}),
    )


def galleries(weights: StudyInput, rows: Sequence[MapRow]) -> tuple[list[Picture], list[Picture]]:
    """The maps of the first method that overlap the lesion best and worst, by IoU at half of their maximum."""
    samples = {sample.id: sample for sample in weights.samples}
    own = [row for row in rows if row.weights == weights.name and row.method == rows[0].method]
    ordered = sorted(own, key=lambda row: (-row.iou, row.energy))
    count = min(GALLERY, len(ordered) // 2)
    return tuple(
        [_picture(weights, samples[row.id], row) for row in end] for end in (ordered[:count], ordered[::-1][:count])
    )  # type: ignore[return-value]


def _picture(weights: StudyInput, sample: Sample, row: MapRow) -> Picture:
    pixels = read_pixels(sample)
    (prediction,) = classify(pixels, [weights.classifier], [row.method])
    lesion = read_lesion(sample, pixels.shape)
    drawn = overlay(pixels, prediction.heat(CLASSES[row.label]), colour_map="Inferno")
    picture = fit_within(draw_contours(drawn, contours(lesion.astype("float32"))), _SIDE)
    return Picture(
        png_url(picture),
        f"{printable(row.id)}, {CLASSES[row.label]}, probability of malignancy {row.probability:.2f}; IoU {row.iou:.2f}, "
        f"energy inside {row.energy:.2f}",
    )
