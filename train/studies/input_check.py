"""Teach the app's input check, `rcdnet.reading.input_check`, on scans and on other pictures that are drawn with them, and try it on each
data set that it was not taught with."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from rcdnet.errors import DatasetError
from rcdnet.models.checkpoint import WEIGHTS_FOLDER, write_pinned
from rcdnet.reading.input_check import (
    CLIP,
    NAME,
    NOT_READ,
    WARNED,
    Detector,
    InputCheck,
    InputCheckCard,
    LeftOutSite,
    Outcomes,
)
from rcdnet.reading.picture_features import picture_features
from train.data.dataset_readers import read_sources
from train.data.load_images import read_pixels
from train.data.other_pictures import OTHER_PICTURES
from train.data.phantoms import random_lesion, render_phantom
from train.data.public_datasets import TITLES
from train.data.sample import PHANTOM_SOURCE
from train.studies.perturbations import PERTURBATIONS, Box

SCAN, VARIED = "scan", "varied scan"
PHANTOMS = 120
COMPONENTS = 64  # of the scans' principal subspace
PENALTY = 0.01  # C of the logistic classifier; of .001, .01 and .1, tried between BUSI and BUS-BRA
# Shares of the scans of a site that the check was not taught with: not read, and warned of, by classifier and by distance.
REFUSED, WARNED_OF = (0.01, 0.002), (0.03, 0.01)
_BATCH = 32


@dataclass(frozen=True, eq=False)  # the same sites are fitted once
class SitePictures:
    """Features, float32 (N, D), of a data set's scans, of varied ones and of other pictures; kinds: `SCAN`, `VARIED` or a kind, (N,)."""

    source: str
    features: np.ndarray
    kinds: np.ndarray

    @property
    def scans(self) -> np.ndarray:
        """bool (N,): scans, varied ones too."""
        return np.isin(self.kinds, (SCAN, VARIED))


def publish_input_check(
    data: Sequence[tuple[str, str]],
    *,
    each: int = 160,
    seed: int = 0,
    folder: Path = WEIGHTS_FOLDER,
    say: Callable[[str], object] = print,
) -> InputCheckCard:
    """Teach the check on all data sets, and write it where the app reads it.

    Args:
        data: pairs of source and place; two at least, for its thresholds are chosen on sites that did not teach it.
        each: how many other pictures of each kind are drawn with the scans of each data set.

    Raises:
        DatasetError: there is one data set only, or one cannot be read.
    """
    if len(data) < 2:
        raise DatasetError(
            "An input check needs two data sets or more: its thresholds are chosen on one that did not teach it."
        )
    phantoms = _phantoms(seed)
    sites = []
    for source in data:
        sites.append(_site_pictures(source, each, np.random.default_rng(seed)))
        say(f"{source[0]}: {sites[-1].scans.sum()} scans and varied scans, {(~sites[-1].scans).sum()} other pictures")
    left_out = []
    if len(sites) > 2:
        for site in sites:
            check, _ = _teach([other for other in sites if other is not site], phantoms)
            left_out.append(_try(check, site))
            say(
                f"without {site.source}: {left_out[-1].scans.refused} of {left_out[-1].scans.pictures} of its scans not read"
            )
    check, content = _teach(sites, phantoms, tuple(left_out))
    card = json.dumps(asdict(check.card), indent=1, allow_nan=False) + "\n"
    write_pinned({f"{NAME}.safetensors": content}, f"{NAME}.json", card.encode(), folder)
    return check.card


def _site_pictures(source: tuple[str, str], each: int, rng: np.random.Generator) -> SitePictures:
    samples = read_sources([source])
    scans = [read_pixels(sample) for sample in samples]

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        for sample, pixels in zip(samples, scans, strict=True):
            yield SCAN, pixels
            yield VARIED, _varied(rng, pixels, sample.box)
        for kind, draw in OTHER_PICTURES.items():
            for _ in range(each):
                one, two = rng.integers(len(scans), size=2)
                yield kind, draw(rng, scans[one], scans[two])

    kinds, features = zip(*_features(pictures()), strict=True)
    return SitePictures(source[0], np.array(features), np.array(kinds))


def _phantoms(seed: int) -> SitePictures:
    """The drawn phantoms of the app, which it reads so that it can be tried without a patient's scan; no threshold comes from them."""
    drawn = (
        render_phantom(random_lesion(number % 2, np.random.default_rng([seed, number])), seed=number).image
        for number in range(PHANTOMS)
    )
    kinds, features = zip(*_features((SCAN, image) for image in drawn), strict=True)
    return SitePictures(PHANTOM_SOURCE, np.array(features), np.array(kinds))


