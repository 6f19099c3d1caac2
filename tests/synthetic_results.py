"""Drawn results of all six models, as `python -m train ship` leaves them; no network ran, so nothing but their form is true."""

import hashlib
import json
import math
import shutil
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np
from conftest import ROOT
from scipy.special import expit

from rcdnet.models.calibration import Calibration
from rcdnet.models.card import Figures, ModelCard
from rcdnet.models.lesion_presence import PresenceCard, PresenceCards, PresenceCounts
from rcdnet.models.registry import CLASSES, MODELS
from rcdnet.reading.heatmaps import RANDOM_BASELINE
from rcdnet.scans import preprocessing
from train.evaluate.evaluation_record import (
    Evaluation,
    SetMetrics,
    metrics_by_source,
    read_evaluation,
    write_evaluation,
)
from train.evaluate.predictions import PredictionRow, write_predictions
from train.evaluate.verdicts import count_verdicts
from train.fit.events import Epoch, line_of
from train.metrics.calibration_and_threshold import OperatingPoint
from train.metrics.verdict_thresholds import conformal_thresholds, verdict_thresholds
from train.studies.heatmap_records import CENTRE, MAPS_FILE, PUBLISHED, SETTINGS_FILE, MapRow, add_rows, write_figures

ROLE = "validation: calibration was chosen here, and the threshold too"


