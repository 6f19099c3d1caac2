"""What the Results page and the report are made of."""

import csv
from dataclasses import dataclass
from io import StringIO

import plotly.graph_objects as go

from rcdnet.report import harmless
from train.results.tables import Table


@dataclass(frozen=True)
class Exhibit:
    """title: a phrase. text: paragraphs without markup, a blank line between. table: rows by column; what the figure draws.

    points: the table is for a program, not for a reader.
    """

    title: str
    text: str
    table: Table
    figure: go.Figure | None = None
    points: bool = False

    @property
    def csv(self) -> str:
        """The table; a cell that a spreadsheet would run as a formula gets an apostrophe in front."""
        text = StringIO()
        columns = list(dict.fromkeys(column for row in self.table for column in row))
        writer = csv.writer(text, lineterminator="\n")
        for row in [dict(zip(columns, columns, strict=True)), *self.table]:
            writer.writerow(harmless(v) if isinstance(v, str) else v for v in (row.get(k, "") for k in columns))
        return text.getvalue()
