"""How torch's threads share the processors of a machine: decided here, for every process of this project.

They read the environment once, when torch is loaded, so `rcdnet` itself asks for `use_passive_wait`. What a person has set stays as it is.
"""

import os
from collections.abc import Mapping

COUNT, WAIT = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"


def use_passive_wait() -> None:
    """Let threads that wait for each other sleep. They would spin, and keep from its processor the very thread that they wait for
    wherever another process is busy too."""
    os.environ.setdefault(WAIT, "PASSIVE")


def threads_are_set() -> bool:
    """Whether a person, or who started this process for one, has said how many threads there shall be."""
    return COUNT in os.environ


def background_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that works beside the app and leaves it a processor."""
    return {COUNT: str(max(1, processors() - 1)), WAIT: "PASSIVE"} | dict(environment)


def processors() -> int:
    """Processors that this process may use, two threads of one counted once, as torch counts them."""
    from psutil import cpu_count  # only who starts a training asks

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, cpu_count(logical=False) or allowed)