def draw_rows(source: str, fold: int, skill: float, seed: int, images: int = 120) -> list[PredictionRow]:
    """Two views of each patient; the logits part the classes by `skill` deviations."""
    truth, model = np.random.default_rng([fold, images]), np.random.default_rng(seed)
    rows = []
    for k in range(images):
        label = int(k // 2 % 3 == 0)
        logit = float(model.normal(skill * (label - 0.4), 1))
        rows.append(
            PredictionRow(
                id=f"{source}/fold{fold}-{k:03d}", source=source, patient=f"{fold}-{k // 2}", group=fold * 1000 + k // 2,
                label=label, logit=logit, vote=0.0, score=0.0, probability=float(expit(logit)), birads=int(truth.integers(3, 6)),
                device=f"scanner {k % 2}", marks=bool(k % 3), lesion_share=float(truth.uniform(0.02, 0.5)),
                box_score=float(np.clip(truth.normal(0.3 + 0.3 * label, 0.2), 0, 1)), pointing=bool(model.random() < 0.8),
                dice=float(model.uniform(0.6, 0.9)) if skill > 1.6 else math.nan,
            )
        )  # fmt: skip
    return rows


def write_record(
    place: Path, model: str, rows: list[PredictionRow], weights: tuple[str, ...], role: str = ROLE
) -> Evaluation:
    """predictions.csv and evaluation.json, made by the engine from these rows."""
    place.mkdir(parents=True)
    others = draw_rows(rows[0].source, 77, 1.5, 3)  # choose the thresholds of the three answers
    labels, probabilities = np.array([row.label for row in others]), np.array([row.probability for row in others])
    point = OperatingPoint(
        Calibration(),
        0.31,
        "",
        (),
        verdict_thresholds(labels, probabilities),
        conformal_thresholds(labels, probabilities),
    )
    evaluation = Evaluation(
        model=model, weights_sha256=weights, epoch=3, calibration=Calibration(), threshold=0.31,
        threshold_rule="the threshold that found 95 % of the cancers on validation", chosen_on=(rows[0].source,),
        predictions_sha256=write_predictions(place / "predictions.csv", rows), left_out=(),
        sets=metrics_by_source(rows, 0.31, lambda source: role), verdict=point.verdict, conformal=point.conformal,
        verdict_counts=count_verdicts([(row, point) for row in rows], role),
    )  # fmt: skip
    write_evaluation(place / "evaluation.json", evaluation)
    return evaluation


def write_epochs(run: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    events = [
        Epoch(
            epoch=e, size=224, loss=0.7 * 0.95**e, added_loss=0.1, accuracy=0.6 + 0.01 * e, validation_loss=0.7 * 0.96**e,
            validation_accuracy=0.55 + 0.01 * e, validation_auc=0.6 + 0.01 * e + 0.01 * rng.random(), auc_by_source={},
            roc=None, best=True, learning_rate=1e-3, seconds=1.0, images_per_second=20.0, gpu_memory_mib=None,
        )
        for e in range(1, 21)
    ]  # fmt: skip
    (run / "events.jsonl").write_text("".join(map(line_of, events)))


def figures_of(s: SetMetrics, data: str, results: str, digest: str) -> Figures:
    auc = s.figures["auc"]
    return Figures(
        data=data, role=s.role, images=s.images, malignant=s.malignant, groups=s.groups, auc=auc.value,
        auc_interval=(auc.low, auc.high), auc_by_group=s.auc_by_group.value, sensitivity=s.figures["sensitivity"].value,
        specificity=s.figures["specificity"].value, ece=s.figures["ece"].value, results=results, predictions_sha256=digest,
    )  # fmt: skip


def draw_results(assets: Path) -> None:
    """`weights` and `results` below `assets`: RcdNet on two folds, the others on the second, RcdNet also across sites."""
    (assets / "weights").mkdir(parents=True)
    for number, model in enumerate(MODELS):
        weights = f"weights of {model}".encode()
        (assets / "weights" / f"{model}.safetensors").write_bytes(weights)
        digest = hashlib.sha256(weights).hexdigest()
        folds = (3, 4) if model == "rcdnet" else (4,)
        skill = 2.0 - 0.15 * number

        def rows_of(fold: int, skill: float = skill, number: int = number) -> list[PredictionRow]:
            return [
                row
                for source, n in (("busbra", 120), ("busi", 60))
                for row in draw_rows(source, fold, skill, 100 * number + fold + n, n)
            ]

        def traced(evaluation: Evaluation, results: str, which: str) -> tuple[Figures, ...]:
            titles = {"busbra": f"BUS-BRA, official {which}", "busi": f"BUSI, {which} of near-copies"}
            digest = evaluation.predictions_sha256
            return tuple(figures_of(s, titles[s.name], results, digest) for s in evaluation.sets)

        per_fold: tuple[Figures, ...] = ()
        for fold in folds:
            name = f"{model}-fold{fold}"
            evaluation = write_record(assets / "results" / name, model, rows_of(fold), (f"{fold}",))
            write_epochs(assets / "results" / name, number)
            per_fold += traced(evaluation, name, f"fold {fold}")
        if len(folds) == 1:
            shutil.copytree(assets / "results" / name, assets / "results" / f"{model}-folds")
        else:
            pooled = [row for fold in folds for row in rows_of(fold)]
            evaluation = write_record(assets / "results" / f"{model}-folds", model, pooled, tuple(map(str, folds)))
        validation = traced(evaluation, f"{model}-folds", "folds 3, 4" if len(folds) > 1 else "fold 4")
        seeds: tuple[Figures, ...] = ()
        cross: tuple[Figures, ...] = ()
        if model == "rcdnet":
            place = "rcdnet-seed1-folds"
            pooled = [row for fold in folds for row in rows_of(fold, skill - 0.2, 50)]
            anew = write_record(assets / "results" / place, model, pooled, ("1 of seed 1", "2 of seed 1"))
            seeds = traced(anew, place, "folds 3, 4, seed 1")
            place = "rcdnet-busbra/external/busi"
            abroad = draw_rows("busi", 9, 1.8, 7)
            tested = write_record(
                assets / "results" / place, model, abroad, ("abroad",), "external: nothing was chosen here"
            )
            cross = (
                figures_of(tested.sets[0], "trained on BUS-BRA, tested on BUSI", place, tested.predictions_sha256),
            )
        card = ModelCard(
            model=model, classes=CLASSES, input_size=224, preprocessing=preprocessing.VERSION, threshold=0.31,
            threshold_rule=evaluation.threshold_rule, validation=validation, trained_on="drawn numbers",
            training_command=f"python -m train fit --model {model}", split_sha256="0" * 64, date="2026-01-01",
            known_failures=("It never saw a scan.",), sha256=digest, calibration=Calibration(network=0.9), folds=per_fold,
            seeds=seeds, cross_site=cross,
            recipe={"model": model, "epochs": 20 if number else 30, "start_size": 128, "end_size": 192}, run=model,
        )  # fmt: skip
        (assets / "weights" / f"{model}.json").write_text(card.to_json())
    draw_presence(assets / "weights")
    draw_study(assets / "results")


def draw_presence(weights: Path) -> None:
    """What is known of scans without a lesion, of the drawn weights; without the arrays that a network would be asked by."""
    cards = [ModelCard.parse(weights / f"{model}.json") for model in MODELS]
    counts = PresenceCounts("BUSI", 400, 392, 100, 70), PresenceCounts("BUSI", 400, 396, 100, 20)
    found = tuple(PresenceCard(card.model, card.sha256, 0.0, counts[:1], counts[1:]) for card in cards)
    text = json.dumps(asdict(PresenceCards(found, 0.98, ("BUSI",), "2026-01-01", "0" * 64)))
    (weights / "lesion_presence.json").write_text(text)


def draw_study(results: Path) -> None:
    """Figures of drawn heatmaps of the fold that all models share."""
    place, rng = results / PUBLISHED, np.random.default_rng(5)
    place.mkdir()
    runs = [f"{model}-fold4" for model in MODELS]
    weights = {run: read_evaluation(results / run / "evaluation.json").weights_sha256[0] for run in runs}
    (place / SETTINGS_FILE).write_text(json.dumps({"weights": weights}))
    for model, source, method in product(MODELS, ("busbra", "busi"), ("Grad-CAM", "EigenCAM", RANDOM_BASELINE, CENTRE)):
        add_rows(place / MAPS_FILE, [
            MapRow(
                f"{model}-fold4", model, False, source, f"{source}/{k}", k // 2, k % 2, 0.5, method, bool(rng.random() < 0.7),
                *rng.uniform(0.1, 0.9, 7).tolist(), *(rng.uniform(0.1, 0.9, 4).tolist() if k < 6 and method != CENTRE else ()),
            )
            for k in range(20)
        ])  # fmt: skip
    write_figures(place / MAPS_FILE)


def app_tree(place: Path) -> Path:
    """A copy of the app with drawn results in place of the shipped ones."""
    for name in ("pages", "rcdnet", "train", ".streamlit"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", place)
    shutil.copytree(ROOT / "assets", place / "assets", ignore=shutil.ignore_patterns("weights", "results"))
    draw_results(place / "assets")
    for path in (ROOT / "assets" / "weights").glob("input_check.*"):
        shutil.copy(path, place / "assets" / "weights")
    return place


def draw_own_test(tree: Path, name: str = "our-clinic") -> Evaluation:
    """An external test of the bundled RcdNet on a user's own folder."""
    digest = hashlib.sha256((tree / "assets" / "weights" / "rcdnet.safetensors").read_bytes()).hexdigest()
    rows = [replace(row, birads=None, device=None) for row in draw_rows("folder", 8, 1.5, 3, 80)]
    place = tree / "runs" / "bundled-rcdnet" / "external" / name
    return write_record(place, "rcdnet", rows, (digest,), "external: nothing was chosen here")
