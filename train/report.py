"""The Results page as one file that needs no network: for a paper's supplement, or for an ethics board.

Headings follow CLAIM 2024 (Tejani et al., doi:10.1148/ryai.240300) and model cards (Mitchell et al., doi:10.1145/3287560.3287596).
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from rcdnet import statements
from rcdnet.registry import MODELS
from train.exhibits import SECTIONS, at_thresholds
from train.files import write_whole
from train.results import Bundle, Result
from train.tables import in_a_sentence


def write_report(bundle: Bundle, own: Sequence[Result], out: Path) -> Path:
    """`report.html` in `out`, with every section of the Results page, plots included; `own` are results of the user's own."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    figures = (f"figure-{number}" for number in range(10_000))

    def drawn(figure: go.Figure) -> str:
        return figure.update_layout(template="plotly_white").to_html(
            full_html=False, include_plotlyjs=False, div_id=next(figures), config={"displaylogo": False}
        )

    page = environment.get_template("report.html.j2").render(
        cards=bundle.cards,
        missing=bundle.missing,
        models=MODELS,
        sections={
            name: section(bundle, own) for name, section in (SECTIONS | {"At the threshold": at_thresholds}).items()
        },
        statements=statements,
        sentences=[in_a_sentence([r for r in bundle.validation if r.model == model]) for model in bundle.cards],
        today=date.today().isoformat(),
        drawn=drawn,
        plotly=get_plotlyjs(),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "report.html", page.encode())
    return out / "report.html"
