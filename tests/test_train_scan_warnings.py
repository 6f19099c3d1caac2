"""What is warned of an upload is said of a data set: by the audit, a run, an evaluation and the page's form."""

import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, copied
from PIL import Image

from rcdnet.models.registry import CLASSES
from train.__main__ import main
from train.config import TrainConfig
from train.data import load_images as decoding
from train.data.audit import audit, summaries
from train.data.custom_dataset import read_folder
from train.data.load_images import decode, iterate_parallel
from train.data.sample import Sample
from train.data.scan_warnings import summarise_warnings
from train.evaluate.evaluation_record import read_evaluation
from train.results.bundle import Result
from train.results.tables import roles
from train.runs.start_and_resume import start

COLOUR = "This image contains colour, like a Doppler or elastography overlay. Do not trust this call."
SHORTCUT = "a network can learn it instead of the lesion"


def scans(benign: int, malignant: int) -> list[Sample]:
    counts = zip(CLASSES, (benign, malignant), strict=True)
    return [Sample(f"set/{name}/{k}", "set", Path(), CLASSES.index(name)) for name, n in counts for k in range(n)]


@pytest.mark.parametrize(
    ("benign", "malignant", "shortcut"),
    [(0, 10, True), (0, 1, True), (1, 9, True), (10, 10, False), (3, 5, False), (7, 0, True)],
)
def test_what_marks_one_class_is_called_a_shortcut(benign, malignant, shortcut):
    samples = scans(10, 10)
    warned = [(COLOUR,) if int(s.id.rsplit("/")[-1]) < (benign, malignant)[s.label] else () for s in samples]
    (remark,) = summarise_warnings(samples, warned)
    assert remark.startswith(
        f"set: {benign + malignant} of 20 images ({benign} of 10 benign, {malignant} of 10 malignant), set/"
    )
    assert "This image contains colour, like a Doppler or elastography overlay." in remark
    assert "this call" not in remark
    assert (SHORTCUT in remark) == shortcut


def test_warnings_are_counted_by_kind_and_source():
    samples = [Sample(f"{source}/{k}", source, Path(), k % 2) for source in ("a", "b") for k in range(4)]
    warned = [(f"The brightest sample is {k}. Export it.", *((COLOUR,) if k < 2 else ())) for k in range(8)]
    assert [remark.partition(")")[0] for remark in summarise_warnings(samples, warned)] == [
        "a: 4 of 4 images (2 of 2 benign, 2 of 2 malignant", "a: 2 of 4 images (1 of 2 benign, 1 of 2 malignant",
        "b: 4 of 4 images (2 of 2 benign, 2 of 2 malignant",
    ]  # fmt: skip
    assert summarise_warnings(samples, [()] * 8) == ()
    # One class alone has nothing to be told apart from
    assert SHORTCUT not in "".join(summarise_warnings(samples[:1], [(COLOUR,)]))


@pytest.fixture
def doppler(busi, tmp_path) -> Path:
    """Phantoms of which the malignant carry colour, and two benign are nearly black."""
    folder = copied(busi, tmp_path / "doppler")
    for path in folder.glob("malignant/*).png"):
        pixels = np.dstack([np.asarray(Image.open(path))] * 3)
        pixels[40:100, 40:140] = (220, 30, 20)
        Image.fromarray(pixels).save(path)
    for number in (1, 2):
        path = folder / "benign" / f"benign ({number}).png"
        Image.fromarray(np.asarray(Image.open(path)) // 16).save(path)
    return folder


def test_the_audit_and_the_form_say_it(doppler, capsys):
    (finding,) = audit(read_folder(doppler))
    assert [SHORTCUT in remark for remark in finding.remarks] == [True, True]
    assert (
        "doppler: 2 of 24 images (2 of 12 benign, 0 of 12 malignant), doppler/benign/benign (1).png first: At least 99 %"
        in finding.remarks[0]
    )
    assert "12 of 24 images (0 of 12 benign, 12 of 12 malignant)" in finding.remarks[1]
    assert all(remark in summaries(read_folder(doppler))[0] for remark in finding.remarks)
    assert main(["audit", "--data", f"folder={doppler}"]) == 0
    assert all(f"  {remark}\n" in capsys.readouterr().out for remark in finding.remarks[:1])


def test_a_run_and_its_evaluation_say_it(doppler, tmp_path, capsys):
    message: list[str] = []
    config = TrainConfig(**SMALL | {"start_size": 32, "end_size": 32}, epochs=1, data=(("folder", str(doppler)),))
    start(config, tmp_path / "run", say=message.append)
    remarks = decode(read_folder(doppler), 64).remarks
    assert len(remarks) == 2
    assert set(remarks) <= set(message)
    assert all(remark in (tmp_path / "run" / "log.txt").read_text() for remark in remarks)
    evaluation = read_evaluation(tmp_path / "run" / "evaluation.json")
    assert evaluation.remarks == remarks
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert all(remark in capsys.readouterr().out for remark in remarks[:1])
    result = Result("a", "rcdnet", "b", evaluation.sets[0], (), "", remarks=remarks)
    assert all(remark in roles([result, result]) for remark in remarks)


def test_no_more_is_read_ahead_than_a_few(monkeypatch):
    """All of a data set was, and waited in memory for whoever looks at it."""
    monkeypatch.setattr(decoding, "_READERS", 2)
    monkeypatch.setattr(decoding, "_AHEAD", 3)
    begun, lock = [], threading.Lock()

    def read(sample: Sample) -> int:
        with lock:
            begun.append(sample)
            return len(begun)

    samples = scans(50, 50)
    for taken, (sample, _) in enumerate(iterate_parallel(samples, read), 1):
        assert sample is samples[taken - 1]
        assert len(begun) <= taken + 3
    assert len(begun) == 100
    reading = iterate_parallel(samples, read)
    next(reading)
    reading.close()  # whoever leaves early waits for a few, not for all
    assert len(begun) <= 100 + 4
