"""What a prediction is called on screen: one of three answers, or one of the paper's two; word, sign and tone in one place."""

from dataclasses import dataclass

from rcdnet.models.verdict import HIGH, LOW, NO_LESION, UNCERTAIN
from rcdnet.reading.inference import Prediction

# Told apart by lightness and by sign, not by hue alone.
TONES = {"malignant": "#ff8a5c", "uncertain": "#e8d48a", "benign": "#6ec1ff", "none": "#c9d1d9"}


@dataclass(frozen=True)
class Answer:
    """word: in a sentence and large. short: where there is little room. sign: beside it. tone: a key of `TONES`."""

    word: str
    short: str
    sign: str
    tone: str

    @property
    def colour(self) -> str:
        return TONES[self.tone]


ANSWERS = {
    "benign": Answer("benign", "benign", "●", "benign"),
    "malignant": Answer("malignant", "malignant", "▲", "malignant"),
    LOW: Answer("low suspicion", "low", "●", "benign"),
    UNCERTAIN: Answer("uncertain", "uncertain", "◆", "uncertain"),
    HIGH: Answer("high suspicion", "high", "▲", "malignant"),
    NO_LESION: Answer("no lesion seen", "no lesion", "○", "none"),
}


def answer(p: Prediction, *, binary: bool = False) -> Answer:
    """One of three answers, or one of two if `binary` or where the model has no thresholds for three; or that no lesion is seen."""
    return ANSWERS[p.call if not p.no_lesion and (binary or not p.verdict) else p.verdict]


def label(p: Prediction, *, binary: bool = False) -> str:
    """Sign, short word and, where there is a call, probability of malignancy."""
    given = answer(p, binary=binary)
    return f"{given.sign} {given.short}" if p.no_lesion else f"{given.sign} {given.short} {p.p_malignant:.2f}"
