"""python -m rcdnet predict FILE|FOLDER|PATTERN... [--models rcdnet,vit] [--format json|csv] [--heatmaps DIR]
python -m rcdnet bench
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rcdnet.bench import benchmark
from rcdnet.errors import CheckpointError, ImageError, NotAScan, NotTrained, RcdnetError
from rcdnet.exit_codes import os_error_message, run_command
from rcdnet.models.registry import MODELS
from rcdnet.path_arguments import check_writable, expand_pattern, expand_user_path, images_in
from rcdnet.present.overlay import overlay, png
from rcdnet.present.prediction_report import call_row, calls_csv, not_read_row
from rcdnet.present.text import printable
from rcdnet.reading.inference import Classifier, classify, load_classifier, load_trained
from rcdnet.reading.input_check import NOT_READ, check_input
from rcdnet.scans.scan_and_mask import read_bytes, read_scan

NAMED = 10  # of the files in a folder that were passed over


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if everything was answered, 1 if a file or a model was not."""

    def work() -> int:
        options = _parser().parse_args(arguments)
        code: int = options.run(options)
        return code

    return run_command(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rcdnet", description="Read breast ultrasound scans. Research use only, not for diagnosis."
    )
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("predict", help="one answer for each image and model")
    command.set_defaults(run=_predict)
    command.add_argument("scans", nargs="+", metavar="FILE|FOLDER|PATTERN",
                         help="PNG, JPEG, BMP or single-frame TIFF; a folder, without the folders inside it; a pattern such as "
                         "*.png")  # fmt: skip
    command.add_argument("--models", help=f"comma-separated list of {', '.join(MODELS)}; default: all trained models")
    command.add_argument("--format", choices=("json", "csv"), default="json", help="json: one object per line")
    command.add_argument(
        "--heatmaps",
        type=expand_user_path,
        metavar="DIR",
        help="also write <image>.<model>.png, the heatmap of the predicted class over the scan, where a lesion is seen",
    )

    command = commands.add_parser("bench", help="time six models with heatmaps against six bare forward passes")
    command.set_defaults(run=_bench)
    return parser


def _predict(options: argparse.Namespace) -> int:
    if options.heatmaps:
        check_writable(options.heatmaps)
    if options.models is not None:
        classifiers, failed = [load_classifier(name.strip()) for name in options.models.split(",")], False
    else:
        classifiers, reasons = load_trained()
        for reason in reasons.values():
            print(reason, file=sys.stderr)
        if not classifiers:
            raise NotTrained("No model is trained, so no scan can be read. The lines above say what to do.")
        failed = any(isinstance(reason, CheckpointError) for reason in reasons.values())
    rows: list[dict[str, object]] = []
    for row in _rows(_asked(options.scans), classifiers, options.heatmaps):
        failed |= "error" in row or row["verdict"] == NOT_READ
        if options.format == "json":
            print(json.dumps(row, allow_nan=False), flush=True)
        else:
            rows.append(row)
    if options.format == "csv":
        print(calls_csv(rows), end="")
    return 1 if failed else 0


def _asked(texts: Sequence[str]) -> list[tuple[Path, str]]:
    """Each image that was asked for, patterns and folders opened, with the reason where it cannot be one."""
    found = []
    for path in (Path(place) for text in texts for place in expand_pattern(text)):
        try:
            if not path.is_dir():
                found.append((path, ""))
                continue
            images = images_in(path)
        except (ImageError, OSError) as error:
            found.append((path, os_error_message(error) if isinstance(error, OSError) else str(error)))
            continue
        found += [(image, "") for image in images.paths]
        if images.passed_over:
            names = [printable(one.name) for one in images.passed_over[:NAMED]]
            more = f" and {len(images.passed_over) - NAMED} more" if images.passed_over[NAMED:] else ""
            print(f"Skipped in {printable(str(path))}: {', '.join(names)}{more}", file=sys.stderr)
    return found


def _rows(
    asked: Sequence[tuple[Path, str]], classifiers: list[Classifier], heatmaps: Path | None
) -> Iterator[dict[str, object]]:
    if heatmaps:
        heatmaps.mkdir(parents=True, exist_ok=True)
    stems = Counter(path.stem for path, _ in asked)
    for path, reason in asked:
        try:
            if reason:
                raise ImageError(reason)
            scan = read_scan(read_bytes(path))
            scan = check_input(scan)
            predictions = classify(scan.pixels, classifiers)
            if heatmaps:
                # Two files of one name must not overwrite each other's overlays.
                stem = path.stem if stems[path.stem] == 1 else f"{path.stem}-{scan.sha256[:8]}"
                for p in (p for p in predictions if not p.no_lesion):
                    (heatmaps / f"{stem}.{p.model}.png").write_bytes(png(overlay(scan.pixels, p.heat(p.call))))
        except NotAScan as refusal:
            yield from (not_read_row(str(path), scan, classifier, refusal) for classifier in classifiers)
            continue
        except (RcdnetError, OSError) as error:
            yield {"image": str(path), "error": os_error_message(error) if isinstance(error, OSError) else str(error)}
            continue
        yield from (call_row(str(path), scan, prediction) for prediction in predictions)


def _bench(options: argparse.Namespace) -> int:
    result = benchmark()
    print(f"six bare forward passes              {result.bare * 1000:7.1f} ms")
    print(
        f"six calls with both classes' maps    {result.classified * 1000:7.1f} ms  {result.classified / result.bare:.2f} x bare"
    )
    print(
        f"forward, then Grad-CAM over the model {result.usual * 1000:6.1f} ms  this project: {result.classified / result.usual:.2f} of it"
    )
    without = (result.grid - result.heads) / result.bare
    print(
        f"six calls with six methods' maps     {result.grid * 1000:7.1f} ms  of which {result.heads * 1000:.1f} ms are the methods' own "
        f"passes; the rest is {without:.2f} x bare"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
