"""The form of the Train page: what it offers and refuses, where its data may lie, and who may press its buttons."""

import pytest
from conftest import SMALL, copied

from pages.shared.markdown_escape import escape_markdown
from rcdnet.errors import ConfigError, DatasetError
from train.config import TrainConfig
from train.data.audit import summaries
from train.runs import jobs, run_results
from train.runs.access_control import denial_reason
from train.runs.data_locations import PHANTOMS, DatasetLocation, find_datasets, load_samples, phantoms, resolve_datasets
from train.runs.devices import read_devices
from train.runs.pace import estimate
from train.runs.training_form import KEY, draft, preset_values, start_values, suggested_name


def test_places_are_found_by_their_layout_and_never_outside(tmp_path, busi, busbra):
    root = tmp_path / "data"
    (root / "clinic").mkdir(parents=True)
    copied(busi, root / "sets" / "busi")
    copied(busbra, root / "BUSBRA")
    outside = copied(busi, tmp_path / "outside")
    (root / "link").symlink_to(outside)
    (root / "clinic" / "table.csv").write_text(f"path,label\n{outside}/benign/benign (1).png,benign\n")
    (root / "locked").mkdir(mode=0)  # as lost+found is
    (root / "folder.csv").mkdir()
    found = find_datasets(root)
    assert [(p.source, p.path) for p in found] == [
        ("busbra", "BUSBRA"), ("folder", "clinic/table.csv"), ("busi", "sets/busi"),
    ]  # fmt: skip
    for path in ("../outside", str(outside), "link", "sets/../../outside"):
        with pytest.raises(ConfigError, match="outside the data folder"):
            resolve_datasets([DatasetLocation("busi", path)], root)
    with pytest.raises(DatasetError, match="no longer exists"):
        resolve_datasets([DatasetLocation("busi", "sets/none")], root)
    with pytest.raises(ConfigError, match="points outside the data folder"):
        load_samples(resolve_datasets([found[1]], root), root)
    inside = root / "sets" / "busi" / "benign" / "benign (2).png"
    inside.unlink()
    inside.symlink_to(outside / "benign" / "benign (2).png")
    with pytest.raises(ConfigError, match="points outside"):
        load_samples(resolve_datasets([found[2]], root), root)
    assert find_datasets(tmp_path / "nowhere") == []


def test_a_form_says_all_its_mistakes_each_by_its_field(tmp_path, busi):
    root = tmp_path / "data"
    copied(busi, root / "busi")
    runs = tmp_path / "runs"
    values = preset_values("paper") | {"init": "random", "batch_size": 8}
    wrong = draft([], values | {"batch_size": 7, "warmup_epochs": 90}, [], "a/b", runs, root)
    assert set(wrong.mistakes) == {"model", "data", "batch_size", "warmup_epochs", "name"}
    assert wrong.configs == {}
    assert "expected an even number" in wrong.mistakes["batch_size"]
    right = draft(["rcdnet", "vit"], values, ["busi (BUSI)"], "pair", runs, root)
    assert list(right.configs) == ["pair-rcdnet", "pair-vit"]
    assert right.configs["pair-vit"] == TrainConfig(model="vit", data=(("busi", str(root / "busi")),), **values)
    # BUSI's rules leave two out by name
    assert (right.images, right.split) == (
        15,
        "Split 7:3: three tenths validate, or a third where a class has few patients or groups; 15 images train and 7 validate, "
        "before the search for near-copies.",
    )
    assert right.found[0].startswith("busi: 11 benign and 11 malignant images, patients unknown, 22 with lesion masks.")
    assert right.found == summaries(load_samples(resolve_datasets([DatasetLocation("busi", "busi")], root), root))
    official = draft(["vit"], values | {"split": "official"}, ["busi (BUSI)"], "one", runs, root)
    assert official.mistakes == {
        "split": "None of these data sets has official folds. Choose 7:3 or k-fold, or add BUS-BRA."
    }
    jobs.folder_of("pair-vit", runs).mkdir(parents=True)
    assert "name" in draft(["rcdnet", "vit"], values, ["busi (BUSI)"], "pair", runs, root).mistakes
    dry = draft(["vit"], values, [PHANTOMS], "dry", runs, root)
    assert dry.mistakes == {}
    assert dry.configs["dry"].data == phantoms(runs)
    assert len(load_samples(phantoms(runs), runs)) == 80
    assert suggested_name(["vit"], runs) == "vit-1"


