"""python -m train fit --model rcdnet --data busbra=DIR --data busi=DIR --out runs/rcdnet
python -m train evaluate runs/rcdnet --ship
python -m train phantoms assets/samples
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from rcdnet.errors import RcdnetError
from rcdnet.registry import MODELS
from train.config import TrainConfig
from train.evaluation import evaluate
from train.loop import EpochEnd, fit
from train.phantoms import write_samples


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except RcdnetError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train", description="Train and evaluate the six models.")
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("fit", help="train one model from nothing; a run cut short goes on")
    command.set_defaults(run=_fit)
    command.add_argument("--model", required=True, choices=list(MODELS))
    command.add_argument("--data", required=True, action="append", metavar="busbra=DIR", type=_source)
    command.add_argument("--out", required=True, type=Path, help="folder of the run")
    for setting in fields(TrainConfig):
        if setting.type in (int, float):
            name = "--" + setting.name.replace("_", "-")
            command.add_argument(name, type=setting.type, default=setting.default, help=f"default {setting.default}")

    command = commands.add_parser("evaluate", help="score a finished run on the images it was not trained on")
    command.set_defaults(run=_evaluate)
    command.add_argument("folder", type=Path, help="folder of the run")
    command.add_argument("--ship", action="store_true", help="also put weights and card where the app looks for them")

    command = commands.add_parser("phantoms", help="draw the synthetic sample scans")
    command.set_defaults(run=lambda options: write_samples(options.folder))
    command.add_argument("folder", type=Path)
    return parser


def _fit(options: argparse.Namespace) -> None:
    settings = {f.name: getattr(options, f.name) for f in fields(TrainConfig) if f.name != "data"}
    fit(TrainConfig(**settings, data=dict(options.data)), options.out, report=_print_epoch)


def _evaluate(options: argparse.Namespace) -> None:
    card = evaluate(options.folder, ship=options.ship)
    for f in card.validation:
        print(
            f"{card.model}  {f.data} ({f.images} images, {f.malignant} malignant; {f.role}): "
            f"AUC {f.auc:.3f} [{f.auc_interval[0]:.3f}, {f.auc_interval[1]:.3f}], by group {f.auc_by_group:.3f}; "
            f"at {card.threshold:.3f} sensitivity {f.sensitivity:.3f}, specificity {f.specificity:.3f}"
        )


def _source(text: str) -> tuple[str, str]:
    name, separator, folder = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} names no source; write busbra=DIR or busi=DIR")
    return name, folder


def _print_epoch(event: EpochEnd) -> None:
    aucs = "  ".join(f"AUC {source} {auc:.3f}" for source, auc in event.validation_auc.items())
    print(
        f"epoch {event.epoch:3d}  {event.size} px  loss {event.loss:.3f}  lesion {event.lesion_loss:.3f}  "
        f"{event.seconds:.0f} s  {aucs}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
