"""What the Train page shows of finished runs beside each other."""

from dataclasses import replace

from train.runs import run_results


def test_runs_on_other_images_stand_in_a_table_of_their_own(bundle, monkeypatch, tmp_path):
    """Their figures stood in one table, under the first one's title and caveats alone."""
    first = replace(bundle.validation[0], name="first")
    role = "validation; the weights it started from may have seen these images"
    alike = replace(first, name="alike", figures=replace(first.figures, role=role))
    other = replace(first, name="other", rows=first.rows[1:])
    own = {result.name: (result,) for result in (first, other, alike)}
    monkeypatch.setattr(run_results, "load_user_results", lambda runs: (own, {}))
    together, alone = run_results.result_blocks(["first", "other", "alike"], [], tmp_path)
    assert list(together.table[0]) == ["", "first", "alike"]
    assert "may have seen these images" in together.text
    assert list(alone.table[0]) == ["", "other"]
    assert alone.text.startswith("On other images, so these figures cannot be compared with those above.")
