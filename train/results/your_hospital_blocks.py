"""A bundled model on a hospital's own labelled scans: as it came, and with an operating point of the hospital's own, as tables."""

from collections.abc import Sequence
from itertools import zip_longest

from rcdnet.errors import DatasetError
from rcdnet.models.registry import MODELS
from train.evaluate.adapt import adaptation, adaptation_sentences
from train.folders import BUNDLED
from train.results.bundle import EXTERNAL, Bundle, Result
from train.results.report_block import ReportBlock
from train.results.tables import Table, range_in_percent, share_in_percent

WHAT = (
    "Label 20 to 300 of your own scans and see how far the model can be trusted at your hospital. Put them into the data folder, in "
    "folders named benign and malignant, and test the model on them here. So few scans prove little; the intervals say how little."
)
CHOSEN = "chosen on one half of your scans, counted on the other"


def your_hospital_blocks(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """A block for each external test of a bundled model."""
    return [[_block(r)] for r in own if r.external and r.name.startswith(BUNDLED)]


def _block(r: Result) -> ReportBlock:
    title = f"{MODELS[r.model].title} on {r.images}"
    try:
        found = adaptation(r.images.removesuffix(EXTERNAL), r.model, r.rows)
    except DatasetError as reason:
        return ReportBlock(title, str(reason))
    counted, at = r.verdicts, r.figures.confusion
    shipped = {
        "cancers called malignant": (at.true_positive, at.true_positive + at.false_negative),
        "benign lesions called benign": (at.true_negative, at.true_negative + at.false_positive),
    }
    if counted:
        shipped |= {
            "cancers told low suspicion": (counted.malignant[0], sum(counted.malignant)),
            "benign lesions told low suspicion": (counted.benign[0], sum(counted.benign)),
            "benign lesions told high suspicion": (counted.benign[2], sum(counted.benign)),
        }
    halves = found.halves
    local = [halves.sensitivity, halves.specificity, halves.missed, halves.cleared, halves.alarmed] if halves else []
    table: Table = [
        {"": name, "as it came": share_in_percent(*counts), CHOSEN: range_in_percent(*share) if share else ""}
        for (name, counts), share in zip_longest(shipped.items(), local[: len(shipped)])
    ]
    return ReportBlock(title, " ".join(adaptation_sentences(found)), table)
