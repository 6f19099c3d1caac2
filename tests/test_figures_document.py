"""docs/figures.md, which a command writes from the records, and what the README takes from it."""

import re
from dataclasses import replace

import pytest
from conftest import ROOT

from train.__main__ import main
from train.results.at_a_glance import summary, trust
from train.results.figures_document import figures_document
from train.results.load_results import load_bundled_results
from train.results.markdown_tables import markdown_table

README = (ROOT / "README.md").read_text()


def test_the_document_is_what_the_command_writes(tmp_path):
    assert not main(["figures", "--out", str(tmp_path / "figures.md")])
    written = (tmp_path / "figures.md").read_text()
    assert written == (ROOT / "docs" / "figures.md").read_text(), "python -m train figures --out docs/figures.md"


def test_the_readme_has_one_table_of_figures_and_one_sentence_on_trust():
    bundle = load_bundled_results()
    table = summary(bundle)
    assert table in README
    assert sum(line.startswith("| ---") for line in README.splitlines()) == 1
    assert len(table.splitlines()) - 2 <= 12
    assert trust(bundle) in README


def test_the_table_holds_what_the_evaluations_say():
    """By another way than the module's: cell by cell."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary(load_bundled_results()).splitlines()]
    rows = {re.split("[,:]", line[0])[0]: line for line in lines[2:]}
    for r in load_bundled_results().validation:
        column = lines[0].index(f"AUC, {'BUS-BRA' if r.figures.name == 'busbra' else 'BUSI'}")
        message = [f"{r.figures.figures[key].value:.2f}" for key in ("auc", "sensitivity", "specificity")]
        assert rows[r.name][column : column + 3] == message
        assert str(r.figures.images) in rows[r.name][0]
    for name, column in (("busbra", "AUC, BUS-BRA"), ("busi", "AUC, BUSI")):
        found = [r.figures.figures["auc"].value for r in load_bundled_results().cross_site if r.figures.name == name]
        assert rows["RcdNet at another hospital"][lines[0].index(column)] == f"{min(found):.2f} to {max(found):.2f}"


def test_another_figure_is_another_document():
    bundle = load_bundled_results()
    first = bundle.validation[0]
    auc = replace(first.figures.figures["auc"], value=0.5)
    figures = replace(first.figures, figures=first.figures.figures | {"auc": auc})
    other = replace(bundle, validation=(replace(first, figures=figures), *bundle.validation[1:]))
    assert figures_document(other) != figures_document(bundle)
    assert "left out of training | 0.50 |" in summary(other)


@pytest.mark.parametrize(
    ("better", "message"), [(0, "in none of 2 trainings was it shown to be better"), (1, "in 1 of 2 trainings")]
)
def test_the_sentence_on_trust_follows_the_records(better, message):
    """A model that knows every label is better than the box; one that says the same as the box is not."""
    source = load_bundled_results().cross_site[0]
    perfect = replace(source, rows=tuple(replace(row, probability=float(row.label)) for row in source.rows))
    level = replace(source, rows=tuple(replace(row, probability=row.box_score) for row in source.rows))
    results = (perfect, level) if better else (level, level)
    sentence = trust(replace(load_bundled_results(), cross_site=results))
    assert message in sentence
    assert "worse" not in sentence
    wrong = replace(source, rows=tuple(replace(row, probability=1.0 - row.label) for row in source.rows))
    assert "and in 1 it was worse" in trust(replace(load_bundled_results(), cross_site=(*results, wrong)))


def test_without_tests_at_other_hospitals_nothing_is_said_of_them():
    bundle = replace(load_bundled_results(), cross_site=())
    assert trust(bundle) == ""
    assert "another hospital" not in summary(bundle)
    assert "## At another hospital" not in figures_document(bundle)


def test_a_table_in_markdown():
    assert markdown_table([{"a": 1, "b": ""}, {"a": "x", "b": 2}]) == "| a | b |\n| --- | --- |\n| 1 |  |\n| x | 2 |"
