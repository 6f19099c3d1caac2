"""Models by methods: which map stands where, on which colour scale, and what the viewer in the browser needs to draw it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import cv2
import numpy as np

from rcdnet.explain.localisation import box_mask, localise
from rcdnet.explain.similarity import SIDE, similarity_matrix
from rcdnet.models.lesion_decoder import contours
from rcdnet.models.registry import CLASSES
from rcdnet.present.answers import label
from rcdnet.present.overlay import colour_table, png_url
from rcdnet.reading.heatmaps import CLASS_AGNOSTIC
from rcdnet.reading.inference import Prediction
from rcdnet.scans.preprocessing import Letterbox

PREDICTED_CLASS = "predicted class"
CONTOUR_LEVELS = (0.25, 0.5, 0.75)  # of a map's scale
OWN, PAIR, ALL = "one per map", "one per model and method", "one for all"
SCALES = {
    OWN: "Each map is coloured up to its own maximum: a weak map looks as hot as a strong one.",
    PAIR: "The maps of one model by one method share a scale, over classes and scans. Do not compare different rows or methods.",
    ALL: "All maps share one scale. Models and methods use different units, so a pale map is not always a weak one.",
}


@dataclass(frozen=True)
class Shown:
    """A scan of the grid. name: as the reader knows it. pixels: uint8 (H, W), the scan or a resized copy.

    lesion: bool (H, W), given by the reader, else None.
    """

    name: str
    pixels: np.ndarray = field(repr=False)
    lesion: np.ndarray | None = field(default=None, repr=False)


def shown(name: str, view: np.ndarray, *, mask: np.ndarray | None = None, box: Sequence[float] | None = None) -> Shown:
    """A scan with what the reader says of its lesion.

    Args:
        view: uint8 (H, W), the scan or a resized copy. mask: bool, at the scan's own size.
        box: left, top, right, bottom as shares of width and height, ends in any order; a mask goes before it.
    """
    height, width = view.shape
    lesion = None
    if mask is not None:
        lesion = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
    elif box is not None:
        left, top, right, bottom = box
        lesion = box_mask((height, width), left * width, top * height, right * width, bottom * height)
    return Shown(name, view, lesion if lesion is not None and lesion.any() else None)


@dataclass(frozen=True)
class Look:
    """How maps are drawn. opacity: 0..1 at the scale's end. contour_lines: at a quarter, a half and three quarters of the scale,
    instead of colours. binary: beside the maps stand the paper's two answers instead of three."""

    opacity: float
    colour_map: str
    contour_lines: bool
    binary: bool = False


@dataclass(frozen=True)
class Cell:
    """One map. scan: index into the grid's scans. peak: the raw value that the colour scale ends at."""

    prediction: Prediction
    class_name: str
    scan: int
    peak: float

    @property
    def strength(self) -> float:
        return self.prediction.strength(self.class_name)

    @property
    def note(self) -> str:
        of_class = "" if self.prediction.method in CLASS_AGNOSTIC else f"{self.class_name}, "
        return f"{of_class}{f'maximum {self.strength:.2g}' if self.strength else 'an empty map'}"

    def heat(self, shape: tuple[int, int]) -> np.ndarray:
        """The raw map over a scan of that (height, width), float32 (H, W), zero or more."""
        return self.prediction.heat(self.class_name, shape)


@dataclass(frozen=True)
class Column:
    """class_name: or `PREDICTED_CLASS`, then each model's own call."""

    method: str
    class_name: str
    scan: int


@dataclass(frozen=True)
class Grid:
    """cells: a row for each model, a column for each method, class and scan. scale: one of `SCALES`."""

    scans: tuple[Shown, ...]
    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell, ...], ...]
    scale: str

    def calls(self, row: int) -> list[Prediction]:
        """What the row's model says of each scan."""
        return [next(c.prediction for c in self.cells[row] if c.scan == k) for k in range(len(self.scans))]


def build_grid(
    scans: Sequence[Shown], predictions: Sequence[Sequence[Prediction]], classes: Sequence[str], scale: str
) -> Grid:
    """The grid of every model and method that was run.

    Args:
        predictions: of each scan, as `rcdnet.reading.inference.classify` gives them for the same models and methods.
        classes: names in `CLASSES`, or `PREDICTED_CLASS`. A method that does not ask for the class gets one column.
    """
    methods = list(dict.fromkeys(p.method for p in predictions[0]))
    columns = [
        Column(method, class_name, scan)
        for method in methods
        for class_name, scan in product(classes[:1] if method in CLASS_AGNOSTIC else classes, range(len(scans)))
    ]
    of = {(k, p.model, p.method): p for k, made in enumerate(predictions) for p in made}
    models = list(dict.fromkeys(p.model for p in predictions[0]))

    def drawn(model: str, column: Column) -> tuple[Prediction, str]:
        p = of[column.scan, model, column.method]
        return p, p.explained_class if column.class_name == PREDICTED_CLASS else column.class_name

    highest = max(p.strength(name) for p, name in (drawn(m, c) for m in models for c in columns))

    def peak(model: str, column: Column) -> float:
        if scale == ALL:
            return highest
        if scale == PAIR:
            return max(of[k, model, column.method].strength(name) for k in range(len(scans)) for name in CLASSES)
        p, class_name = drawn(model, column)
        return p.strength(class_name)

    cells = [[Cell(*drawn(m, c), c.scan, peak(m, c)) for c in columns] for m in models]
    return Grid(tuple(scans), tuple(columns), tuple(map(tuple, cells)), scale)


