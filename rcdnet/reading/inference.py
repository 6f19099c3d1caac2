"""One scan in, one `Prediction` for each model and method out."""

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rcdnet.errors import CheckpointError, HeatmapError, NotTrained, RcdnetError
from rcdnet.models.card import ModelCard
from rcdnet.models.checkpoint import card_digest, load_checkpoint
from rcdnet.models.lesion_decoder import LesionDecoder, contours, read_outline, shape_score
from rcdnet.models.lesion_presence import NAME as PRESENCE
from rcdnet.models.lesion_presence import LesionPresence, load_lesion_presence, presence_features
from rcdnet.models.local_operating_point import LocalOperatingPoint
from rcdnet.models.registry import CLASSES, MODELS, ModelSpec, spec_of
from rcdnet.models.verdict import NO_LESION, VerdictThresholds
from rcdnet.reading.heatmaps import class_activation_maps
from rcdnet.scans.preprocessing import Letterbox, normalise, prepare

MALIGNANT = CLASSES.index("malignant")


@dataclass(frozen=True)
class Classifier:
    """A trained model, ready and never written to, so that all sessions may share it.

    own: the name of a user's weights. presence: says whether a scan shows a lesion; None for weights that were not taught that.
    site: the hospital whose operating point answers in place of the card's; None for the card's.
    """

    spec: ModelSpec
    card: ModelCard
    network: nn.Module = field(repr=False)
    decoder: LesionDecoder | None = field(default=None, repr=False)
    own: str = ""
    presence: LesionPresence | None = field(default=None, repr=False)
    site: LocalOperatingPoint | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The model's name; of a user's weights theirs, marked so that it is never taken for a bundled model's."""
        return f"own:{self.own}" if self.own else self.spec.name

    @cached_property
    def key(self) -> str:
        """What no two classifiers share that say different things: one's name, and a digest of its card, which names the weights, and of
        what asks it whether it sees a lesion."""
        digest = hashlib.sha256(self.card.to_json().encode())
        if self.presence:
            digest.update(f"{self.presence.card.bar} {self.presence.bias}".encode() + self.presence.weight.tobytes())
        return f"{self.name} {digest.hexdigest()}"

    @property
    def on_phantoms(self) -> bool:
        """Whether drawn phantoms were among the images that taught it, as its card says: then its calls say nothing of a scan."""
        return re.search(r"\bimages of phantoms(?=$|,| and )", self.card.trained_on) is not None

    @property
    def title(self) -> str:
        title = f"{self.own} (your {self.spec.title})" if self.own else self.spec.title
        return f"{title}, trained on phantoms" if self.on_phantoms else title


