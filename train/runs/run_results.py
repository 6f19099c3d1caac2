"""What comes out of a run: its curves, its figures, and the images that it is furthest wrong about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from rcdnet.errors import ImageError, RcdnetError
from rcdnet.models.registry import CLASSES
from rcdnet.present.overlay import letterboxed, png_url
from rcdnet.present.text import printable
from rcdnet.scans.scan_and_mask import read_bytes, read_scan
from train.config import TrainConfig
from train.data.custom_dataset import source_name
from train.evaluate.curves import roc
from train.evaluate.predictions import read_predictions
from train.fit.events import Epoch
from train.folders import RUNS_FOLDER
from train.results import charts
from train.results.bundle import Bundle, Result
from train.results.load_results import ids_of, load_user_results
from train.results.report_block import ReportBlock
from train.results.tables import Table, figures_table, roles
from train.runs import jobs
from train.runs.data_locations import load_samples
from train.runs.run_state import State, roots_of
from train.runs.watch import View
from train.runs.weights_for_analyse import FOLDER, share, withdraw

WORST = 8
EPOCH = "training_epoch"  # under which the page keeps where its slider stands
SIDES = (200, 150)  # pixels, width and height of a thumbnail
Rates = tuple[Sequence[float], Sequence[float]]  # false and true positive


@dataclass(frozen=True)
class WorstImage:
    """A validation image, as a data URL, with what it shows and what the model said."""

    id: str
    caption: str
    url: str


def runs_table(views: Sequence[View]) -> Table:
    """A row a run, for a list that can be sorted."""
    return [
        {
            "run": view.name,
            "state": view.state.value,
            "model": view.config.model,
            "epoch": f"{view.epoch} of {view.config.epochs}",
            "best AUC": f"{view.best.validation_auc:.3f}" if view.best else "",
            "data": ", ".join(sorted({source_name(Path(place)) for _, place in view.config.data})),
            "device": view.device,
            "start": Path(view.config.init).name,
        }
        for view in views
    ]


def actions(view: View) -> tuple[tuple[str, Callable[[Path], object], bool], ...]:
    """What can be done with a run's folder: a word for it, how, and whether now."""
    return (
        ("Stop", jobs.stop, view.state.stoppable),
        ("Resume", jobs.resume, view.state.resumable),
        ("Remove from the Analyse page", withdraw, True)
        if (RUNS_FOLDER / view.name / FOLDER).exists()
        else ("Use on the Analyse page", share, view.state == State.FINISHED),
    )


def epoch_values(state: Mapping[str, Any], name: str, epochs: Sequence[int]) -> dict[str, Any]:
    """Where the epoch slider of a run stands: at the newest epoch, until somebody moves it."""
    if not epochs[1:]:
        return {}
    chosen, seen = state.get(EPOCH), state.get("training_newest")
    follow = (name, chosen) == seen or chosen not in epochs or seen is None or seen[0] != name
    return {EPOCH: epochs[-1] if follow else chosen, "training_newest": (name, epochs[-1])}


def live_charts(view: View, others: Sequence[View], epoch: int, bundle: Bundle) -> list[go.Figure]:
    """Learning curves, and the ROC curves of an epoch, as far as there are any yet."""
    if not view.epochs:
        return []
    learning = charts.learning_chart({v.name: v.epochs for v in (view, *others)}, columns=2)
    curves = roc_curves(view, epoch, others, bundle)
    return [learning, charts.roc_by_epoch_chart(curves)] if any(e.roc for e in view.epochs) else [learning]


def roc_curves(view: View, epoch: int, others: Sequence[View], bundle: Bundle) -> dict[str, Rates]:
    """By name: of an epoch and of the best one, of other runs' best, and of the bundled models, each on its own validation."""
    rocs = {e.epoch: e.roc for e in view.epochs if e.roc}
    curves: dict[str, Rates] = {f"{view.name}, epoch {epoch}": _rates(rocs[epoch])} if epoch in rocs else {}
    for other in (view, *others):
        if other.best and other.best.roc and (other != view or other.best.epoch != epoch):
            curves[f"{other.name}, best epoch {other.best.epoch}"] = _rates(other.best.roc)
    for result in bundle.validation:
        curve = roc(result.rows)
        curves[f"{result.name}, {result.images}"] = (curve.x.tolist(), curve.y.tolist())
    return curves


def result_blocks(names: Sequence[str], views: Sequence[View], runs: Path) -> list[ReportBlock]:
    """Best and last epoch of each named run; then the evaluation of the first, set by set, with the others' beside it."""
    blocks = [
        ReportBlock(
            f"{view.name}, on validation during training", "Best and last epoch. Accuracy at threshold 0.5.", table
        )
        for view in views
        if view.name in names and (table := figures_by_epoch(view))
    ]
    own, missing = load_user_results(runs)
    blocks += [ReportBlock(f"{name}, evaluated", missing[name]) for name in names if name in missing]
    on_same: dict[frozenset[tuple[str, int]], list[Result]] = {}
    for result in (r for name in names for r in own.get(name, ())):
        on_same.setdefault(ids_of(result), []).append(result)
    firsts = own.get(names[0], ())
    apart = "On other images, so these figures cannot be compared with those above. "
    return blocks + [
        _evaluated(results, apart if firsts and results[0] not in firsts else "") for results in on_same.values()
    ]


def _evaluated(results: Sequence[Result], caveat: str = "") -> ReportBlock:
    """Results on the same images, with the confusion matrix of each."""
    first = results[0]
    chart = charts.confusion_charts({r.name: r.figures.confusion for r in results})
    return ReportBlock(f"{first.name}. {first.images}", caveat + roles(results), figures_table(results), chart)


def figures_by_epoch(view: View) -> Table:
    """Figures on validation of the best epoch, then of the last one; none where nothing validated."""
    validated = [e for e in view.epochs if e.validation_auc is not None]
    if not validated or view.best is None:
        return []
    last = validated[-1]
    return [{"epoch": f"best, {view.best.epoch}"} | _row(view.best), {"epoch": f"last, {last.epoch}"} | _row(last)]


def worst_images(run: Path, count: int = WORST) -> list[WorstImage]:
    """The validation images whose probability is furthest off; none where the run has no predictions, or its data is gone."""
    try:
        rows = sorted(read_predictions(run / "predictions.csv"), key=lambda row: -abs(row.label - row.probability))
        data, roots = TrainConfig.read(run / "config.json").data, roots_of(run)
        samples = load_samples(data, *roots)
        paths = {sample.id: sample.path for sample in samples}
    except RcdnetError:
        return []
    found = []
    for row in rows[:count]:
        try:
            pixels = read_scan(read_bytes(paths[row.id])).pixels
        except (KeyError, OSError, ImageError):
            continue
        found.append(
            WorstImage(
                row.id,
                f"{printable(row.id)}: {CLASSES[row.label]}, probability of malignancy {row.probability:.2f}",
                png_url(letterboxed(pixels, *SIDES)),
            )
        )
    return found


def _rates(points: tuple[tuple[float, ...], ...]) -> Rates:
    return points[0], points[1]


def _row(epoch: Epoch) -> dict[str, str]:
    figures = {
        "AUC": epoch.validation_auc,
        "accuracy": epoch.validation_accuracy,
        "loss": epoch.validation_loss,
        **{f"AUC {source}": auc for source, auc in epoch.auc_by_source.items()},
    }
    return {name: "" if value is None else f"{value:.3f}" for name, value in figures.items()}
