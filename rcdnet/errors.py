"""What can go wrong, as sentences for the person who sees them.

RcdnetError              root of everything this project raises on purpose
├── ImageError           an upload cannot be read as one breast ultrasound image
│   └── NotAScan         an upload is a picture of something else
├── UnknownModel         a model name is not in the registry
├── NotTrained           a model has no weights good enough to answer with
├── CheckpointError      a weight file is damaged or does not belong to its card
├── HeatmapError         a class activation map could not be computed
├── OutputError          results cannot be written where they were to go
├── DatasetError         training data is missing or not laid out as expected
├── ConfigError          the settings of a training run do not fit together
├── Diverged             the loss of a training run is no longer a number
└── RunFailed            a training run ended before its last epoch

Each message says what was found, what was expected and what to do.
"""

from collections.abc import Mapping
from types import MappingProxyType


class RcdnetError(Exception):
    """Root of the project's own errors; its text may be shown to a user as it is."""


class ImageError(RcdnetError):
    """An upload cannot be read as one breast ultrasound image."""


class NotAScan(ImageError):
    """An upload is a picture, but not one breast B-mode scan."""


class UnknownModel(RcdnetError):
    """A model name is not in the registry; the message suggests the nearest one."""


class NotTrained(RcdnetError):
    """A model has no weights, or its weights are too weak on validation to answer with."""


class CheckpointError(RcdnetError):
    """A weight file is damaged, or does not match the card beside it."""


class HeatmapError(RcdnetError):
    """A class activation map could not be computed; nothing is shown in its place."""


class OutputError(RcdnetError):
    """Results cannot be written where they were to go; said before the work is done."""


class DatasetError(RcdnetError):
    """A data set is missing, or not laid out as its reader expects."""


class ConfigError(RcdnetError):
    """The settings of a training run do not fit together, or not with the run they are to go on with.

    mistakes: the sentence of each setting that is wrong, by its name, where they are known one by one.
    """

    def __init__(self, message: str, mistakes: Mapping[str, str] = MappingProxyType({})):
        super().__init__(message)
        self.mistakes = mistakes


class Diverged(RcdnetError):
    """The loss of a training run is no longer a number; its last whole epoch is kept."""


class RunFailed(RcdnetError):
    """A training run ended before its last epoch; the message is the one in its `events.jsonl`."""
