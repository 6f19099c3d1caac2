"""Three answers instead of two: low suspicion, high suspicion, or uncertain, which a person has to read; and conformal sets."""

from dataclasses import dataclass

from rcdnet.models.registry import CLASSES
from rcdnet.safe_read import Count, Share

LOW, UNCERTAIN, HIGH = "low", "uncertain", "high"
VERDICTS = (LOW, UNCERTAIN, HIGH)
NO_LESION = "no lesion"  # what is told instead of any of them where a model sees no lesion


@dataclass(frozen=True)
class VerdictThresholds:
    """Thresholds of the probability of malignancy. low: below it suspicion is low. high: from it on suspicion is high.

    missed: the largest share of cancers that may lie below `low` among the images that chose it. reached: the largest share of
    benign lesions that may reach `high` there.
    """

    low: Share
    high: Share
    missed: Share
    reached: Share

    def verdict(self, p_malignant: float) -> str:
        """One of `VERDICTS`.

        >>> thresholds = VerdictThresholds(0.05, 0.3, 0.02, 0.1)
        >>> [thresholds.verdict(p) for p in (0.04, 0.05, 0.29, 0.3)]
        ['low', 'uncertain', 'uncertain', 'high']
        """
        return LOW if p_malignant < self.low else HIGH if p_malignant >= self.high else UNCERTAIN


@dataclass(frozen=True)
class ConformalThresholds:
    """Class-conditional (Mondrian) conformal prediction (Vovk 2012, doi:10.1007/s10994-013-5355-6).

    level: the share of each class whose set holds that class, if new scans are exchangeable with those that chose the thresholds.
    benign, malignant: the least probability of each class at which it is in the set.
    """

    level: Share
    benign: Share
    malignant: Share

    def classes(self, p_malignant: float) -> tuple[str, ...]:
        """The set of a scan: none, one or both of `CLASSES`.

        >>> ConformalThresholds(0.9, 0.6, 0.2).classes(0.3)
        ('benign', 'malignant')
        """
        return tuple(
            name
            for name, probability, least in zip(
                CLASSES, (1 - p_malignant, p_malignant), (self.benign, self.malignant), strict=True
            )
            if probability >= least
        )


@dataclass(frozen=True)
class VerdictCounts:
    """How many scans of each class of a data set got each of `VERDICTS`, by thresholds that these scans did not choose.

    one_class: how many got a conformal set of one class. covered: how many got a set that holds their class; benign, then malignant.
    """

    data: str
    role: str
    benign: tuple[Count, Count, Count]
    malignant: tuple[Count, Count, Count]
    one_class: Count
    covered: tuple[Count, Count]
