"""The Results page as one file that needs no network: for a paper's supplement, or for an ethics board.

Headings follow CLAIM 2024 (Tejani et al., doi:10.1148/ryai.240300) and model cards (Mitchell et al., doi:10.1145/3287560.3287596).
"""

from collections.abc import Sequence
from pathlib import Path

from rcdnet.models.registry import MODELS
from train.results.bundle import Bundle, Result
from train.results.html_document import write_document
from train.results.operating_point import at_thresholds
from train.results.sections import SECTIONS
from train.results.tables import in_a_sentence, measured_how


def write_report(bundle: Bundle, own: Sequence[Result], out: Path) -> Path:
    """`report.html` in `out`, with every section of the Results page, plots included; `own` are results of the user's own."""
    return write_document(
        "report.html.j2",
        out / "report.html",
        cards=bundle.cards,
        missing=bundle.missing,
        models=MODELS,
        sections={
            name: section(bundle, own) for name, section in (SECTIONS | {"At the threshold": at_thresholds}).items()
        },
        sentences=[
            *(in_a_sentence([r for r in bundle.validation if r.model == model]) for model in bundle.cards),
            *filter(None, [measured_how(bundle.cards)]),
        ],
    )
