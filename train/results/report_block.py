"""What the Results page and the report are made of."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO

import plotly.graph_objects as go

from rcdnet.present.text import escape_formula
from train.evaluate.evaluation_record import Estimate
from train.results import charts
from train.results.tables import Table, known

AUC = "AUC [95 % interval]"


@dataclass(frozen=True)
class ReportBlock:
    """title: a phrase. text: paragraphs without markup, a blank line between. table: rows by column, for a reader.

    data: what the figure draws, as numbers, where the table does not hold them.
    """

    title: str
    text: str
    table: Table = field(default_factory=list)
    figure: go.Figure | None = None
    data: Table = field(default_factory=list)

    @property
    def csv(self) -> str:
        """The data, or else the table; a cell that a spreadsheet would run as a formula gets an apostrophe in front."""
        text = StringIO()
        rows = self.data or self.table
        columns = list(dict.fromkeys(column for row in rows for column in row))
        writer = csv.writer(text, lineterminator="\n")
        for row in [dict(zip(columns, columns, strict=True)), *rows]:
            writer.writerow(escape_formula(v) if isinstance(v, str) else v for v in (row.get(k, "") for k in columns))
        return text.getvalue()


def interval_block(title: str, text: str, table: Table, points: Sequence[tuple[str, str, Estimate]]) -> ReportBlock:
    """A table beside a figure of areas under the curve; points as `charts.interval_chart` takes them, none for no figure."""
    data: Table = [
        {"": row, "of": who, "AUC": e.value, "from": known(e.low), "to": known(e.high)} for row, who, e in points
    ]
    return ReportBlock(title, text, table, charts.interval_chart(points, AUC) if points else None, data)
