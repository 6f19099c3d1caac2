"""Evaluations as the Results page and the report show them: which there are, what is behind them, and which are out of date."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from os.path import lexists
from pathlib import Path

from rcdnet.errors import CheckpointError, DatasetError, NotTrained, RcdnetError
from rcdnet.models.card import Figures, ModelCard
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, read_card
from rcdnet.models.lesion_presence import PresenceCards, load_presence_cards
from rcdnet.models.registry import MODELS
from rcdnet.reading.input_check import load_input_check
from rcdnet.safe_read import shortened
from train.config import TrainConfig
from train.crash_safe_files import file_stamp
from train.data.public_datasets import TITLES
from train.evaluate.evaluation_files import verified_predictions
from train.evaluate.evaluation_record import Evaluation, SetMetrics, read_evaluation
from train.evaluate.predictions import PredictionRow
from train.fit.checkpoints import read_best, to_half_precision
from train.fit.events import Epoch, read_events
from train.folders import BUNDLED, RESULTS_FOLDER, RUNS_FOLDER
from train.results.bundle import EXTERNAL, Bundle, Result
from train.studies.heatmap_records import PUBLISHED, REMAKE_HINT, MapFigures, read_figures, read_settings

RECORDS = ("*.json", "*.jsonl", "*.csv", "*.safetensors")
TAKEN = {"reference", *(spec.title for spec in MODELS.values())}  # names that figures have for something else
OWN_RECORDS = ("*/config.json", "*/evaluation.json", "*/predictions.csv", "*/last.*", "*/best.*", "*/external/*/*.*")


def load_bundled_results(weights_folder: Path = WEIGHTS_FOLDER, results_folder: Path = RESULTS_FOLDER) -> Bundle:
    """The shipped models' results; read again only when a file has changed."""
    return _bundled(
        weights_folder,
        results_folder,
        _stamp(path for folder in (weights_folder, results_folder) for kind in RECORDS for path in folder.rglob(kind)),
    )


def load_user_results(runs_folder: Path = RUNS_FOLDER) -> tuple[dict[str, tuple[Result, ...]], dict[str, str]]:
    """The user's own: evaluated runs, and external tests of runs and of bundled models, by name; and why another is not shown."""
    cards = WEIGHTS_FOLDER.glob("*.json")  # of the bundled models that external tests may be of
    return _own_results(runs_folder, _stamp([*cards, *(p for kind in OWN_RECORDS for p in runs_folder.glob(kind))]))


def chosen_results(names: Sequence[str], runs_folder: Path = RUNS_FOLDER) -> list[Result]:
    """The user's own results of these names; `DatasetError` says of one that is not there which are."""
    results, missing = load_user_results(runs_folder)
    for name in names:
        if name not in results:
            there = ", ".join(results) or "none"
            raise DatasetError(
                missing.get(name, f"There is no evaluation named {name!r} below {runs_folder}; there is: {there}.")
            )
    return [result for name in names for result in results[name]]