def _features(pictures: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    waiting = iter(pictures)
    with ThreadPoolExecutor(2) as pool:
        while batch := list(islice(waiting, _BATCH)):
            yield from zip((kind for kind, _ in batch), pool.map(picture_features, (p for _, p in batch)), strict=True)


def _varied(rng: np.random.Generator, pixels: np.ndarray, box: Box | None) -> np.ndarray:
    """The same scan as another site may show it: another part, gain and gamma, at times in a viewer or with marks."""
    if rng.random() < 0.6:
        height, width = (int(side * rng.uniform(0.6, 1)) for side in pixels.shape)
        y, x = (
            int(rng.integers(0, whole - part + 1)) for whole, part in zip(pixels.shape, (height, width), strict=True)
        )
        pixels, box = pixels[y : y + height, x : x + width], None
    lit = (pixels / 255) ** rng.uniform(0.6, 1.6) * rng.uniform(0.75, 1.25)
    pixels = np.rint(255 * np.clip(lit, 0, 1)).astype(np.uint8)
    if rng.random() < 0.3:
        pixels = _trapezoid(rng, pixels)
    elif rng.random() < 0.7:
        pixels = list(PERTURBATIONS.values())[int(rng.integers(len(PERTURBATIONS)))](pixels, box)
    return np.ascontiguousarray(pixels)


def _trapezoid(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """As a linear probe shows a wider field by steering its beams: narrow above and wide below, black beside it."""
    height, width = pixels.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wide = np.minimum(rng.uniform(0.4, 0.8) + y / height * rng.uniform(0.2, 0.6), 1)
    across = (x / (width - 1) - 0.5) / wide
    deep = y * (1 + rng.uniform(0, 0.4) * (2 * across) ** 2 * y / height)  # beams to the side reach less far down
    columns = ((across + 0.5) * (width - 1)).astype(np.float32)
    return cv2.remap(
        pixels, columns, deep.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )


def _teach(
    sites: Sequence[SitePictures], phantoms: SitePictures, left_out: tuple[LeftOutSite, ...] = ()
) -> tuple[InputCheck, bytes]:
    """The check, and the file of its arrays."""
    detector = _fit((*sites, phantoms))
    scores, weights = [], []
    for site in sites:
        without = _fit((*(other for other in sites if other is not site), phantoms))
        scans = site.features[site.scans]
        scores += [(found.log_odds, found.distance) for found in map(without.scores, scans)]
        weights += [1 / len(scans)] * len(scans)
    refuse, warn = (_bars(np.array(scores), weights, shares) for shares in (REFUSED, WARNED_OF))
    # In C order, which scikit-learn's arrays are not and safetensors takes for granted (findings/safetensors-fortran-order.sh).
    content = save({name: np.ascontiguousarray(array, np.float32) for name, array in vars(detector).items()})
    card = InputCheckCard(
        kinds=tuple(OTHER_PICTURES),
        refuse=refuse,
        warn=warn,
        trained_on=tuple(TITLES.get(site.source, site.source) for site in sites),
        left_out=left_out,
        date=date.today().isoformat(),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return InputCheck(card, detector), content


def _bars(scores: np.ndarray, weights: Sequence[float], shares: tuple[float, float]) -> tuple[float, float]:
    """The log-odds and the distance that this share of scans reaches; scores float (N, 2)."""
    log_odds, distance = (
        float(np.quantile(column, 1 - share, weights=weights, method="inverted_cdf"))
        for column, share in zip(scores.T, shares, strict=True)
    )
    return log_odds, distance


@cache
def _fit(sites: tuple[SitePictures, ...]) -> Detector:
    """Each site counts alike, however many scans it has."""
    features = np.concatenate([site.features for site in sites]).astype(np.float64)
    kinds = np.concatenate([site.kinds for site in sites])
    most = max(site.scans.sum() for site in sites)
    scans = np.concatenate([np.resize(site.features[site.scans], (most, features.shape[1])) for site in sites])
    centre, scale = scans.mean(axis=0), scans.std(axis=0) + 1e-3

    def standardised(of: np.ndarray) -> np.ndarray:
        return np.clip((of - centre) / scale, -CLIP, CLIP)

    subspace = PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit(standardised(scans))
    names = [SCAN, *OTHER_PICTURES]
    labels = np.array([names.index(SCAN if kind == VARIED else kind) for kind in kinds])
    of_a_site = sum(site.scans.sum() for site in sites) / len(sites)
    weights = np.concatenate([np.where(site.scans, of_a_site / site.scans.sum(), 1.0) for site in sites])
    classifier = LogisticRegression(C=PENALTY, max_iter=300).fit(standardised(features), labels, sample_weight=weights)
    return Detector(centre, scale, subspace.components_, classifier.coef_, classifier.intercept_)


def _try(check: InputCheck, site: SitePictures) -> LeftOutSite:
    outcomes = np.array([check.assess_features(features).outcome for features in site.features])

    def of(kind: str) -> Outcomes:
        these = outcomes[site.kinds == kind]
        return Outcomes(kind, len(these), int((these == NOT_READ).sum()), int((these == WARNED).sum()))

    title = TITLES.get(site.source, site.source)
    return LeftOutSite(title, of(SCAN), of(VARIED), tuple(of(kind) for kind in OTHER_PICTURES))
