"""Tables and lists for documents in Markdown."""

from collections.abc import Sequence

from train.results.tables import Table


def markdown_table(rows: Table) -> str:
    """The rows, which share their columns and are one at least."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(cell) for cell in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def markdown_list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
