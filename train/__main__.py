"""python -m train fit --model rcdnet --data busbra=DIR --data busi=DIR --out runs/rcdnet
python -m train fit --resume runs/rcdnet
python -m train evaluate runs/rcdnet --data folder=DIR
python -m train compare runs/rcdnet runs/vit
python -m train ship runs/rcdnet --folds runs/rcdnet-fold1 runs/rcdnet-fold2
python -m train report --out DIR
python -m train figures --out docs/figures.md
python -m train heatmaps --models runs/rcdnet-fold1 runs/rcdnet-fold2 --out DIR
python -m train steadiness --models runs/rcdnet-fold1 runs/rcdnet-fold2 --out DIR
python -m train input-check --data busbra=DIR --data busi=DIR --data breast=DIR
python -m train lesion-presence --data busbra=DIR --data busi=DIR --data breast=DIR
python -m train adapt --data folder=DIR --name "Our hospital" --save
python -m train audit --data busbra=DIR --data busi=DIR
python -m train fetch busbra --out data
python -m train bench
python -m train phantoms assets/samples
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from rcdnet.exit_codes import run_command
from rcdnet.models.checkpoint import WEIGHTS_FOLDER
from rcdnet.models.registry import MODELS
from rcdnet.path_arguments import check_writable, expand_pattern
from train.arguments import argument_parser, config_of
from train.config import TrainConfig
from train.crash_safe_files import write_atomic
from train.data.audit import audit, report_lines
from train.data.dataset_readers import read_sources
from train.data.fetch import fetch
from train.data.phantoms import write_dataset, write_samples
from train.data.public_datasets import PUBLIC_DATASETS
from train.evaluate.adapt import adaptation, adaptation_sentences, save_local_operating_point
from train.evaluate.compare import delong_lines, read_all, shipped, table
from train.evaluate.evaluation_files import EVALUATION, verified_predictions
from train.evaluate.external_test import evaluate_external, external_test_folder
from train.evaluate.internal_validation import reevaluate_run
from train.fit.bench import throughput
from train.fit.events import Failed
from train.folders import BUNDLED, RESULTS_FOLDER, RUNS_FOLDER
from train.publish.ship import ship
from train.runs.start_and_resume import resume, start


def main(arguments: list[str] | None = None) -> int:
    def work() -> int | None:
        options = argument_parser().parse_args(arguments)
        return COMMANDS[options.command](options)

    return run_command(work)


def _fit(options: argparse.Namespace) -> int:
    given = [f.name for f in fields(TrainConfig) if getattr(options, f.name) is not None]
    if options.resume and (given or options.out or options.split_file):
        print("A resumed run keeps its settings; give --resume alone.", file=sys.stderr)
        return 2
    if out := options.resume or options.out:
        check_writable(out, "config.json", "events.jsonl", "log.txt")
    if options.resume:
        event = resume(options.resume, say=_say)
    elif options.out:
        event = start(config_of(options), options.out, split=options.split_file, say=_say)
    else:
        print("Give a folder for a new run as --out, or a run to resume as --resume.", file=sys.stderr)
        return 2
    return int(isinstance(event, Failed))


def _evaluate(options: argparse.Namespace) -> None:
    run = Path(options.weights)
    if options.data or run.is_dir():
        check_writable(options.out or (run if run.is_dir() else RUNS_FOLDER), *EVALUATION)
    if options.data:
        evaluation = evaluate_external(options.weights, options.data, options.out, _say)
        for sentence in evaluation.left_out:
            print(f"Left out: {sentence}")
    else:
        evaluation = reevaluate_run(run, _say)
    for remark in evaluation.remarks:
        print(remark)
    print(table([(run.name, evaluation)]))


def _compare(options: argparse.Namespace) -> None:
    folders = _matching(options.folders) or shipped()
    evaluations = read_all(folders)
    print(table(evaluations))
    for line in delong_lines(folders, evaluations):
        print(line)


def _ship(options: argparse.Namespace) -> None:
    check_writable(WEIGHTS_FOLDER)
    check_writable(RESULTS_FOLDER)
    card = ship(options.weights, _matching(options.folds), _matching(options.cross_site))
    print(f"The app now uses these weights for {MODELS[card.model].title}, with threshold {card.threshold:.3f}.")


def _report(options: argparse.Namespace) -> None:
    # Plotly and Jinja2 are not on every machine that trains.
    from train.results.load_results import chosen_results, load_bundled_results
    from train.results.results_report import write_report

    check_writable(options.out, "report.html")
    print(write_report(load_bundled_results(), chosen_results(options.own), options.out))


def _figures(options: argparse.Namespace) -> None:
    from train.results.figures_document import figures_document
    from train.results.load_results import load_bundled_results

    check_writable(options.out.parent, options.out.name)
    write_atomic(options.out, figures_document(load_bundled_results()).encode())


def _heatmaps(options: argparse.Namespace) -> None:
    # pytorch-grad-cam, Plotly and Jinja2 are not on every machine that trains.
    from rcdnet.reading.heatmaps import METHODS
    from train.results.heatmap_report import write_study
    from train.studies.heatmap_records import MAPS_FILE, publish_maps, write_figures
    from train.studies.heatmap_study import measure_heatmaps
    from train.studies.held_out import study_input

    check_writable(options.out, MAPS_FILE)
    if options.publish:
        check_writable(RESULTS_FOLDER)
    weights = [
        study_input(name, options.data, located=True) for text in options.models for name in expand_pattern(text)
    ]
    rows = measure_heatmaps(weights, options.out, options.methods or list(METHODS), options.examined)
    found = write_figures(options.out / MAPS_FILE)
    print(write_study(weights, rows, found, options.out))
    if options.publish:
        publish_maps(options.out, RESULTS_FOLDER)


def _steadiness(options: argparse.Namespace) -> None:
    from train.results.markdown_tables import markdown_table
    from train.results.steadiness_table import steadiness_table
    from train.studies.held_out import study_input
    from train.studies.steadiness import ROWS_FILE, measure_steadiness, steadiness

    check_writable(options.out, ROWS_FILE, "steadiness.md")
    weights = [study_input(name, options.data) for text in options.models for name in expand_pattern(text)]
    text = markdown_table(steadiness_table(steadiness(measure_steadiness(weights, options.out))))
    write_atomic(options.out / "steadiness.md", f"{text}\n".encode())
    print(text)


def _input_check(options: argparse.Namespace) -> None:
    # pytorch-grad-cam, which a reader of scans has, is not on every machine that trains.
    from train.studies.input_check import publish_input_check

    check_writable(options.out)
    card = publish_input_check(options.data, folder=options.out, say=_say)
    print(f"The app now asks this check before it reads a picture; it was taught with {', '.join(card.trained_on)}.")


def _lesion_presence(options: argparse.Namespace) -> None:
    # pytorch-grad-cam, which a reader of scans has, is not on every machine that trains.
    from train.studies.lesion_presence import publish_lesion_presence

    check_writable(options.out)
    cards = publish_lesion_presence(options.data, folder=options.out, say=_say)
    print(
        f"The app's {len(cards.models)} models now say whether they see a lesion; {', '.join(cards.trained_on)} taught them."
    )


def _adapt(options: argparse.Namespace) -> None:
    check_writable(RUNS_FOLDER, *EVALUATION)
    for model in options.models:
        home = RUNS_FOLDER / f"{BUNDLED}{model}"
        place = external_test_folder(home, [options.name] if options.name else [options.data[0]])
        evaluation = evaluate_external(model, [options.data], place, _say)
        for sentence in (*(f"Left out: {reason}" for reason in evaluation.left_out), *evaluation.remarks):
            print(sentence)
        print(table([(model, evaluation)]))
        rows = tuple(verified_predictions(place, evaluation))
        for sentence in adaptation_sentences(adaptation(place.name, model, rows)):
            print(sentence)
        if options.save:
            point = save_local_operating_point(place)
            print(f"Analyse now offers the operating point of {point.site} for {MODELS[model].title}.")


def _audit(options: argparse.Namespace) -> None:
    for finding in audit(read_sources(options.data, _say)):
        print("\n".join(report_lines(finding)))


def _fetch(options: argparse.Namespace) -> None:
    dataset = PUBLIC_DATASETS[options.name]
    check_writable(options.out)
    place = fetch(options.name, options.out, url=options.url)
    rules = "" if dataset.shareable else ", and do not pass its images on"
    print(
        f"{dataset.title} ({dataset.reference})\nlicence: {dataset.licence}; cite it{rules}\nuse it as: --data {options.name}={place}"
    )


def _phantoms(options: argparse.Namespace) -> None:
    check_writable(options.folder, "phantoms.csv")
    if options.count:
        write_dataset(options.folder, options.count, seed=options.seed)
    else:
        write_samples(options.folder)


def _bench(options: argparse.Namespace) -> None:
    config = config_of(options)
    t = throughput(config, rounds=options.rounds)
    print(f"{config.model} on {t.device}, batch {config.batch_size}, {config.precision}")
    print(
        f"engine {t.engine:.1f} images/s, {t.engine / t.ceiling:.2f} of the ceiling, {t.engine / t.plain:.1f} x the plain loop"
    )
    print(f"ceiling {t.ceiling:.1f} images/s, plain loop {t.plain:.1f} images/s")


def _matching(texts: Sequence[str]) -> list[Path]:
    return [Path(place) for text in texts for place in expand_pattern(text)]


def _say(text: str) -> None:
    print(text, flush=True)


COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "fit": _fit,
    "evaluate": _evaluate,
    "compare": _compare,
    "ship": _ship,
    "report": _report,
    "figures": _figures,
    "heatmaps": _heatmaps,
    "steadiness": _steadiness,
    "input-check": _input_check,
    "lesion-presence": _lesion_presence,
    "adapt": _adapt,
    "audit": _audit,
    "fetch": _fetch,
    "bench": _bench,
    "phantoms": _phantoms,
}


if __name__ == "__main__":
    sys.exit(main())
