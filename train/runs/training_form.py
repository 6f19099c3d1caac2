"""The form of the Train page as values: what can be set, what was meant, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from rcdnet.errors import ConfigError, DatasetError, RcdnetError
from train.config import INITS, TrainConfig, kind_of
from train.data.audit import summaries
from train.data.sample import Sample
from train.data.splits import make_split, resolve_auto_split
from train.presets import PRESETS
from train.runs.data_locations import PHANTOMS, find_datasets, load_samples, phantoms, resolve_datasets
from train.runs.jobs import new_folder
from train.runs.run_state import readable_runs_in

ASKED_ELSEWHERE = ("model", "data", "init")
KEY = "keep_train_"  # begins the name under which the page keeps what was filled in
DATA_HELP = (
    "Data sets in the data folder of the server; docs/training.md says where it is. Phantoms are drawn, for a dry run."
)
RECIPE_HELP = (
    "paper: the paper's recipe. scratch and finetune: for a few thousand images, from random weights or from ImageNet weights. Every "
    "value can be changed below."
)
START_HELP = (
    "The ImageNet weights of RcdNet and MobileNetV2 come with the app. Those of the others are downloaded when the run starts. If "
    "that is not possible, the run fails at once and says why."
)
BEST = "best.safetensors"
FIRST_RECIPE = "scratch"  # which needs no weights
# Whatever they are, the recipe is the same
OF_NO_RECIPE = {
    "split",
    "fold",
    "folds",
    "broken",
    "seed",
    "precision",
    "compile",
}


@dataclass(frozen=True)
class Field:
    """A setting as a form asks for it. choices: empty where any value between low and high will do."""

    name: str
    kind: type
    meaning: str
    choices: tuple[str, ...]
    low: float | None
    high: float | None

    @property
    def given(self) -> dict[str, Any]:
        """Arguments of its widget: a choice, a switch or a number between limits."""
        given: dict[str, Any] = {"label": self.name.replace("_", " "), "key": f"{KEY}{self.name}", "help": self.meaning}
        if self.choices:
            return given | {"options": self.choices}
        if self.low is None or self.high is None:
            return given
        step = {"step": 1} if self.kind is int else {"step": 0.0001, "format": "%g"}
        return given | {"min_value": self.kind(self.low), "max_value": self.kind(self.high)} | step


FIELDS = tuple(
    Field(
        name=f.name,
        kind=kind_of(f.name),
        meaning=f.metadata["meaning"],
        choices=f.metadata.get("choices", ()),
        low=f.metadata.get("low"),
        high=f.metadata.get("high"),
    )
    for f in fields(TrainConfig)
    if f.name not in ASKED_ELSEWHERE
)


def preset_values(name: str) -> dict[str, Any]:
    """Every setting of a preset that the form asks for, and `init`."""
    return shown_values(TrainConfig(**PRESETS[name]), Path())


def differing(values: Mapping[str, Any], recipe: str) -> list[str]:
    """The settings that are not as a recipe has them.

    >>> differing(preset_values("paper") | {"epochs": 3, "seed": 5}, "paper")
    ['epochs']
    """
    return [name for name, value in preset_values(recipe).items() if name not in OF_NO_RECIPE and values[name] != value]


def cloned_values(config: TrainConfig, runs: Path, root: Path) -> dict[str, Any]:
    """A run as the form shows it: its settings, recipe, model and data, as far as those can still be chosen."""
    values = shown_values(config, runs)
    there = {pair: place.title for place in find_datasets(root) for pair in resolve_datasets([place], root)}
    if any(Path(place).stem == PHANTOMS for _, place in config.data):
        there |= dict.fromkeys(phantoms(runs), PHANTOMS)
    data = [there[pair] for pair in config.data if pair in there]
    recipe = min(PRESETS, key=lambda name: len(differing(values, name)))
    return values | {"recipe": recipe, "models": [config.model], "data": data}


def shown_values(config: TrainConfig, runs: Path) -> dict[str, Any]:
    """The settings of a run as the form shows them; the weights of an earlier run by its name."""
    values = {f.name: getattr(config, f.name) for f in FIELDS}
    return values | {"init": next((k for k, v in starts(runs).items() if v == config.init), config.init)}


def start_values(
    state: Mapping[str, Any], starts: Mapping[str, str], devices: Mapping[str, str], titles: Sequence[str]
) -> tuple[dict[str, Any], str]:
    """What to fill in of a form that is new, or whose data, device or weights are gone; and a sentence for the last."""
    filled: dict[str, Any] = {"data": [title for title in state.get(f"{KEY}data", []) if title in titles]}
    if state.get(f"{KEY}device") not in devices:
        filled["device"] = next(iter(devices))
    if f"{KEY}init" not in state:
        return filled | {"recipe": FIRST_RECIPE} | preset_values(FIRST_RECIPE), ""
    if state[f"{KEY}init"] in starts:
        return filled, ""
    gone = "The weights to start from no longer exist. Random weights are chosen instead."
    return filled | {"init": "random"}, gone


def starts(runs: Path) -> dict[str, str]:
    """What a run can start from, as the form calls it, with the value of `init`."""
    earlier = {
        f"run {run.name}": str((run / BEST).resolve()) for run in readable_runs_in(runs) if (run / BEST).is_file()
    }
    return {name: name for name in INITS} | earlier


@dataclass(frozen=True)
class Draft:
    """What a filled-in form comes to. configs: the runs by name, none while anything is wrong. mistakes: a sentence by field.

    found: a paragraph for each data set. images: how many will train, and split: who validates, both before near-copies are found.
    """

    configs: dict[str, TrainConfig]
    mistakes: dict[str, str]
    found: tuple[str, ...]
    images: int
    split: str


def draft(
    models: Sequence[str], values: Mapping[str, Any], chosen: Sequence[str], name: str, runs: Path, root: Path
) -> Draft:
    """Read a form. Several models make several runs, one after the other.

    Args:
        values: the settings of `FIELDS`, and `init`. chosen: titles of data sets below `root`, or `PHANTOMS`.
    """
    mistakes: dict[str, str] = {} if models else {"model": "No model is chosen. Choose one or more."}
    data: tuple[tuple[str, str], ...] = ()
    found: tuple[str, ...] = ()
    samples: list[Sample] = []
    passed_over: list[str] = []
    try:
        below = {place.title: place for place in find_datasets(root)}
        parts = [(resolve_datasets([below[title] for title in chosen if title in below], root), root)]
        parts += [(phantoms(runs), runs)] if PHANTOMS in chosen else []
        for part, home in parts:
            data += part
            samples += load_samples(part, home, say=passed_over.append) if part else []
        found = (*summaries(samples), *(f"{sentence}." for sentence in passed_over))
        if not data:
            mistakes["data"] = "No data is chosen. Choose a data set, or phantoms for a dry run."
    except RcdnetError as error:
        mistakes["data"] = str(error)
    configs: dict[str, TrainConfig] = {}
    for model in models or ["rcdnet"]:
        run = name if len(models) < 2 else f"{name}-{model}"
        try:
            new_folder(run, runs)
        except ConfigError as error:
            mistakes["name"] = str(error)
        try:
            configs[run] = TrainConfig(model=model, data=data, **values)
        except ConfigError as error:
            mistakes |= error.mistakes
    images, split_rule = 0, ""
    if samples and values["split"] == "official" and not any(sample.fold for sample in samples):
        mistakes["split"] = "None of these data sets has official folds. Choose 7:3 or k-fold, or add BUS-BRA."
    elif samples and configs:
        try:
            images, split_rule = _split_of(next(iter(configs.values())), tuple(samples))
        except (DatasetError, ConfigError) as error:
            mistakes.setdefault("split", str(error))
        if 0 < images < values["batch_size"]:
            mistakes.setdefault(
                "batch_size",
                f"Only {images} images would train, fewer than one batch of {values['batch_size']}. Add images, or choose a smaller batch "
                "size under All settings.",
            )
    return Draft({} if mistakes else configs, mistakes, found, images, split_rule)


@lru_cache(maxsize=4)
def _split_of(config: TrainConfig, samples: tuple[Sample, ...]) -> tuple[int, str]:
    """How many images train, and a sentence on who validates, as far as that is known before they are read."""
    split = make_split(config, samples, None)
    rule = split.rule.partition(";")[0]
    counts = f"{len(split.train)} images train and {len(split.validation)} validate"
    return len(
        split.train
    ), f"Split {resolve_auto_split(config, split)}: {rule}; {counts}, before the search for near-copies."


def data_titles(root: Path) -> list[str]:
    """What can be chosen as data."""
    return [*(place.title for place in find_datasets(root)), PHANTOMS]


def suggested_name(models: Sequence[str], runs: Path) -> str:
    """A name that no run has yet.

    >>> suggested_name(["rcdnet"], Path("/nowhere"))
    'rcdnet-1'
    """
    start, number = models[0] if len(models) == 1 else "run", 1
    while any(runs.glob(f"{start}-{number}*")):
        number += 1
    return f"{start}-{number}"
