"""95 % intervals, by bootstrap over patients or near-duplicate groups; where no resample can differ, by score methods."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from train.metrics.bootstrap import bounds, resamples
from train.metrics.classification import SENSITIVITIES, area_under_roc, auc_of_samples

MINIMUM_GROUPS = 10  # of patients or near-copies; a bootstrap of fewer gives intervals that are too narrow
NONE = (math.nan, math.nan)
_SPREAD = 1e-9  # resamples that differ by less are the same, but for the order of sums
_MEANS = {
    "precision_macro": ("precision", "precision_benign"),
    "recall_macro": ("sensitivity", "specificity"),
    "f1_macro": ("f1", "f1_benign"),
}

Interval = tuple[float, float]


def intervals(
    values: Mapping[str, float],
    resampled: Callable[[], Mapping[str, np.ndarray]],
    labels: np.ndarray,
    called: np.ndarray,
    groups: np.ndarray,
    pointed: np.ndarray,
) -> dict[str, Interval]:
    """An interval for each of `values`: those of `train.metrics.classification.figures_of`, `pointing` and `dice`; nan for none.

    By bootstrap, as `resampled_interval`. Of a set without a mistake every resample is without one, and the bootstrap would be
    certain. So a share that is 0 or 1 has Wilson's interval, each group that it was found in counted once; so has F1, by the share
    TP / (TP + FP + FN) that it follows from (Lam, Gopal and Qian 2023, arXiv:2309.14621), the average precision, among the malignant
    (as Boyd, Eng and Page 2013 count, doi:10.1007/978-3-642-40994-3_29), and the specificity at a sensitivity, among the rarer class.
    A mean of both classes lies between the means of their ends, which is never too narrow. Anything else that no resample moves has
    none.

    Args:
        resampled: gives the values of bootstrap samples, float (B,) by name.
        labels, groups: int (N,). called, pointed: bool (N,), malignant at the threshold, and with a figure for `pointing`.
    """
    total, sick = _count(groups), labels == 1
    drawn = resampled() if total >= MINIMUM_GROUPS else {}
    found = {name: resampled_interval(drawn.get(name, np.array([])), groups=total) for name in values}
    malignant, benign = _count(groups[sick]), _count(groups[~sick])
    among = {
        "accuracy": total, "sensitivity": malignant, "specificity": benign, "average_precision": malignant,
        "precision": _count(groups[called]), "precision_benign": _count(groups[~called]),
        "f1": _count(groups[sick | called]), "f1_benign": _count(groups[~sick | ~called]),
        "pointing": _count(groups[pointed]), **{f"specificity_at_{s * 100:.0f}": min(malignant, benign) for s in SENSITIVITIES},
    }  # fmt: skip
    for name, count in among.items():
        if name in values and min(abs(values[name]), abs(1 - values[name])) < _SPREAD:
            low, high = share_interval(round(values[name]), count)
            found[name] = (_f1_of(low), _f1_of(high)) if name.startswith("f1") else (low, high)
    for name, parts in _MEANS.items():
        if name in values and math.isnan(found[name][0]) and not math.isnan(values[name]):
            (low, high), (low_too, high_too) = (found[part] for part in parts)
            found[name] = (low + low_too) / 2, (high + high_too) / 2
    if "auc" in values and math.isnan(found["auc"][0]):
        found["auc"] = auc_score_interval(values["auc"], malignant, benign)
    return found


def interval_of_auc(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> Interval:
    """The interval of the AUC alone, by bootstrap, or else `auc_score_interval`: it always has one."""
    if _count(groups) >= MINIMUM_GROUPS:
        low, high = auc_interval(groups, labels, scores)
        if high - low > _SPREAD:
            return low, high
    malignant, benign = _count(groups[labels == 1]), _count(groups[labels == 0])
    return auc_score_interval(area_under_roc(labels, scores), malignant, benign)


def resampled_interval(values: np.ndarray, *, groups: int) -> Interval:
    """The middle 95 % of bootstrap samples, float (B,), of `groups`; nan where these are under `MINIMUM_GROUPS`, or no sample differs."""
    low, high = bounds(values) if groups >= MINIMUM_GROUPS else NONE
    return (low, high) if high - low > _SPREAD else NONE


def auc_score_interval(auc: float, malignant: int, benign: int) -> Interval:
    """The pseudo-score interval of an AUC among independent cases, which is never a point: method 5 of Newcombe 2006,
    doi:10.1002/sim.2324, with the variance of Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747.

    >>> [round(end, 3) for end in auc_score_interval(1.0, 5, 5)]
    [0.643, 1.0]
    """
    return _lower(auc, malignant, benign), 1 - _lower(1 - auc, malignant, benign)


def _lower(auc: float, malignant: int, benign: int) -> float:
    pairs, others, z = malignant * benign, (malignant + benign) / 2 - 1, float(norm.ppf(0.975))

    def beyond(true: float) -> float:
        alike = 1 + others * ((1 - true) / (2 - true) + true / (1 + true))
        return (auc - true) ** 2 - z**2 * true * (1 - true) * alike / pairs

    return float(brentq(beyond, 0, min(auc, 1 - _SPREAD))) if auc > 0 else 0.0


def _count(groups: np.ndarray) -> int:
    return len(np.unique(groups))


def _f1_of(share: float) -> float:
    return 2 * share / (1 + share)


def auc_interval(groups: np.ndarray, labels: np.ndarray, scores: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the AUC alone, by bootstrap over groups; a sample without both classes counts for nothing."""
    _, group = np.unique(groups, return_inverse=True)
    samples = resamples(int(group.max()) + 1, seed=seed)[:, group]
    return bounds(auc_of_samples(labels, scores, samples))


def share_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share that was found among `count` independent ones (1927, doi:10.1080/01621459.1927.10502953).

    >>> [round(end, 3) for end in share_interval(1.0, 20)]
    [0.839, 1.0]
    """
    if not count:
        return float("nan"), float("nan")
    low, high = binomtest(round(share * count), count).proportion_ci(method="wilson")
    return float(low), float(high)
