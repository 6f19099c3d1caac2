"""python -m train fit --model rcdnet --data busbra=DIR --data busi=DIR --out runs/rcdnet
python -m train fit --resume runs/rcdnet
python -m train evaluate runs/rcdnet --data folder=DIR
python -m train compare runs/rcdnet runs/vit
python -m train ship runs/rcdnet --folds runs/rcdnet-fold1 runs/rcdnet-fold2
python -m train report --out DIR
python -m train figures --out docs/figures.md
python -m train heatmaps --models runs/rcdnet-fold1 runs/rcdnet-fold2 --out DIR
python -m train audit --data busbra=DIR --data busi=DIR
python -m train fetch busbra --out data
python -m train bench
python -m train phantoms assets/samples
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from rcdnet.exit_codes import run_command
from rcdnet.models.checkpoint import WEIGHTS_FOLDER
from rcdnet.models.registry import MODELS
from rcdnet.path_arguments import check_writable, expand_pattern, expand_user_path, with_home
from train.config import TrainConfig, kind_of
from train.crash_safe_files import write_atomic
from train.data.audit import audit, report_lines
from train.data.dataset_readers import read_sources
from train.data.fetch import fetch
from train.data.phantoms import write_dataset, write_samples
from train.data.public_datasets import PUBLIC_DATASETS
from train.evaluate.compare import delong_lines, read_all, shipped, table
from train.evaluate.evaluation_files import EVALUATION
from train.evaluate.external_test import evaluate_external
from train.evaluate.internal_validation import reevaluate_run
from train.fit.bench import throughput
from train.fit.events import Failed
from train.folders import RESULTS_FOLDER, RUNS_FOLDER
from train.presets import PRESETS, preset
from train.publish.ship import ship
from train.runs.start_and_resume import resume, start


def main(arguments: list[str] | None = None) -> int:
    def work() -> int | None:
        options = _parser().parse_args(arguments)
        code: int | None = options.run(options)
        return code

    return run_command(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train and evaluate the six models.")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("fit", help="train one model, or resume a run")
    command.set_defaults(run=_fit)
    command.add_argument(
        "--resume", type=expand_user_path, metavar="RUN", help="resume this run, with its own settings"
    )
    command.add_argument("--out", type=expand_user_path, help="folder of a new run")
    command.add_argument(
        "--preset", choices=list(PRESETS), default="paper", help="the recipe that the settings below change"
    )
    command.add_argument(
        "--split-file", type=expand_user_path, metavar="FILE", help="a split.json to use instead of making one"
    )
    _add_settings(command)

    command = commands.add_parser("evaluate", help="score weights on images that they were not trained on")
    command.set_defaults(run=_evaluate)
    command.add_argument(
        "weights", type=with_home, help="folder of a run, the name of a bundled model, or a weight file with its card"
    )
    command.add_argument("--data", action="append", default=[], metavar="SOURCE=DIR", type=_source,
                         help="an external test set, instead of the run's validation images")  # fmt: skip
    command.add_argument("--out", type=expand_user_path, help="folder for the figures of an external test")

    command = commands.add_parser("compare", help="figures of runs side by side, and DeLong's test between them")
    command.set_defaults(run=_compare)
    command.add_argument("folders", nargs="*", metavar="RUN", help="default: all that came with the app")

    command = commands.add_parser("ship", help="put a run's weights, with their card, where the app looks for them")
    command.set_defaults(run=_ship)
    command.add_argument("weights", type=expand_user_path, metavar="RUN")
    command.add_argument("--folds", nargs="*", default=[], metavar="RUN",
                         help="runs of the same recipe on other folds of the data, to measure how good it is; runs from another seed show "
                         "how far that depends on the seed")  # fmt: skip
    command.add_argument("--cross-site", nargs="*", default=[], metavar="RUN",
                         help="runs of the same recipe on one data set, tested on another")  # fmt: skip

    command = commands.add_parser("report", help="the Results page as one HTML file that needs no network")
    command.set_defaults(run=_report)
    command.add_argument("--out", type=expand_user_path, required=True, help="folder for report.html")
    command.add_argument("--own", nargs="*", default=[], metavar="NAME",
                         help="runs below runs/, or their external tests as 'RUN on TEST', to show next to them")  # fmt: skip

    command = commands.add_parser("figures", help="every figure of the bundled models as one Markdown file")
    command.set_defaults(run=_figures)
    command.add_argument("--out", type=expand_user_path, required=True, metavar="FILE")

    command = commands.add_parser("heatmaps", help="measure the heatmaps of a whole set of images with known lesions")
    command.set_defaults(run=_heatmaps)
    command.add_argument("--data", action="append", default=[], metavar="SOURCE=DIR", type=_source,
                         help="default: the data folders recorded in the runs")  # fmt: skip
    command.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME|RUN",
                         help="bundled models, and runs (validation images only); default: all bundled")  # fmt: skip
    command.add_argument("--methods", nargs="+", metavar="METHOD", help="default: the seven fast ones")
    command.add_argument("--examined", type=int, default=25, metavar="N",
                         help="images of each model and source for insertion, deletion and ROAD, which take seconds per map")  # fmt: skip
    command.add_argument(
        "--out", type=expand_user_path, required=True, help="folder for maps.csv and report; a study there is continued"
    )
    command.add_argument("--publish", action="store_true", help="show the figures, without images, on the Results page")

    command = commands.add_parser("audit", help="check a data set before training on it")
    command.set_defaults(run=_audit)
    command.add_argument("--data", required=True, action="append", metavar="SOURCE=DIR", type=_source)

    command = commands.add_parser("fetch", help="download a data set from its official source")
    command.set_defaults(run=_fetch)
    command.add_argument("name", choices=list(PUBLIC_DATASETS))
    command.add_argument("--out", type=expand_user_path, default=Path("data"), help="default data")
    command.add_argument("--url", help="another address of the same archive")

    command = commands.add_parser("bench", help="images per second, compared with the ceiling and a plain loop")
    command.set_defaults(run=_bench)
    command.add_argument("--preset", choices=list(PRESETS), default="paper")
    command.add_argument("--rounds", type=int, default=5)
    _add_settings(command)

    command = commands.add_parser(
        "phantoms", help="draw the synthetic sample scans, or a data set of phantoms for a dry run"
    )
    command.set_defaults(run=_phantoms)
    command.add_argument("folder", type=expand_user_path)
    command.add_argument("--count", type=int, help="draw a data set with this many phantoms of each class instead")
    command.add_argument("--seed", type=int, default=0)
    return parser


def _add_settings(command: argparse.ArgumentParser) -> None:
    """An option for each setting; one that is not given comes from the preset."""
    for setting in fields(TrainConfig):
        name, meaning = "--" + setting.name.replace("_", "-"), setting.metadata["meaning"].replace("%", "%%")
        if setting.name == "data":
            command.add_argument(name, action="append", metavar="SOURCE=DIR", type=_source, help=meaning)
        elif kind_of(setting.name) is bool:
            command.add_argument(name, action=argparse.BooleanOptionalAction, default=None, help=meaning)
        else:
            kind = with_home if setting.name == "init" else kind_of(setting.name)
            command.add_argument(name, type=kind, help=f"{meaning}; the paper preset has {setting.default}")


def _config(options: argparse.Namespace) -> TrainConfig:
    given = {f.name: getattr(options, f.name) for f in fields(TrainConfig)}
    return preset(options.preset, **{name: value for name, value in given.items() if value is not None})


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
        event = start(_config(options), options.out, split=options.split_file, say=_say)
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
    config = _config(options)
    t = throughput(config, rounds=options.rounds)
    print(f"{config.model} on {t.device}, batch {config.batch_size}, {config.precision}")
    print(
        f"engine {t.engine:.1f} images/s, {t.engine / t.ceiling:.2f} of the ceiling, {t.engine / t.plain:.1f} x the plain loop"
    )
    print(f"ceiling {t.ceiling:.1f} images/s, plain loop {t.plain:.1f} images/s")


def _source(text: str) -> tuple[str, str]:
    name, separator, place = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(
            f"{text!r} has no source in front; write busbra=DIR, busi=DIR, breast=DIR or folder=DIR"
        )
    path = expand_user_path(place)
    if path.is_symlink() and not path.exists():
        raise argparse.ArgumentTypeError(f"{place} is a broken link")
    return name, str(path)


def _matching(texts: Sequence[str]) -> list[Path]:
    return [Path(place) for text in texts for place in expand_pattern(text)]


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
