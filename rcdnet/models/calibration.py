"""From what speaks for malignancy to a probability."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from scipy.special import expit

from rcdnet.safe_read import LARGEST, Within

PARTS = ("network", "outline", "shape")
MOST = 20  # log-odds that a fit may put on the bias, or on a standard deviation of a part: certainty, to a few in a thousand million
BOX = 9  # numbers in `Calibration.box`
Weight = Annotated[float, Within(0, LARGEST)]  # below 0, more suspicion would mean less


@dataclass(frozen=True)
class Calibration:
    """Weights of the evidence, chosen on validation: log-odds = network * logit + outline * vote + shape * score + bias.

    With `network` alone it is temperature scaling by 1 / network (Guo et al. 2017, arXiv:1706.04599); the bias corrects what
    training leaves of a shift (Alexandari et al. 2020, arXiv:1901.06852).
    vote and score: what `rcdnet.models.lesion_decoder.read_outline` and `shape_score` give, 0 for a model without an outline.
    box: of `shape_score`; empty where no box was known.
    """

    network: Weight = 1.0
    outline: Weight = 0.0
    shape: Weight = 0.0
    bias: Annotated[float, Within(-MOST, MOST)] = 0.0
    box: tuple[float, ...] = ()

    def parts(self, logit, vote, score) -> dict[str, np.ndarray]:
        """What each part of the evidence adds to the log-odds, all of one shape; the bias is left out."""
        return dict(zip(PARTS, (self.network * logit, self.outline * vote, self.shape * score), strict=True))

    def probability(self, logit, vote, score) -> np.ndarray:
        """The probability of malignancy, of the arguments' shape."""
        return expit(sum(self.parts(logit, vote, score).values()) + self.bias)
