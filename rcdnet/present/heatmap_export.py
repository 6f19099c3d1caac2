"""A grid of heatmaps to publish, and its raw maps to compute with."""

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from textwrap import wrap

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from rcdnet.models.registry import CLASSES
from rcdnet.present.answers import answer
from rcdnet.present.heatmap_grid import CONTOUR_LEVELS, SCALES, Cell, Grid, Look, Shown, column_title, scale_ends
from rcdnet.present.overlay import colour_table, overlay
from rcdnet.present.prediction_sentences import NO_LESION_MAPS
from rcdnet.present.statements import RESEARCH_USE

FORMATS = {"PDF": "application/pdf", "SVG": "image/svg+xml", "PNG": "image/png"}
DPI = 300
_PANEL, _ROW = 1.7, 1.2  # inches: a panel's width, and the height that a row's label needs
_CHARACTERS = 18  # an inch of the caption holds at least


def grid_figure(grid: Grid, look: Look, layers: Mapping[str, str], kind: str) -> bytes:
    """The scan beside a row of maps for each model, as a file of one of `FORMATS`; PNG at 300 dots an inch.

    `layers` says of each model which layer its maps explain.
    """
    rows, columns = len(grid.cells), len(grid.columns)
    tall = max(s.pixels.shape[0] / s.pixels.shape[1] for s in grid.scans)
    figure = Figure(
        figsize=(_PANEL * (columns + len(grid.scans)) + 0.9, (max(_PANEL * tall, _ROW) + 0.12) * rows + 1.3),
        layout="constrained",
    )
    axes = figure.subplots(rows, len(grid.scans) + columns, squeeze=False)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
        for spine in axis.spines.values():
            spine.set_visible(False)
    for row, cells in enumerate(grid.cells):
        for axis, scan in zip(axes[row], grid.scans, strict=False):
            _scan(axis, scan)
            axis.set_title(scan.name if row == 0 else "", fontsize=8)
        p = cells[0].prediction
        axes[row][0].set_ylabel(f"{p.title}, layer {layers[p.model]}\n{_calls(grid, row, look.binary)}", fontsize=7)
        for axis, cell, column in zip(axes[row][len(grid.scans) :], cells, grid.columns, strict=True):
            _map(axis, grid.scans[cell.scan], cell, look)
            title, notes = column_title(column, grid)
            axis.set_title("\n".join([title, *notes]) if row == 0 else "", fontsize=8)
            axis.set_xlabel(cell.note, fontsize=6.5)
    colours = ScalarMappable(Normalize(0, 1), ListedColormap(colour_table(look.colour_map) / 255))
    bar = figure.colorbar(colours, ax=axes, location="bottom", fraction=0.03, aspect=60, pad=0.02)
    bar.set_ticks([0, 1], labels=list(scale_ends(grid)), fontsize=7)
    drawn = (
        "Lines at 25, 50 and 75 % of the scale."
        if look.contour_lines
        else f"Opacity {look.opacity * 100:.0f} % at its end."
    )
    width = int(_CHARACTERS * figure.get_figwidth())
    unseen = f" {NO_LESION_MAPS}" if any(p.no_lesion for row in range(rows) for p in grid.calls(row)) else ""
    figure.supxlabel("\n".join([*wrap(f"{SCALES[grid.scale]} {drawn}{unseen}", width), RESEARCH_USE]), fontsize=7)
    buffer = BytesIO()
    # Words stay words in an SVG; no date, so that the same grid gives the same file.
    undated = {"PDF": {"CreationDate": None}, "SVG": {"Date": None}, "PNG": {}}[kind]
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rcdnet", "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind.lower(), dpi=DPI, metadata=undated)
    return buffer.getvalue()


def grid_maps(grid: Grid, sha256: Sequence[str], layers: Mapping[str, str]) -> bytes:
    """The raw maps of the grid as `.npz`, and under `about` a JSON text that names each.

    Each array is float32 (2, h, w), benign and malignant, over the model's square canvas; `rcdnet.scans.preprocessing.Letterbox(**frame)`
    with the frame of `about` brings one onto the scan by its `to_image`.
    """
    arrays: dict[str, np.ndarray] = {}
    about = []
    for cells in grid.cells:
        for cell in cells:
            p, digest = cell.prediction, sha256[cell.scan]
            name = f"{digest[:8]}/{p.model}/{p.method}"
            if name in arrays:
                continue
            arrays[name] = p.maps
            about.append({
                "array": name, "scan_sha256": digest, "model": p.model, "layer": layers[p.model], "method": p.method,
                "classes": CLASSES, "p_malignant": None if p.no_lesion else p.p_malignant,
                "threshold": None if p.no_lesion else p.threshold, "frame": vars(p.frame),
            })  # fmt: skip
    buffer = BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about, allow_nan=False)), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _calls(grid: Grid, row: int, binary: bool) -> str:
    words = [(answer(p, binary=binary).word, p) for p in grid.calls(row)]
    return ", ".join(word if p.no_lesion else f"{word} {p.p_malignant:.2f}" for word, p in words)


def _scan(axis, scan: Shown, picture: np.ndarray | None = None) -> None:
    """The scan, or `picture` in its place, with the lesion's outline where it is known."""
    axis.imshow(scan.pixels if picture is None else picture, cmap="gray", vmin=0, vmax=255)
    if scan.lesion is not None:
        axis.contour(scan.lesion, levels=[0.5], colors="white", linewidths=0.6)


def _map(axis, scan: Shown, cell: Cell, look: Look) -> None:
    heat = cell.heat(scan.pixels.shape)
    if not look.contour_lines:
        _scan(axis, scan, overlay(scan.pixels, heat, opacity=look.opacity, colour_map=look.colour_map, peak=cell.peak))
        return
    _scan(axis, scan)
    share = heat / (cell.peak or 1)
    if share.max() > CONTOUR_LEVELS[0]:
        table = colour_table(look.colour_map) / 255
        axis.contour(
            share, levels=CONTOUR_LEVELS, colors=[table[round(x * 255)] for x in CONTOUR_LEVELS], linewidths=0.9
        )
