"""How the input check fares on sites that did not teach it, as tables."""

from collections.abc import Sequence

from rcdnet.reading.input_check import InputCheckCard
from train.results.bundle import Bundle, Result
from train.results.report_block import ReportBlock
from train.results.tables import Table, share_in_percent

SCANS = (
    "Before any model reads a picture, a check asks whether it is one breast B-mode scan. What it takes for something else is not read; "
    "where it has doubts, the answer stands under a warning. Each row is of a data set that the check was not taught with, its thresholds "
    "neither. Varied scans are the same scans cut, relit, compressed, in a viewer's frame, or in the trapezoid field of steered beams; the "
    "last since a first check without BrEaST had stopped 26 of its scans for that shape. Intervals are Wilson's, as if each image "
    "were another patient."
)
OTHERS = (
    "Pictures of eleven kinds, drawn by a program, or made from the scans of the data set that the check was not taught with. Real ones of "
    "these kinds may fare otherwise, and a kind that nobody thought of may pass."
)


def input_check_blocks(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """Scans that are lost to the check, and other pictures that it finds."""
    card = bundle.input_check
    if card is None or not card.left_out:
        return []
    return [
        [ReportBlock("Scans that the check stops", SCANS, scans_table(card))],
        [ReportBlock("Other pictures", OTHERS, others_table(card))],
    ]


def scans_table(card: InputCheckCard) -> Table:
    """Two rows for each data set, of its scans and of varied ones."""
    return [
        {
            "": f"{site.data}, {title}",
            "images": of.pictures,
            "not read": share_in_percent(of.refused, of.pictures),
            "read with a warning": share_in_percent(of.warned, of.pictures),
        }
        for site in card.left_out
        for title, of in (("scans", site.scans), ("varied scans", site.varied))
    ]


def others_table(card: InputCheckCard) -> Table:
    """A row for each kind of picture, a column for each data set that it was made with."""
    return [
        {"": kind}
        | {
            f"made with {site.data}": f"{of.refused} of {of.pictures} not read, {of.warned} warned of"
            for site in card.left_out
            for of in [site.others[k]]
        }
        for k, kind in enumerate(card.kinds)
    ]
