"""Reports as one file that needs no network: plots, styles and scripts are in it."""

from datetime import date
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from rcdnet.present import statements
from train.crash_safe_files import write_atomic


def write_document(template: str, path: Path, **values: object) -> Path:
    """Fill one of the templates beside this file and write it to `path`, whose folder is made; returns `path`.

    All of them extend `document.html.j2`, which draws Plotly figures with `drawn`.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    numbers = iter(range(10_000))

    def drawn(figure: go.Figure) -> str:
        return figure.update_layout(template="plotly_white").to_html(
            full_html=False, include_plotlyjs=False, div_id=f"figure-{next(numbers)}", config={"displaylogo": False}
        )

    environment.globals |= {"drawn": drawn, "statements": statements, "today": date.today().isoformat()}
    page = environment.get_template(template).render(plotly=get_plotlyjs(), **values)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page.encode())
    return path
