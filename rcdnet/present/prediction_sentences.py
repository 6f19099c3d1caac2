"""What Analyse and Compare say of predictions, in sentences."""

from collections.abc import Sequence

from scipy.special import logit

from rcdnet.models.calibration import Calibration
from rcdnet.models.card import ModelCard
from rcdnet.present.text import join_names
from rcdnet.reading.inference import Prediction


def distinct_decimals(p: Prediction) -> tuple[str, str]:
    """Probability and threshold, with as many decimals as it takes to see which is larger."""
    digits = next((d for d in range(2, 6) if f"{p.p_malignant:.{d}f}" != f"{p.threshold:.{d}f}"), 6)
    return f"{p.p_malignant:.{digits}f}", f"{p.threshold:.{digits}f}"


def call_sentence(p: Prediction) -> str:
    """Probability and threshold in words."""
    probability, threshold = distinct_decimals(p)
    side = "at or above" if p.call == "malignant" else "below"
    sentence = f"Probability of malignancy {probability}: {side} {threshold}, {p.threshold_rule}."
    likelier, other = ("malignant", "benign") if p.p_malignant >= 0.5 else ("benign", "malignant")
    if likelier != p.call:  # a threshold that finds nearly every cancer lies far below one half
        sentence += f" By this probability, {likelier} is more likely than {other}."
    return sentence


def trust_sentence(card: ModelCard) -> str:
    """How far a model's calls can be trusted, from the figures it was shipped with."""
    chosen, *applied = card.validation
    sentences = [
        f"On {chosen.data}, where the threshold was chosen: AUC {chosen.auc:.2f} ({chosen.auc_interval[0]:.2f} to "
        f"{chosen.auc_interval[1]:.2f}), {(1 - chosen.specificity) * 100:.0f} % of the benign lesions called malignant."
    ]
    sentences += [
        f"On {f.data}: {f.sensitivity * 100:.0f} % of {f.malignant} cancers found, {(1 - f.specificity) * 100:.0f} % of the "
        "benign lesions called malignant."
        for f in applied
    ]
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


def agreement(predictions: Sequence[Prediction]) -> str:
    """One plain sentence on how the other models' calls relate to the first one's."""
    first, others = predictions[0], predictions[1:]
    if not others:
        return f"{first.title} calls this scan {first.call}; no other model is compared here."
    same = [p.title for p in others if p.call == first.call]
    differing = [p.title for p in others if p.call != first.call]
    if not differing:
        return f"All {len(predictions)} models call this scan {first.call}."
    if len(others) == 1:
        return f"{first.title} calls this scan {first.call}, {differing[0]} {others[0].call}."
    if not same:
        return (
            f"Only {first.title} calls this scan {first.call}; the other {len(others)} models call it {others[0].call}."
        )
    return (
        f"{len(same) + 1} of {len(predictions)} models call this scan {first.call}, as {first.title} does; "
        f"{join_names(differing)} {'differs' if len(differing) == 1 else 'differ'}."
    )
