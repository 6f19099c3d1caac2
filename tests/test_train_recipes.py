"""A recipe takes the split that the data allow, on the page and on the command line, and says which."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, TINY, command, copied, write_busbra

from rcdnet.errors import DatasetError
from train.config import TrainConfig
from train.data.dataset_readers import read_sources
from train.data.load_images import decode
from train.data.phantoms import write_dataset
from train.data.splits import Split, make_split, resolve_auto_split
from train.presets import PRESETS, preset
from train.runs.data_locations import PHANTOMS, phantoms
from train.runs.training_form import cloned_values, draft, preset_values

CARE = ("scratch", "finetune")  # recipes that leave the split to the data


def divided(data: list[tuple[str, Path]], **settings) -> tuple[TrainConfig, Split]:
    """As a run divides these data sets, with near-copies looked for."""
    pairs = tuple((source, str(place)) for source, place in data)
    decoded = decode(read_sources(pairs), 64)
    config = preset("finetune", data=pairs, **settings)
    split = make_split(config, decoded.samples, decoded.fingerprints)
    return replace(config, split=resolve_auto_split(config, split)), split


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """A folder of somebody's own: benign/ and malignant/, 25 scans each."""
    place = tmp_path_factory.mktemp("own") / "clinic"
    write_dataset(place, 25, seed=4)
    (place / "phantoms.csv").unlink()
    return place


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder of runs, whose phantoms are drawn once."""
    return tmp_path_factory.mktemp("recipes") / "runs"


@pytest.mark.parametrize("recipe", PRESETS)
@pytest.mark.parametrize("chosen", [[PHANTOMS], ["clinic (labelled images)"], ["BUSBRA (BUS-BRA)"]])
def test_every_recipe_starts_on_every_kind_of_data(tmp_path, runs, own, busbra, recipe, chosen):
    """Two of three left Start grey on phantoms and on any folder of one's own."""
    root = tmp_path / "data"
    for name, source in (("clinic", own), ("BUSBRA", busbra)):
        copied(source, root / name)
    for path in [p for p in (root / "clinic").rglob("* (*") if p.is_file()]:  # else their names are BUSI's
        path.rename(path.with_name(path.name.replace(" (", "-").replace(")", "")))
    made = draft(["rcdnet"], preset_values(recipe) | {"fold": 3, "batch_size": 8}, chosen, "one", runs, root)
    assert made.mistakes == {}
    assert made.configs["one"].split == PRESETS[recipe].get("split", "7:3")
    split = "7:3" if recipe == "paper" else "official" if "BUSBRA" in chosen[0] else "k-fold"
    assert made.split.startswith(f"Split {split}: ")
    assert made.images > 0


def test_folds_that_a_set_has_are_taken_else_parts_are_made(own, busbra):
    config, split = divided([("busbra", busbra)], fold=3)
    assert config.split == "official"
    assert split.rule.startswith("official fold 3 validates")
    config, split = divided([("folder", own)])
    assert (config.split, config.folds) == ("k-fold", 5)
    assert split.rule.startswith("part 1 of 5 validates")
    assert 8 <= len(split.validation) <= 12


def test_a_set_too_small_to_divide_beside_one_with_folds_does_not_stop_it(tmp_path, busbra):
    write_dataset(tmp_path / "few", 3, seed=5)
    config, _ = divided([("busbra", busbra), ("folder", tmp_path / "few")])
    assert config.split == "k-fold"


def test_few_images_of_a_class_take_three_tenths(tmp_path):
    for count in (3, 9):
        write_dataset(tmp_path / f"clinic{count}", count, seed=6)
        config, split = divided([("folder", tmp_path / f"clinic{count}")])
        assert config.split == "7:3"
        assert {i.split("/")[1] for i in split.validation} == {"benign", "malignant"}
    # Whoever names a fold is told, and does not get the same images for each.
    with pytest.raises(DatasetError, match="A class has 3 patients or groups of near-copies; at least 5 are needed"):
        divided([("folder", tmp_path / "clinic3")], fold=2)
    write_dataset(tmp_path / "clinic2", 2, seed=6)
    with pytest.raises(DatasetError, match="A class has 2 patients"):
        divided([("folder", tmp_path / "clinic2")])


def test_patients_count_and_not_their_images(tmp_path):
    """Twenty images of four patients make no ten parts."""
    write_dataset(tmp_path / "clinic", 20, seed=7)
    rows = (tmp_path / "clinic" / "phantoms.csv").read_text().splitlines()
    table = [f"{rows[0]},patient", *(f"{row},{row.split(',')[1]}{k % 4}" for k, row in enumerate(rows[1:]))]
    (tmp_path / "clinic" / "patients.csv").write_text("\n".join(table))
    config, split = divided([("folder", tmp_path / "clinic" / "patients.csv")])
    assert config.split == "7:3"
    assert len(split.train) + len(split.validation) == 40


def test_what_hinders_is_said_before_the_start(tmp_path):
    """As no fold, too few images, or a class that is not there would end the run at once."""
    root = tmp_path / "data"
    write_dataset(root / "clinic", 2, seed=8)
    (root / "clinic" / "phantoms.csv").unlink()
    for path in [p for p in root.rglob("* (*") if p.is_file()]:
        path.rename(path.with_name(path.name.replace(" (", "-").replace(")", "")))
    few = draft(["rcdnet"], preset_values("scratch"), ["clinic (labelled images)"], "few", tmp_path / "runs", root)
    assert few.configs == {}
    assert list(few.mistakes) == ["split"]
    assert "A class has 2 patients or groups of near-copies" in few.mistakes["split"]
    write_dataset(root / "more", 9, seed=8)
    (root / "more" / "phantoms.csv").unlink()
    made = draft(["rcdnet"], preset_values("scratch"), ["more (BUSI)"], "more", tmp_path / "runs", root)
    assert list(made.mistakes) == ["batch_size"]
    assert "images would train, fewer than one batch of 24" in made.mistakes["batch_size"]
    write_busbra(root / "BUSBRA", 8)
    none = draft(["rcdnet"], preset_values("scratch"), ["BUSBRA (BUS-BRA)"], "none", tmp_path / "runs", root)
    assert none.mistakes == {"split": "No image is in official fold 1. The folds are 3, 4."}


def test_a_clone_keeps_data_model_and_recipe(tmp_path, runs, own):
    root = tmp_path / "data"
    copied(own, root / "clinic")
    for recipe in PRESETS:
        data = (("busi", str(root / "clinic")), *phantoms(runs))
        config = preset(recipe, model="vit", data=data, epochs=17, seed=3)
        values = cloned_values(config, runs, root)
        assert (values["recipe"], values["models"], values["data"]) == (recipe, ["vit"], ["clinic (BUSI)", PHANTOMS])
        assert (values["epochs"], values["seed"]) == (17, 3)


@pytest.mark.parametrize("recipe", CARE)
def test_the_command_line_does_the_same(tmp_path, own, recipe):
    tiny = [*TINY, "--data", f"folder={own}", "--epochs", "1", "--warmup-epochs", "0", "--min-steps", "0"]
    asked = command("--preset", recipe, *tiny, "--out", tmp_path / "run")
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    assert "Split: part 1 of 5 validates" in done.stdout
    assert TrainConfig.read(tmp_path / "run" / "config.json").split == "k-fold"
    assert Split.read(tmp_path / "run" / "split.json").rule.startswith("part 1 of 5")


def test_official_folds_that_were_asked_for_are_not_replaced(own):
    with pytest.raises(DatasetError, match="No source has official folds"):
        divided([("folder", own)], split="official")
