"""Runs that the queue knows and a person begins by hand."""

from dataclasses import replace

import pytest
from conftest import SMALL

from rcdnet.errors import ConfigError
from train.config import TrainConfig
from train.fit.events import Finished, read_events
from train.runs import start_and_resume as by_hand
from train.runs import worker
from train.runs.run_state import State, state_of


def test_a_waiting_run_that_is_begun_by_hand_waits_no_more(busi, tmp_path):
    """The queue took the finished run up again, and a failure stood at its end for good."""
    run = tmp_path / "mine"
    run.mkdir()
    config = TrainConfig(**SMALL, epochs=1, data=(("busi", str(busi)),))
    (run / "config.json").write_text(config.to_json())
    for name in ("queued", "stop"):  # a wish to stop that a kill left behind
        (run / name).touch()
    with pytest.raises(ConfigError, match="already holds a run"):
        by_hand.start(replace(config, seed=1), run)
    assert isinstance(by_hand.resume(run, say=lambda text: None), Finished)
    assert not {"queued", "starting", "stop"} & {path.name for path in run.iterdir()}
    worker._tell(run, len(read_events(run / "events.jsonl")), 0)  # as if it had been taken from the queue all the same
    assert state_of(run) is State.FINISHED