@dataclass(frozen=True)
class Prediction:
    """What one model says about one scan.

    probabilities: float64 (2,) in the order of `CLASSES`.
    maps: raw class activation maps, float32 (2, h, w), zero or more, over the model's square canvas.
    frame: leads from the canvas back to the scan's own pixels.
    method: what made the maps, a name in `rcdnet.reading.heatmaps`.
    parts: what each part of the evidence adds to the log-odds of malignancy, by `rcdnet.models.calibration.PARTS`; one that the model
        does not have adds 0. The maps explain the network's.
    lesion: how likely each place is inside a lesion, float32 (h, w) in 0..1 over the canvas; None where the model draws no outline.
    on_phantoms: as `Classifier.on_phantoms`.
    thresholds: of the three answers; None where the card has none.
    no_lesion: the model sees no lesion, so the rest is no call and is shown to nobody as one.
    site: the hospital whose operating point this is by; empty for the model's own.
    """

    model: str
    title: str
    threshold: float
    threshold_rule: str
    probabilities: np.ndarray
    maps: np.ndarray = field(repr=False)
    frame: Letterbox
    parts: dict[str, float] = field(default_factory=dict)
    method: str = "Grad-CAM"
    lesion: np.ndarray | None = field(default=None, repr=False)
    on_phantoms: bool = False
    thresholds: VerdictThresholds | None = None
    no_lesion: bool = False
    site: str = ""

    def __post_init__(self) -> None:
        """`CheckpointError` for what is no probability: nothing can be called by it."""
        if not (np.isfinite(self.probabilities).all() and math.isfinite(self.threshold)):
            raise CheckpointError(
                f"{self.title} gave no valid number for this scan, so it makes no call. Its weights or its card are damaged: restore both."
            )

    @property
    def p_malignant(self) -> float:
        return float(self.probabilities[MALIGNANT])

    @property
    def call(self) -> str:
        """ "malignant" at or above the threshold, else "benign"."""
        return CLASSES[MALIGNANT] if self.p_malignant >= self.threshold else CLASSES[1 - MALIGNANT]

    @property
    def verdict(self) -> str:
        """One of `rcdnet.models.verdict.VERDICTS`, or `NO_LESION`; empty where the model has no thresholds for it."""
        if self.no_lesion:
            return NO_LESION
        return self.thresholds.verdict(self.p_malignant) if self.thresholds else ""

    @property
    def explained_class(self) -> str:
        """Whose map is shown unless another is asked for: the class that is called, or malignant where no lesion is seen."""
        return CLASSES[MALIGNANT] if self.no_lesion else self.call

    def strength(self, class_name: str) -> float:
        """The maximum of a class's raw map on the scan; 0 means that nothing in the scan spoke for the class.

        The black margin of the canvas does not count: a map may be highest there, and it is never shown.
        """
        return float(self.frame.content(self.maps[CLASSES.index(class_name)]).max())

    def heat(self, class_name: str, shape: tuple[int, int] | None = None) -> np.ndarray:
        """The raw map of a class on the scan's own pixels, float32 (H, W), zero or more; or on those of a resized copy."""
        return self.frame.to_image(self.maps[CLASSES.index(class_name)], shape)

    @property
    def misses_lesion(self) -> bool:
        """Whether the model draws outlines, and none on this scan."""
        return self.lesion is not None and not (self.frame.content(self.lesion) > 0.5).any()

    def outlines(self, shape: tuple[int, int] | None = None) -> list[np.ndarray]:
        """The predicted outline on the scan's own pixels, or those of a resized copy, as `contours` gives it; else empty."""
        return [] if self.lesion is None else contours(self.frame.to_image(self.lesion, shape))


def load_classifier(name: str) -> Classifier:
    """The bundled model of that name, shared; read again when its card changes, as `python -m train ship` does.

    Raises:
        UnknownModel, NotTrained, CheckpointError: as `rcdnet.models.checkpoint.load_checkpoint`.
    """
    return _load_bundled(name, card_digest(name), card_digest(PRESENCE))


@lru_cache(maxsize=len(MODELS))
def _load_bundled(name: str, digest: str, of_presence: str) -> Classifier:
    network, card, decoder = load_checkpoint(name)
    presence = load_lesion_presence(name, card.sha256)
    return Classifier(spec_of(name), card, network.to(memory_format=torch.channels_last), decoder, presence=presence)


_TRIAL = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1))  # a ramp


def load_custom(name: str, folder: Path) -> Classifier:
    """A user's weights under their own name; `folder` holds one weight file with its card. Read again when it changes.

    Raises:
        NotTrained, CheckpointError: as `rcdnet.models.checkpoint.load_checkpoint`, or they give no number.
    """
    model = next((path.stem for path in folder.glob("*.json") if path.stem in MODELS), None)
    if model is None:
        raise CheckpointError(
            f"{name} holds no weights for the app. Press “Use on the Analyse page” again on the Train page."
        )
    return _load_own(name, folder, model, card_digest(model, folder))


@lru_cache(maxsize=2)
def _load_own(name: str, folder: Path, model: str, digest: str) -> Classifier:
    network, card, decoder = load_checkpoint(model, folder)
    own = Classifier(spec_of(model), card, network.to(memory_format=torch.channels_last), decoder, own=name)
    try:
        classify(_TRIAL, [own])  # what gives no number is said here, and takes no scan with it
    except (CheckpointError, HeatmapError) as error:
        raise CheckpointError(f"{own.title} gives no valid number, so it makes no call. Train it again.") from error
    return own


