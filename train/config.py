"""The settings of one training run, as one value."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rcdnet.errors import ConfigError
from rcdnet.registry import spec_of


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run; written to `config.json` and read back on resume."""

    model: str
    """A name of the registry."""
    data: dict[str, str] = field(default_factory=dict)
    """Folder of each source, by source name."""
    fold: int = 4
    """Official BUS-BRA fold that validates."""
    epochs: int = 48
    """Passes over the training images."""
    coarse_size: int = 128
    """Side in pixels of the training images at first, where most is learned at a third of the cost."""
    fine_epochs: int = 12
    """Last epochs, at the model's own input size; before them the side grows evenly, in steps of 32 pixels."""
    batch_size: int = 32
    """Paper section 2.4."""
    learning_rate: float = 1.5e-3
    """Peak of the one-cycle schedule."""
    weight_decay: float = 0.03
    """Decoupled, as AdamW applies it."""
    label_smoothing: float = 0.05
    """Of the cross-entropy on the image's label."""
    mixup: float = 0.2
    """Beta parameter of Mixup (paper section 2.3.1); 0 turns it off. Without it RcdNet learned its images by heart."""
    softened: float = 0.5
    """Share of the batches shown at a random coarser resolution, as another scanner would; 0 turns it off."""
    ema_decay: float = 0.99
    """Of the averaged weights, which are the ones kept."""
    seed: int = 0
    """Of weights, split, order and augmentation."""

    def __post_init__(self):
        spec_of(self.model)
        if not 0 <= self.fine_epochs <= self.epochs:
            raise ConfigError(
                f"fine_epochs is {self.fine_epochs}; expected 0 to {self.epochs}, the number of epochs. Set both."
            )

    def size_at(self, epoch: int) -> int:
        """Side of the training images in pixels in `epoch`, counted from 0 (progressive learning, arXiv:2104.00298).

        Small steps: going from 128 to 224 at once cost RcdNet 0.04 of its validation AUC, which 8 epochs did not win back.
        """
        last = spec_of(self.model).input_size
        sizes = [*range(self.coarse_size, last, 32), last]
        rising = self.epochs - self.fine_epochs
        return last if epoch >= rising else sizes[epoch * (len(sizes) - 1) // rising]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def read(path: Path) -> "TrainConfig":
        return TrainConfig(**json.loads(path.read_text()))
