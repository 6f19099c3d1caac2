"""What Analyse and Compare say of predictions, in sentences."""

from collections.abc import Sequence

from scipy.special import logit

from rcdnet.models.calibration import Calibration
from rcdnet.models.card import ModelCard
from rcdnet.models.lesion_presence import PresenceCard
from rcdnet.models.local_operating_point import LocalOperatingPoint
from rcdnet.models.verdict import HIGH, LOW
from rcdnet.present.answers import answer
from rcdnet.present.text import join_names
from rcdnet.reading.inference import Prediction

NO_LESION_MAPS = (
    "Where a model sees no lesion, its maps are those for malignant unless another class is chosen. They are no answer."
)
FEWEST_NORMALS = 20  # of a data set, below which their share says nothing


def distinct_decimals(p: Prediction) -> tuple[str, str]:
    """Probability and threshold, with as many decimals as it takes to see which is larger."""
    probability, threshold = _told_from(p.p_malignant, p.threshold)
    return probability, threshold


def _told_from(value: float, *thresholds: float) -> tuple[str, ...]:
    """A value and thresholds, all with as many decimals as it takes to see on which side of each the value lies."""
    digits = next((d for d in range(2, 6) if all(f"{value:.{d}f}" != f"{at:.{d}f}" for at in thresholds)), 6)
    return tuple(f"{number:.{digits}f}" for number in (value, *thresholds))


def numbers(p: Prediction, *, binary: bool = False) -> str:
    """Probability and thresholds, short."""
    if p.no_lesion:
        return "no call"
    if binary or p.thresholds is None:
        return "p {}, threshold {}".format(*distinct_decimals(p))
    return f"p {p.p_malignant:.2f}, low {p.thresholds.low:.2f}, high {p.thresholds.high:.2f}"


def answer_sentence(p: Prediction, *, binary: bool = False) -> str:
    """Probability and thresholds in words."""
    if p.no_lesion:
        return "So there is no call and no heatmap. This does not rule out cancer: a lesion can be missed."
    if binary or p.thresholds is None:
        return call_sentence(p)
    value, low, high = _told_from(p.p_malignant, p.thresholds.low, p.thresholds.high)
    if p.verdict == LOW:
        meaning = f"below {low}, so suspicion is low. This does not rule out cancer."
    elif p.verdict == HIGH:
        meaning = f"at or above {high}, so suspicion is high."
    else:
        meaning = f"between {low} and {high}. A person has to read this scan."
    return f"Probability of malignancy {value}: {meaning}"


def call_sentence(p: Prediction) -> str:
    """Probability and the threshold of the paper's two answers in words."""
    probability, threshold = distinct_decimals(p)
    side = "at or above" if p.call == "malignant" else "below"
    sentence = f"Probability of malignancy {probability}: {side} {threshold}, {p.threshold_rule}."
    likelier, other = ("malignant", "benign") if p.p_malignant >= 0.5 else ("benign", "malignant")
    if likelier != p.call:  # a threshold that finds nearly every cancer lies far below one half
        sentence += f" By this probability, {likelier} is more likely than {other}."
    return sentence


def presence_sentence(card: PresenceCard) -> str:
    """What it means that a model sees no lesion, from scans that had no part in teaching it."""
    seen = join_names([f"{c.seen:,} of {c.lesions:,} lesions of {c.data}" for c in card.by_fold])
    told = [c for c in card.by_fold if c.normals >= FEWEST_NORMALS] or [c for c in card.by_fold if c.normals]
    passed = join_names([f"{c.passed} of {c.normals} normal breasts of {c.data}" for c in told])
    apart = "".join(
        f" Where none of {c.data}'s scans had taught it that, it was {c.passed} of {c.normals}."
        for c in card.left_out
        if c.normals >= FEWEST_NORMALS
    )
    return (
        f"In cross-validation it saw {seen}, and rightly made no call on {passed}.{apart} Lesions that taught the network may be seen "
        "more surely than new ones. At a hospital that taught it nothing, expect an answer as for a lesion on most normal breasts."
    )


def verdict_meaning(card: ModelCard) -> str:
    """What the three answers meant on scans that did not choose their thresholds; empty where that was not measured."""
    if not card.verdict_counts:
        return ""
    benign, malignant = (
        [sum(counts) for counts in zip(*(getattr(c, name) for c in card.verdict_counts), strict=True)]
        for name in ("benign", "malignant")
    )

    def share(counts: Sequence[int], k: int) -> str:
        return f"{counts[k] / sum(counts) * 100:.0f} %"

    return (
        f"Low suspicion was given to {malignant[0]} of {sum(malignant):,} cancers ({malignant[0] / sum(malignant) * 100:.1f} %) and "
        f"{share(benign, 0)} of {sum(benign):,} benign lesions; high suspicion to {share(malignant, 2)} of the cancers and "
        f"{share(benign, 2)} of the benign lesions ({join_names([c.data for c in card.verdict_counts])}, cross-validation)."
    )


