"""Bootstrap samples of whole patients or near-duplicate groups, and the interval that values of them span."""

import numpy as np

BOOTSTRAP_SAMPLES = 1000


def bootstrap(groups: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """How often each image is in each bootstrap sample of whole groups, whose members are not independent.

    Returns:
        int (BOOTSTRAP_SAMPLES, N). Samples without both classes are drawn again.
    """
    rng = np.random.default_rng(seed)
    unique, group = np.unique(groups, return_inverse=True)
    drawn: list[np.ndarray] = []
    while len(drawn) < BOOTSTRAP_SAMPLES:
        counts = np.bincount(rng.integers(len(unique), size=len(unique)), minlength=len(unique))[group]
        if 0 < counts[labels == 1].sum() < counts.sum():
            drawn.append(counts)
    return np.array(drawn)


def resamples(groups: int, *, seed: int = 0) -> np.ndarray:
    """How often each group is drawn in each bootstrap sample: int (BOOTSTRAP_SAMPLES, groups)."""
    return np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), BOOTSTRAP_SAMPLES)


def bounds(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of values, float (N,), those that are nan left out; nan where none is left."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)