def test_a_form_keeps_what_was_typed_and_says_what_it_had_to_change():
    starts, devices = {"random": "random"}, {"cuda:0": "GPU 0", "cpu": "CPU"}
    filled, gone = start_values({}, starts, devices, ["phantoms"])
    assert (filled["epochs"], filled["device"], gone) == (preset_values("scratch")["epochs"], "cuda:0", "")
    cloned = {
        f"{KEY}init": "run deleted",
        f"{KEY}device": "cpu",
        f"{KEY}data": ["gone", "phantoms"],
        f"{KEY}epochs": 12,
    }
    filled, gone = start_values(cloned, starts, devices, ["phantoms"])
    assert filled == {"data": ["phantoms"], "init": "random"}  # the other settings stay as they were
    assert "Random weights are chosen instead" in gone


def test_the_epoch_slider_follows_the_run_until_it_is_moved():
    state = {}
    for epochs, moved, expected in (
        ([1, 2], None, 2),
        ([1, 2, 3], None, 3),
        ([1, 2, 3], 1, 1),
        ([1, 2, 3, 4], None, 1),
    ):
        state |= {} if moved is None else {run_results.EPOCH: moved}
        state |= run_results.epoch_values(state, "one", epochs)
        assert state[run_results.EPOCH] == expected
    assert run_results.epoch_values(state, "other", [1, 2, 3, 4, 5])[run_results.EPOCH] == 5
    assert run_results.epoch_values(state, "one", [1]) == {}


def test_words_from_a_file_stay_words():
    """In Markdown, an image would make the browser ask another host."""
    assert escape_markdown("![x](http://y) :red[a] $b$ <i>") == r"\!\[x\]\(http\:\/\/y\) \:red\[a\] \$b\$ \<i\>"


def test_an_estimate_is_measured_and_a_failure_said(busi):
    config = TrainConfig(**SMALL, epochs=2, data=(("busi", str(busi)),))
    assert estimate({"a": config}, 16, "cpu").startswith("a: about ")
    object.__setattr__(config, "batch_size", 5)  # no configuration that can be made fails on every machine
    assert "A few steps were tried and failed: " in estimate({"a": config}, 16, "cpu")


@pytest.mark.parametrize(
    ("signed_in", "address", "message"),
    [
        (None, "127.0.0.1", ""),
        (None, "0.0.0.0", "without signing in, so nobody may train here"),
        (None, None, "without signing in, so nobody may train here"),
        ({"is_logged_in": False}, "0.0.0.0", "Sign in to train"),
        ({"is_logged_in": True, "email": "a@b.example", "email_verified": True}, "0.0.0.0", ""),
        ({"is_logged_in": True, "email": "A@B.example", "email_verified": "true"}, "127.0.0.1", ""),
        ({"is_logged_in": True, "email": "x@b.example", "email_verified": True}, "127.0.0.1", "not on the list"),
        ({"is_logged_in": True, "email_verified": True}, "127.0.0.1", "not on the list"),
        ({"is_logged_in": True, "email": "a@b.example"}, "127.0.0.1", "does not say"),
        ({"is_logged_in": True, "email": "a@b.example", "email_verified": False}, "127.0.0.1", "does not say"),
        ({"is_logged_in": True, "email": "a@b.example", "email_verified": "false"}, "127.0.0.1", "does not say"),
    ],
)
def test_who_may_train(signed_in, address, message):
    reason = denial_reason(signed_in, {"allowed": ["a@b.example"]}, address)
    assert message in reason
    assert bool(message) == bool(reason)


def test_an_address_that_nobody_verified_counts_only_if_the_server_says_so():
    person = {"is_logged_in": True, "email": "a@b.example"}
    assert denial_reason(person, {"allowed": ["a@b.example"], "unverified": True}, "127.0.0.1") == ""
    assert "not on the list" in denial_reason(person | {"email": "c@d.example"}, {"unverified": True}, "127.0.0.1")


def test_gpus_are_read_from_what_the_driver_says():
    assert read_devices("0, NVIDIA A100, 1024, 2048\n1, [N/A], [N/A], [N/A]\nno GPU") == {
        "cuda:0": "GPU 0, NVIDIA A100, 1.0 of 2.0 GiB free"
    }
