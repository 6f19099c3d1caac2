"""The settings of a run: documented, limited, the same for command line and file."""

from dataclasses import fields

import pytest

from rcdnet.errors import ConfigError
from train.arguments import argument_parser, config_of
from train.config import TrainConfig, kind_of
from train.fit.events import Epoch, Failed, Finished, Started, Stopped, event_of, line_of, read_events
from train.presets import PRESETS, preset

EPOCH = Epoch(
    epoch=1, size=224, loss=0.5, added_loss=0.0, accuracy=0.7, validation_loss=0.6, validation_accuracy=0.6,
    validation_auc=0.7, auc_by_source={"busi": 0.7}, roc=((0.0, 1.0), (0.0, 1.0)), best=True, learning_rate=1e-3, seconds=2.0,
    images_per_second=9.0, gpu_memory_mib=None,
)  # fmt: skip


def test_the_default_is_the_papers_recipe():
    config = TrainConfig()
    assert (config.epochs, config.batch_size, config.optimizer, config.learning_rate) == (30, 32, "adam", 1e-3)
    assert (config.weight_decay, config.start_size, config.split, config.init) == (1e-4, 224, "7:3", "imagenet")
    assert config.mixup > 0
    assert config.label_smoothing > 0
    assert config.mask_weight == config.ema == 0
    assert PRESETS["paper"] == {}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_and_every_setting_is_explained(name):
    config = preset(name, data=(("busi", "DIR"),))
    assert set(PRESETS[name]) <= {f.name for f in fields(config)}
    for f in fields(config):
        assert len(f.metadata["meaning"]) > 10
        assert f.name == "data" or isinstance(getattr(config, f.name), kind_of(f.name))


def test_all_mistakes_are_reported_together():
    with pytest.raises(ConfigError) as caught:
        TrainConfig(
            model="rcdnt", data=(("ddsm", "x"),), init="nowhere", epochs=0, batch_size=7, mixup=-1, split="8:2",
            warmup_epochs=3, fold=6, learning_rate=2.0,
        )  # fmt: skip
    message = str(caught.value)
    for part in (
        "Did you mean rcdnet", "'ddsm'", "init is 'nowhere'", "epochs is 0; expected 1 to 5000", "batch_size is 7", "mixup is -1",
        "split is '8:2'", "warmup_epochs is 3", "learning_rate is 2.0",
    ):  # fmt: skip
        assert part in message
    with pytest.raises(ConfigError) as caught:
        TrainConfig(
            epochs=3.5,
            batch_size=True,
            compile="false",
            seed="1",
            learning_rate=1,
            data="busi",
            model=None,
            gamma=float("nan"),
        )
    for part in (
        "epochs is 3.5; expected a whole number", "batch_size is True", "compile is 'false'; expected true or false", "seed is '1'",
        "data is 'busi'; expected pairs", "model is None; expected a word",
    ):  # fmt: skip
        assert part in str(caught.value)
    with pytest.raises(ConfigError, match="gamma is nan; expected 1 to 3"):
        TrainConfig(gamma=float("nan"))
    with pytest.raises(ConfigError, match="There is no preset 'best'"):
        preset("best")


def test_settings_come_back_from_their_file(tmp_path):
    config = preset("scratch", data=(("busi", "a"), ("folder", "b"), ("folder", "c")), seed=3)
    (tmp_path / "config.json").write_text(config.to_json())
    assert TrainConfig.read(tmp_path / "config.json") == config
    with pytest.raises(ConfigError, match="holds no settings"):
        TrainConfig.read(tmp_path / "missing.json")


def test_the_command_line_builds_the_same_settings():
    options = argument_parser().parse_args(
        [
            "fit",
            "--preset",
            "scratch",
            "--data",
            "busi=a",
            "--data",
            "folder=b",
            "--epochs",
            "20",
            "--compile",
            "--out",
            "x",
        ]
    )
    assert config_of(options) == preset("scratch", data=(("busi", "a"), ("folder", "b")), epochs=20, compile=True)


def test_sizes_rise_in_steps_of_32():
    config = TrainConfig("rcdnet", epochs=8, start_size=128, end_size=192)
    assert [config.size_at(e) for e in range(8)] == [128, 128, 128, 160, 160, 160, 192, 192]
    short = TrainConfig("rcdnet", epochs=2, start_size=64)
    assert [short.size_at(e) for e in range(2)] == [64, 160]
    with pytest.raises(ConfigError, match="at least start_size, 128"):
        TrainConfig("rcdnet", start_size=128, end_size=96)
    assert TrainConfig("rcdnet", epochs=3).size_at(0) == 224


def test_a_small_set_is_passed_more_often():
    config = TrainConfig(epochs=10, batch_size=10, min_steps=100)
    assert [config.passes(images) for images in (1000, 100, 99, 20, 3)] == [1, 1, 2, 5, 10]
    assert TrainConfig().passes(1) == 1


def test_events_come_back_and_a_half_written_line_is_left_for_later(tmp_path):
    events = [
        Started(1.0, "rcdnet", "CPU", 1, 0, 3, 10, 4, 2, ("a",)), EPOCH, Stopped(2.0, 1), Failed(3.0, "data", "Say so."),
        Finished(4.0, 1, 0.7),
    ]  # fmt: skip
    path = tmp_path / "events.jsonl"
    assert read_events(path) == []
    path.write_text("".join(map(line_of, events)) + line_of(EPOCH)[:40])
    assert read_events(path) == events
    assert event_of(line_of(EPOCH).replace('"size"', '"from a later version": 1, "size"')) == EPOCH
    assert event_of(line_of(events[0]).replace(', "untaught": []', "")) == events[0]  # from an earlier one