def column_title(column: Column, grid: Grid) -> tuple[str, list[str]]:
    """Method, and below it the class and, where there are two, the scan."""
    of_class = "the same for either class" if column.method in CLASS_AGNOSTIC else f"for {_the(column.class_name)}"
    return column.method, [of_class, *([grid.scans[column.scan].name] if len(grid.scans) > 1 else [])]


def scale_ends(grid: Grid) -> tuple[str, str]:
    """What the colour scale begins and ends with."""
    top = {OWN: "the map's own maximum", PAIR: "the maximum of this model and method"}
    return "0", top.get(grid.scale) or f"{grid.cells[0][0].peak:.2g} in every panel"


def localisation_rows(grid: Grid) -> list[dict[str, object]]:
    """A row for each map on a scan with a lesion: `rcdnet.explain.localisation.localise`, in words for a table."""
    rows: list[dict[str, object]] = []
    for cell in (c for cells in grid.cells for c in cells):
        scan, p = grid.scans[cell.scan], cell.prediction
        if scan.lesion is None:
            continue
        found = localise(cell.heat(scan.pixels.shape), scan.lesion)
        rows.append({
            "model": p.title, "method": p.method, "class": cell.class_name, "scan": scan.name,
            "hottest point": "in the lesion" if found.pointing else "outside", "by chance": found.chance,
            "energy inside": found.energy, "energy over chance": found.ratio, "IoU at half": found.iou,
            "Dice at half": found.dice, "IoU at best": found.best_iou, "Dice at best": found.best_dice,
        })  # fmt: skip
    return rows


def model_similarity(grid: Grid, column: int) -> tuple[list[str], dict[tuple[str, str], tuple[float, float]]]:
    """Models, and how alike the maps in one column are, two by two: rank correlation and overlap of the hottest fifth."""
    maps = {cells[column].prediction.title: cells[column].heat((SIDE, SIDE)) for cells in grid.cells}
    return list(maps), similarity_matrix(maps)


def mixed_classes(grid: Grid, column: int) -> bool:
    """Whether the maps in one column are of different classes, so that likeness between models says little."""
    blind = grid.columns[column].method in CLASS_AGNOSTIC
    return not blind and len({cells[column].class_name for cells in grid.cells}) > 1


def method_similarity(
    grid: Grid, row: int, scan: int, class_name: str
) -> tuple[list[str], dict[tuple[str, str], tuple[float, float]]]:
    """Methods, and how alike one model's maps of one scan for a class are; those that know no class stand with any."""
    maps = {
        cell.prediction.method: cell.heat((SIDE, SIDE))
        for cell in grid.cells[row]
        if cell.scan == scan and (cell.class_name == class_name or cell.prediction.method in CLASS_AGNOSTIC)
    }
    return list(maps), similarity_matrix(maps)


def viewer_data(
    grid: Grid, look: Look, sentences: Sequence[str], boxes: Sequence[Sequence[float] | None]
) -> dict[str, object]:
    """The grid as assets/viewer.js draws it: small raw maps, which the browser brings onto the scan as `Letterbox.to_image` does.

    Args:
        sentences: stand beside the scan, the most important first. boxes: of each scan, as `shown` takes one.
    """
    return {
        "scans": [
            {
                "name": scan.name,
                "url": png_url(scan.pixels),
                "width": scan.pixels.shape[1],
                "height": scan.pixels.shape[0],
                "outlines": _outlines(scan),
                "box": box and list(box),
            }
            for scan, box in zip(grid.scans, boxes, strict=True)
        ],
        "columns": [dict(zip(("title", "note"), column_title(c, grid), strict=True)) for c in grid.columns],
        "rows": [
            {
                "title": cells[0].prediction.title,
                "note": [label(p, binary=look.binary) for p in grid.calls(row)],
            }
            for row, cells in enumerate(grid.cells)
        ],
        "panels": [
            {
                "row": row,
                "column": column,
                "scan": cell.scan,
                "label": f"{cell.prediction.title}, {cell.prediction.method} for {cell.class_name}",
                "note": cell.note,
                "peak": cell.peak,
                "values": cell.prediction.maps[CLASSES.index(cell.class_name)].ravel().tolist(),
                "axes": _axes(cell.prediction.frame, cell.prediction.maps.shape[1:]),
            }
            for row, cells in enumerate(grid.cells)
            for column, cell in enumerate(cells)
        ],
        "colours": colour_table(look.colour_map).tolist(),
        "ends": scale_ends(grid),
        "opacity": look.opacity,
        "contours": CONTOUR_LEVELS if look.contour_lines else [],
        "sentences": list(sentences),
    }


def _axes(frame: Letterbox, cells: tuple[int, ...]) -> list[dict[str, float]]:
    """Along x and y: where the scan begins on the map and how much of it it covers, as shares, and the map's cells."""
    return [
        {"start": frame.left / frame.size, "length": frame.width / frame.size, "cells": cells[1]},
        {"start": frame.top / frame.size, "length": frame.height / frame.size, "cells": cells[0]},
    ]


def _outlines(scan: Shown) -> list[list[list[float]]]:
    if scan.lesion is None:
        return []
    height, width = scan.lesion.shape
    return [((o + 0.5) / (width, height)).tolist() for o in contours(scan.lesion.astype(np.float32))]


def _the(class_name: str) -> str:
    return "the predicted class" if class_name == PREDICTED_CLASS else class_name
