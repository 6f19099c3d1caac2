"""The command line of `python -m train`: its commands, their options, and what they mean."""

import argparse
from dataclasses import fields
from pathlib import Path

from rcdnet.models.checkpoint import WEIGHTS_FOLDER
from rcdnet.models.registry import MODELS
from rcdnet.path_arguments import expand_user_path, with_home
from train.config import TrainConfig, kind_of
from train.data.public_datasets import PUBLIC_DATASETS
from train.presets import PRESETS, preset


def argument_parser() -> argparse.ArgumentParser:
    """What `python -m train` takes."""
    parser = argparse.ArgumentParser(prog="python -m train", description="Train and evaluate the six models.")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("fit", help="train one model, or resume a run")
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
    command.add_argument(
        "weights", type=with_home, help="folder of a run, the name of a bundled model, or a weight file with its card"
    )
    command.add_argument("--data", action="append", default=[], metavar="SOURCE=DIR", type=_source,
                         help="an external test set, instead of the run's validation images")  # fmt: skip
    command.add_argument("--out", type=expand_user_path, help="folder for the figures of an external test")

    command = commands.add_parser("compare", help="figures of runs side by side, and DeLong's test between them")
    command.add_argument("folders", nargs="*", metavar="RUN", help="default: all that came with the app")

    command = commands.add_parser("ship", help="put a run's weights, with their card, where the app looks for them")
    command.add_argument("weights", type=expand_user_path, metavar="RUN")
    command.add_argument("--folds", nargs="*", default=[], metavar="RUN",
                         help="runs of the same recipe on other folds of the data, to measure how good it is; runs from another seed show "
                         "how far that depends on the seed")  # fmt: skip
    command.add_argument("--cross-site", nargs="*", default=[], metavar="RUN",
                         help="runs of the same recipe on one data set, tested on another")  # fmt: skip

    command = commands.add_parser("report", help="the Results page as one HTML file that needs no network")
    command.add_argument("--out", type=expand_user_path, required=True, help="folder for report.html")
    command.add_argument("--own", nargs="*", default=[], metavar="NAME",
                         help="runs below runs/, or their external tests as 'RUN on TEST', to show next to them")  # fmt: skip

    command = commands.add_parser("figures", help="every figure of the bundled models as one Markdown file")
    command.add_argument("--out", type=expand_user_path, required=True, metavar="FILE")

    command = commands.add_parser("heatmaps", help="measure the heatmaps of a whole set of images with known lesions")
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

    command = commands.add_parser(
        "steadiness", help="how often a call changes when a scan is mirrored, cropped, framed or compressed"
    )
    command.add_argument("--data", action="append", default=[], metavar="SOURCE=DIR", type=_source,
                         help="default: the data folders recorded in the runs")  # fmt: skip
    command.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME|RUN",
                         help="bundled models, and runs (validation images only); default: all bundled")  # fmt: skip
    command.add_argument(
        "--out", type=expand_user_path, required=True, help="folder for steadiness.csv; a study there is continued"
    )

    command = commands.add_parser(
        "input-check", help="teach the app to know what is no breast B-mode scan, from scans and drawn pictures"
    )
    command.add_argument(
        "--data", required=True, action="append", metavar="SOURCE=DIR", type=_source, help="two or more"
    )
    command.add_argument("--out", type=expand_user_path, default=WEIGHTS_FOLDER, help="default: where the app reads it")

    command = commands.add_parser(
        "lesion-presence",
        help="teach the app's models to say whether a scan shows a lesion, from scans with and without one",
    )
    command.add_argument("--data", required=True, action="append", metavar="SOURCE=DIR", type=_source)
    command.add_argument("--out", type=expand_user_path, default=WEIGHTS_FOLDER, help="default: where the app reads it")

    command = commands.add_parser(
        "adapt", help="how a bundled model fares on labelled scans of your own, and an operating point for them"
    )
    command.add_argument("--data", required=True, metavar="SOURCE=DIR", type=_source)
    command.add_argument("--models", nargs="+", choices=list(MODELS), default=["rcdnet"], help="default: rcdnet")
    command.add_argument("--name", help="of your hospital; default: the name of the data")
    command.add_argument("--save", action="store_true", help="keep the operating point, and offer it on Analyse")

    command = commands.add_parser("audit", help="check a data set before training on it")
    command.add_argument("--data", required=True, action="append", metavar="SOURCE=DIR", type=_source)

    command = commands.add_parser("fetch", help="download a data set from its official source")
    command.add_argument("name", choices=list(PUBLIC_DATASETS))
    command.add_argument("--out", type=expand_user_path, default=Path("data"), help="default data")
    command.add_argument("--url", help="another address of the same archive")

    command = commands.add_parser("bench", help="images per second, compared with the ceiling and a plain loop")
    command.add_argument("--preset", choices=list(PRESETS), default="paper")
    command.add_argument("--rounds", type=int, default=5)
    _add_settings(command)

    command = commands.add_parser(
        "phantoms", help="draw the synthetic sample scans, or a data set of phantoms for a dry run"
    )
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


def config_of(options: argparse.Namespace) -> TrainConfig:
    """The settings that were given, the others from the preset."""
    given = {f.name: getattr(options, f.name) for f in fields(TrainConfig)}
    return preset(options.preset, **{name: value for name, value in given.items() if value is not None})


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
