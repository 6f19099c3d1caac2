"""What `read_scan` warns of, said once for a whole data set, and whether it would give the label away."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rcdnet.models.registry import CLASSES
from train.data.labels import LABELS
from train.data.sample import Sample

_APART = 0.5  # between the shares of two classes, from which what is warned of tells them apart


def summarise_warnings(samples: Sequence[Sample], warnings: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """A sentence or two for each kind of warning in each source: how many images of each class, and what was said of the first.

    Args:
        warnings: of each sample, as `rcdnet.scans.scan_and_mask.Scan` has them.
    """
    kinds: dict[tuple[str, str], list[int]] = {}
    first: dict[tuple[str, str], str] = {}
    for index, (sample, messages) in enumerate(zip(samples, warnings, strict=True)):
        for warning in messages:
            fact = re.split(r"(?<=[.!?])\s", warning, maxsplit=1)[0]  # the rest is advice for one upload
            kind = sample.source, re.sub(r"\d+", "#", fact)
            kinds.setdefault(kind, []).append(index)
            first.setdefault(kind, fact)
    return tuple(_remark(samples, source, kinds[source, kind], first[source, kind]) for source, kind in kinds)


def _remark(samples: Sequence[Sample], source: str, rows: Sequence[int], fact: str) -> str:
    members = np.array([sample.label for sample in samples if sample.source == source])
    warned = np.array([samples[row].label for row in rows])
    of_label = {name: (int((warned == k).sum()), int((members == k).sum())) for name, k in LABELS.items()}
    counts = [of_label[name] for name in CLASSES]
    of_each = ", ".join(f"{few} of {all_} {name}" for name, (few, all_) in of_label.items() if all_)
    sentence = f"{source}: {len(rows)} of {len(members)} images ({of_each}), {samples[rows[0]].id} first: {fact}"
    if all(all_ for _, all_ in counts) and _tells_apart(counts):
        sentence += (
            " This occurs only in one class, or far more often in it, so a network can learn it instead of the lesion. Balance both "
            "classes, or leave these images out."
        )
    return sentence


def _tells_apart(counts: Sequence[tuple[int, int]]) -> bool:
    shares = [few / all_ for few, all_ in counts]
    return max(shares) > min(shares) == 0 or any(abs(a - b) > _APART for a, b in pairwise(shares))
