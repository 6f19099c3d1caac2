"""How well each model tells scans with a lesion from scans without one, as tables."""

from collections.abc import Sequence

from rcdnet.models.lesion_presence import PresenceCards, PresenceCounts
from rcdnet.models.registry import MODELS
from train.results.bundle import Bundle, Result
from train.results.report_block import ReportBlock
from train.results.tables import Table, share_in_percent

BY_FOLD = (
    "Each model is asked first whether it sees a lesion. Where it sees none it makes no call. The bar was chosen to see {share:.0f} % of "
    "the lesions of each data set. Each row is of scans that did not teach the part of the model that scored them, at the bar of the "
    "other folds. The network below it had learnt from the lesions of BUS-BRA and BUSI, which may be seen more surely than new ones; it "
    "had never seen BrEaST or a normal breast. Intervals are Wilson's, as if each image were another patient. All other figures of this "
    "page count a lesion that is not seen by the call that the model would have made."
)
LEFT_OUT = (
    'The same where no scan of the data set had any part in it: the answer to "how would it be at my hospital". BrEaST has four normal '
    "scans. Without BUSI only these four are left to learn from, so most normal breasts of BUSI are taken for ones with a lesion."
)


def lesion_presence_blocks(bundle: Bundle, own: Sequence[Result]) -> list[list[ReportBlock]]:
    """By fold, then with each data set left out."""
    cards = bundle.lesion_presence
    if cards is None:
        return []
    return [
        [
            ReportBlock(
                "Lesions seen, normal breasts left alone",
                BY_FOLD.format(share=cards.share_seen * 100),
                _table(cards, "by_fold"),
            )
        ],
        [ReportBlock("The same on a data set that taught none of it", LEFT_OUT, _table(cards, "left_out"))],
    ]


def _table(cards: PresenceCards, which: str) -> Table:
    """A row for each model and data set."""
    rows: list[tuple[str, PresenceCounts]] = [
        (MODELS[card.model].title, counts) for card in cards.models for counts in getattr(card, which)
    ]
    return [
        {
            "": f"{title}, {of.data}",
            "lesions": of.lesions,
            "seen": share_in_percent(of.seen, of.lesions),
            "normal scans": of.normals,
            "no lesion seen": share_in_percent(of.passed, of.normals),
        }
        for title, of in rows
    ]
