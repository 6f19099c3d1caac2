"""What Analyse and Compare say of predictions, in sentences."""

from collections.abc import Sequence

from scipy.special import logit

from rcdnet.models.calibration import Calibration
from rcdnet.models.card import ModelCard
from rcdnet.models.verdict import HIGH, LOW
from rcdnet.present.answers import answer
from rcdnet.present.text import join_names
from rcdnet.reading.inference import Prediction


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
    if binary or p.thresholds is None:
        return "p {}, threshold {}".format(*distinct_decimals(p))
    return f"p {p.p_malignant:.2f}, low {p.thresholds.low:.2f}, high {p.thresholds.high:.2f}"


def answer_sentence(p: Prediction, *, binary: bool = False) -> str:
    """Probability and thresholds in words."""
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
    if not any(value for part, value in p.parts.items() if part != "network"):
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
    """One plain sentence on how the other models' answers relate to the first one's."""
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