def at_site(classifier: Classifier, point: LocalOperatingPoint) -> Classifier:
    """A bundled classifier with a hospital's calibration and thresholds.

    Raises:
        CheckpointError: they are of other weights.
    """
    if (classifier.own, classifier.spec.name, classifier.card.sha256) != ("", point.model, point.weights_sha256):
        raise CheckpointError(
            f"The operating point of {point.site} is of other weights of {classifier.spec.title}, so it is not used. Make it again: "
            "python -m train adapt"
        )
    card = replace(
        classifier.card,
        calibration=point.calibration,
        threshold=point.threshold,
        threshold_rule=point.threshold_rule,
        verdict=point.verdict,
        conformal=None,
        verdict_counts=(),
    )
    return replace(classifier, card=card, site=point)


def load_trained() -> tuple[list[Classifier], dict[str, RcdnetError]]:
    """Every bundled model that can answer, in the registry's order, and the reason of each that cannot, by name."""
    classifiers: list[Classifier] = []
    reasons: dict[str, RcdnetError] = {}
    for name in MODELS:
        try:
            classifiers.append(load_classifier(name))
        except (NotTrained, CheckpointError) as reason:
            reasons[name] = reason
    return classifiers, reasons


def classify(
    pixels: np.ndarray,
    classifiers: Sequence[Classifier],
    methods: Sequence[str] = ("Grad-CAM",),
    *,
    tick: Callable[[], object] | None = None,
) -> list[Prediction]:
    """A prediction for each classifier and method, all methods of one classifier after another; a trunk runs once.

    Args:
        pixels: grey scan, uint8 (H, W).
        methods: names in `rcdnet.reading.heatmaps`.
        tick: called before every pass of a slow method; what it raises ends the work.

    Raises:
        HeatmapError: a map could not be computed. CheckpointError: a classifier gives no number.
    """
    predictions = []
    for classifier in classifiers:
        card, network = classifier.card, classifier.network
        x, frame = network_input(pixels, classifier)
        lesion, vote, score, no_lesion = None, 0.0, 0.0, False
        with torch.no_grad():
            if classifier.presence or classifier.decoder:
                features, levels = network.forward_intermediates(x)
            else:
                features, levels = network.forward_features(x), []
            if classifier.presence:
                no_lesion = not classifier.presence.sees_lesion(presence_features([m[0] for m in levels], frame))
            if classifier.decoder:
                lesions, votes = read_outline(classifier.decoder, levels)
                lesion, vote = lesions[0].numpy(), float(votes[0])
                score = shape_score(lesion, frame, card.calibration.box)
        for method in methods:
            logits, maps = class_activation_maps(network, x, features, method, tick=tick)
            evidence = float(logits[MALIGNANT] - logits[1 - MALIGNANT]), vote, score
            p_malignant = float(card.calibration.probability(*evidence))
            predictions.append(
                Prediction(
                    classifier.name,
                    classifier.title,
                    card.threshold,
                    card.threshold_rule,
                    np.array([1 - p_malignant, p_malignant]),
                    maps,
                    frame,
                    {part: float(value) for part, value in card.calibration.parts(*evidence).items()},
                    method,
                    lesion,
                    classifier.on_phantoms,
                    card.verdict,
                    no_lesion,
                    classifier.site.site if classifier.site else "",
                )
            )
    return predictions


def network_input(pixels: np.ndarray, classifier: Classifier) -> tuple[torch.Tensor, Letterbox]:
    """A grey scan, uint8 (H, W), as the classifier's network takes it, float (1, 1, S, S), and the way back."""
    spec = classifier.spec
    canvas, frame = prepare(pixels, spec.input_size)
    x = normalise(torch.from_numpy(canvas)[None, None].float() / 255, mean=spec.mean, std=spec.std)
    return x.contiguous(memory_format=torch.channels_last), frame