def site_sentence(point: LocalOperatingPoint, *, binary: bool = False) -> str:
    """What a hospital's operating point rests on, and what it cannot prove."""
    low = (
        f" Of new cancers there, up to {point.may_miss * 100:.0f} % may be told low suspicion: so few scans prove no more."
        if point.verdict.low
        else " With fewer than 49 cancers no threshold can promise to miss at most 2 % of them, so nothing is told low suspicion."
    )
    return (
        f"Calibration and thresholds are those of {point.site}, chosen on {point.benign + point.malignant} of its scans, "
        f"{point.malignant} of them cancers.{'' if binary else low} Scans of another scanner or another hospital may fare otherwise."
    )


def trust_sentence(card: ModelCard, *, binary: bool = True) -> str:
    """How far a model's answers can be trusted, from the figures it was shipped with."""
    chosen, *applied = card.validation
    if not binary and (meaning := verdict_meaning(card)):
        aucs = join_names([f"{f.auc:.2f} on {f.data}" for f in card.validation])
        return f"{meaning} AUC {aucs}. {_caveats(card)}"
    sentences = [
        f"On {chosen.data}, where the threshold was chosen: AUC {chosen.auc:.2f} ({chosen.auc_interval[0]:.2f} to "
        f"{chosen.auc_interval[1]:.2f}), {(1 - chosen.specificity) * 100:.0f} % of the benign lesions called malignant."
    ]
    sentences += [
        f"On {f.data}: {f.sensitivity * 100:.0f} % of {f.malignant} cancers found, {(1 - f.specificity) * 100:.0f} % of the "
        "benign lesions called malignant."
        for f in applied
    ]
    return f"{' '.join(sentences)} {_caveats(card)}"


def _caveats(card: ModelCard) -> str:
    sentences = []
    if not card.measured_itself:
        sentences.append(
            "These figures come from runs of the same training without those images. The weights used here were trained on them too."
        )
    calibrated = "is calibrated on those images alone" if card.calibration != Calibration() else "is not calibrated"
    return " ".join([*sentences, f"The probability {calibrated}. It is not an individual patient's risk."])


def evidence_sentence(p: Prediction) -> str:
    """Which parts of the evidence speak for which class, and how loudly, in log-odds; empty where there is the network alone."""
    if p.no_lesion or not any(value for part, value in p.parts.items() if part != "network"):
        return ""
    words = {
        "network": "the network, explained by the heatmap",
        "outline": "the inside of an outline too uncertain to draw" if p.misses_lesion else "the inside of its outline",
        "shape": "the outline's shape",
    }
    # + 0.0: no minus before a zero
    terms = [
        f"{words[part]} ({value:+.1f}, {'neutral' if value == 0 else 'toward malignant' if value > 0 else 'toward benign'})"
        for part, value in ((part, round(value, 1) + 0.0) for part, value in p.parts.items())
    ]
    constant = logit(p.p_malignant) - sum(p.parts.values())
    return f"The call adds up three parts, in log-odds: {join_names(terms)}. Every scan also gets a constant of {constant:+.1f}."


def agreement(predictions: Sequence[Prediction], *, binary: bool = False) -> str:
    """One or two plain sentences on how the other models' answers relate to the first one's."""
    if unseeing := [p.title for p in predictions if p.no_lesion]:
        seeing = [p for p in predictions if not p.no_lesion]
        none = f"{join_names(unseeing)} {'sees' if len(unseeing) == 1 else 'see'} no lesion"
        if not seeing:
            return (
                f"{none}; no other model is compared here."
                if len(predictions) == 1
                else f"All {len(predictions)} models see no lesion."
            )
        if predictions[0].no_lesion:
            by_word: dict[str, list[str]] = {}
            for p in seeing:
                by_word.setdefault(answer(p, binary=binary).word, []).append(p.title)
            given = [
                f"{join_names(titles)} {'answers' if len(titles) == 1 else 'answer'} {word}"
                for word, titles in by_word.items()
            ]
            return f"{none}; {join_names(given)}."
        if len(seeing) == 1:
            return f"Only {seeing[0].title} sees a lesion, and answers {answer(seeing[0], binary=binary).word}."
        return f"{agreement(seeing, binary=binary)} {none}."
    first, others = predictions[0], predictions[1:]
    words = [answer(p, binary=binary).word for p in predictions]
    two = binary or not first.verdict
    one, many, it = ("calls this scan", "call this scan", "call it") if two else ("answers", "answer", "answer")
    if not others:
        return f"{first.title} {one} {words[0]}; no other model is compared here."
    same = [p.title for p, word in zip(others, words[1:], strict=True) if word == words[0]]
    differing = [p.title for p, word in zip(others, words[1:], strict=True) if word != words[0]]
    if not differing:
        return f"All {len(predictions)} models {many} {words[0]}."
    if len(others) == 1:
        return f"{first.title} {one} {words[0]}, {differing[0]} {words[1]}."
    if not same and len(set(words[1:])) == 1:
        return f"Only {first.title} {one} {words[0]}; the other {len(others)} models {it} {words[1]}."
    if not same:
        return f"Only {first.title} {one} {words[0]}; the others differ from it and from each other."
    return (
        f"{len(same) + 1} of {len(predictions)} models {many} {words[0]}, as {first.title} does; "
        f"{join_names(differing)} {'differs' if len(differing) == 1 else 'differ'}."
    )