def grouped(bundle: Bundle, own: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Results that may stand in one figure, with a title: models on exactly the same images; then those that stand alone.

    External tests stand beside external tests alone: the app's own weights were trained on everything, so a test of them on the
    public sets is no validation.
    """
    groups = [(members[-1].images, members) for members in _same_images([*bundle.validation, *bundle.folds])]
    shown = {id(r) for _, members in groups for r in members}
    groups += [(r.images, [r]) for r in bundle.validation if id(r) not in shown]
    alone = len(groups)
    for r in own:
        beside = next((m for _, m in groups if m[0].external == r.external and ids_of(m[0]) == ids_of(r)), None)
        if beside is None:
            groups.append((r.images, [r]))
        else:
            beside.append(r)
    return groups[:alone] + [
        (f"{members[0].name}: {images}" if len(members) == 1 else images, members) for images, members in groups[alone:]
    ]


def _same_images(results: Iterable[Result]) -> list[list[Result]]:
    """Results of different models on exactly the same images, in the registry's order, the most models first."""
    found: dict[frozenset[tuple[str, int]], dict[str, Result]] = {}
    for result in results:
        found.setdefault(ids_of(result), {}).setdefault(result.model, result)
    groups = [[of[model] for model in MODELS if model in of] for of in found.values() if len(of) > 1]
    return sorted(groups, key=len, reverse=True)


def ids_of(result: Result) -> frozenset[tuple[str, int]]:
    """The images, and what they are said to be: two clinics may number theirs alike."""
    return frozenset((row.id, row.label) for row in result.rows)


def _stamp(files: Iterable[Path]) -> tuple:
    """Changes when one of the files does, or what lies in place of one."""
    return tuple(sorted((str(path), *file_stamp(path)) for path in files))


@lru_cache(maxsize=2)
def _bundled(weights_folder: Path, results_folder: Path, stamp: tuple) -> Bundle:
    cards, runs, missing = {}, {}, {}
    found: dict[str, list[Result]] = {"validation": [], "folds": [], "seeds": [], "cross_site": []}
    for model, spec in MODELS.items():
        try:
            card = read_card(model, weights_folder)
            weights = weights_folder / f"{model}.safetensors"
            if not weights.exists() or hashlib.sha256(weights.read_bytes()).hexdigest() != card.sha256:
                raise CheckpointError(
                    f"The figures of {spec.title} are of other weights than those in the app. Make both again: "
                    f"python -m train ship RUN"
                )
            own = {kind: _traced(spec.title, card, getattr(card, kind), results_folder) for kind in found}
            names = dict.fromkeys([card.run, *(figures.results for figures in card.folds)])
            runs[model] = {name: epochs for name in names if (epochs := _epochs(results_folder / name))}
        except NotTrained as reason:
            missing[model] = str(reason)
            continue
        except RcdnetError as reason:
            missing[model] = f"No figures of {spec.title} are shown. {reason}"
            continue
        cards[model] = card
        for kind, results in own.items():
            found[kind] += results
    heatmaps: tuple[MapFigures, ...] = ()
    try:
        heatmaps = _heatmaps(results_folder, cards)
    except DatasetError as reason:
        missing["heatmaps"] = str(reason)
    kinds = {kind: tuple(results) for kind, results in found.items()}
    try:
        check = load_input_check(weights_folder).card
    except CheckpointError as reason:
        missing["input check"], check = str(reason), None
    try:
        presence = _presence(weights_folder, cards)
    except CheckpointError as reason:
        missing["lesion presence"], presence = str(reason), None
    return Bundle(
        cards=cards, **kinds, runs=runs, missing=missing, heatmaps=heatmaps, input_check=check, lesion_presence=presence
    )


def _presence(weights_folder: Path, cards: Mapping[str, ModelCard]) -> PresenceCards | None:
    """What is known of the weights that the app uses. Raises as `rcdnet.models.lesion_presence.load_presence_cards`."""
    found = load_presence_cards(weights_folder)
    if found is None:
        return None
    digests = {model: card.sha256 for model, card in cards.items()}
    current = tuple(card for card in found.models if digests.get(card.model) == card.weights_sha256)
    return replace(found, models=current) if current else None


def _heatmaps(results_folder: Path, cards: Mapping[str, ModelCard]) -> tuple[MapFigures, ...]:
    """The published study of heatmaps, of the models in `cards`; none where there is none.

    Raises:
        DatasetError: it is of other runs than those that the cards rest on, or of other weights of these.
    """
    folder = results_folder / PUBLISHED
    if not folder.exists():
        return ()
    for run, digest in read_settings(folder).weights.items():
        evaluation = read_evaluation(results_folder / run / "evaluation.json")
        if (card := cards.get(evaluation.model)) is None:
            continue
        if run not in {f.results for f in (*card.validation, *card.folds)} or evaluation.weights_sha256 != (digest,):
            raise DatasetError(
                f"The figures of heatmaps are of other weights of {run} than those evaluated. {REMAKE_HINT} --publish"
            )
    return tuple(f for f in read_figures(folder) if f.model in cards)


def _traced(title: str, card: ModelCard, figures: Sequence[Figures], folder: Path) -> list[Result]:
    """The evaluation behind each figure of a card; `DatasetError` if it is not there or not the one."""
    results = []
    for place in dict.fromkeys(f.results for f in figures):
        claimed = [f for f in figures if f.results == place]
        again = "Make them with: python -m train evaluate RUN, for each run, and python -m train ship RUN"
        copied = bool(place) and (folder / place / "evaluation.json").exists()
        if not copied and not set(card.recipe.get("sources", ())) <= TITLES.keys():
            raise DatasetError(
                f"Its figures are of images of your own, whose records are not copied. Choose the run {card.run} below instead."
            )
        if not copied:
            raise DatasetError(f"The predictions behind its card are not there. {again}")
        evaluation = read_evaluation(folder / place / "evaluation.json")
        rows = verified_predictions(folder / place, evaluation)
        if {f.predictions_sha256 for f in claimed} != {evaluation.predictions_sha256} or len(claimed) != len(
            evaluation.sets
        ):
            raise DatasetError(f"The evaluation in {place} is of other weights than those that the app uses. {again}")
        if not all(_agree(f, s) for f, s in zip(claimed, evaluation.sets, strict=True)) or (
            figures is card.validation and evaluation.threshold != card.threshold
        ):
            raise DatasetError(f"Its card and the evaluation in {place} do not say the same. {again}")
        results += [
            _result(title, card.model, f.data, s, rows, evaluation)
            for f, s in zip(claimed, evaluation.sets, strict=True)
        ]
    return results


def _agree(f: Figures, s: SetMetrics) -> bool:
    """Whether a card says of a set what its evaluation does."""
    own = (f.images, f.malignant, f.auc, f.auc_by_group, f.sensitivity, f.specificity, f.ece)
    found = [s.figures[key].value for key in ("sensitivity", "specificity", "ece")]
    return own == (s.images, s.malignant, s.figures["auc"].value, s.auc_by_group.value, *found)


def _result(
    name: str,
    model: str,
    images: str,
    s: SetMetrics,
    rows: Sequence[PredictionRow],
    evaluation: Evaluation,
    *,
    external: bool = False,
) -> Result:
    own = tuple(row for row in rows if row.source == s.name)
    chosen = not external and s.name in evaluation.chosen_on
    notes = evaluation.left_out, evaluation.remarks
    title = TITLES.get(s.name, s.name)
    verdicts = next((c for c in evaluation.verdict_counts if c.data == title), None)
    return Result(name, model, images, s, own, evaluation.threshold_rule, external, chosen, *notes, verdicts)


def _epochs(run: Path) -> tuple[Epoch, ...]:
    return tuple(event for event in read_events(run / "events.jsonl") if isinstance(event, Epoch))


@lru_cache(maxsize=2)
def _own_results(runs_folder: Path, stamp: tuple) -> tuple[dict[str, tuple[Result, ...]], dict[str, str]]:
    results, missing = {}, {}
    for run in sorted(path for path in runs_folder.glob("*") if path.is_dir() and not path.name.startswith(".")):
        tests = sorted(place for place in run.glob("external/*") if lexists(place / "evaluation.json"))
        own = [run] if lexists(run / "evaluation.json") else []
        for place in [*own, *tests]:
            name = run.name if place == run else f"{run.name} on {place.name}"
            shown = f"{name} (yours)" if name in TAKEN else name
            try:
                evaluation = _evaluation_of_now(run, place)
                rows = verified_predictions(place, evaluation)
                results[name] = tuple(
                    _result(
                        shown,
                        evaluation.model,
                        _validation(s) if place == run else _elsewhere(s, place, evaluation),
                        s,
                        rows,
                        evaluation,
                        external=place != run,
                    )
                    for s in evaluation.sets
                )
            except (RcdnetError, OSError) as reason:  # the latter of one that is deleted meanwhile
                missing[name] = f"{shortened(name)} is not shown. {shortened(str(reason))}"
    return results, missing


def _validation(s: SetMetrics) -> str:
    return f"{TITLES.get(s.name, s.name)}, its own validation images"


def _elsewhere(s: SetMetrics, place: Path, evaluation: Evaluation) -> str:
    """By the folder's name: whose images lie in one that is laid out as BUSI is, nobody but the user knows."""
    return f"{place.name if len(evaluation.sets) == 1 else s.name}{EXTERNAL}"


def _evaluation_of_now(run: Path, place: Path) -> Evaluation:
    """The evaluation in `place`; `DatasetError` if the run, or the bundled model, has other weights by now."""
    evaluation = read_evaluation(place / "evaluation.json")
    if run.name.startswith(BUNDLED):
        weights, now = run.name.removeprefix(BUNDLED), read_card(run.name.removeprefix(BUNDLED)).sha256
    else:
        weights, now = f"runs/{run.name}", hashlib.sha256(to_half_precision(read_best(run))).hexdigest()
        TrainConfig.read(run / "config.json")
    if evaluation.weights_sha256 != (now,):
        data = "" if place == run else " --data SOURCE=DIR"
        raise DatasetError(f"It is of other weights. Make it again: python -m train evaluate {weights}{data}")
    return evaluation
