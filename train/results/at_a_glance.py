"""How good the shipped models are in one table and one sentence, as the README and the document of figures show it."""

from collections.abc import Sequence

from rcdnet.models.registry import MODELS
from rcdnet.present.text import join_names
from train.data.public_datasets import TITLES
from train.results.box_and_birads import BOX, READERS, against, verdict
from train.results.bundle import Bundle, Result
from train.results.markdown_tables import markdown_table
from train.results.tables import Table


def summary(bundle: Bundle) -> str:
    """The table that README shows too: every model, RcdNet at another hospital, and who else judged the same images."""
    rows: Table = []
    for model in bundle.cards:
        results = [r for r in bundle.validation if r.model == model]
        images = join_names([str(r.figures.images) for r in results])
        rows.append(_summary_row(f"{MODELS[model].title}, on {images} images left out of training", results))
    for model in dict.fromkeys(r.model for r in bundle.cross_site):
        results = [r for r in bundle.cross_site if r.model == model]
        seeds = len(results) // len({r.figures.name for r in results})
        rows.append(
            _summary_row(
                f"{MODELS[model].title} at another hospital: trained on the other data set alone, {seeds} seeds",
                results,
            )
        )
    first = [r for r in bundle.validation if r.model == next(iter(bundle.cards))]
    for reader, name in READERS.items():
        rows.append(
            {"": name[:1].upper() + name[1:]}
            | {
                f"AUC, {TITLES[r.figures.name]}": f"{f[reader].auc.value:.2f}"
                for r in first
                if reader in (f := r.figures.references)
            }
        )
    columns = dict.fromkeys(key for row in rows for key in row)
    return markdown_table([{c: row.get(c, "") for c in columns} for row in rows])


def trust(bundle: Bundle) -> str:
    """The one sentence that matters most: RcdNet against the lesion's box on images of another hospital; empty without any."""
    if not bundle.cross_site:
        return ""
    verdicts = [verdict(against(r.rows, BOX)) for r in bundle.cross_site]
    rule = "a simple rule on the size, shape and place of the lesion"
    worse = f", and in {count} it was worse" if (count := verdicts.count("worse")) else ""
    if better := verdicts.count("better"):
        statement = f"RcdNet was better than {rule} in {better} of {len(verdicts)} trainings{worse}"
    else:
        statement = f"expect no more from RcdNet than from {rule}: in none of {len(verdicts)} trainings was it shown to be better{worse}"
    return f"**At a hospital whose images it has not seen, {statement}.**"


def _summary_row(name: str, results: Sequence[Result]) -> dict[str, str]:
    """Each figure of the results by data set, from the least to the most where there are several."""
    row = {"": name}
    for source, title in TITLES.items():
        of_source = [r.figures for r in results if r.figures.name == source]
        for key, column in (("auc", "AUC"), ("sensitivity", "sensitivity"), ("specificity", "specificity")):
            values = sorted(f.figures[key].value for f in of_source)
            if values:
                most = f" to {values[-1]:.2f}" if len(values) > 1 else ""
                row[f"{column}, {title}"] = f"{values[0]:.2f}{most}"
    return row
