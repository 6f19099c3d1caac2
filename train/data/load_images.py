"""Every image of a run read once: canvas and lesion for the network, fingerprint for the split."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from rcdnet.errors import DatasetError, ImageError
from rcdnet.scans.preprocessing import Letterbox, letterbox, prepare
from rcdnet.scans.scan_and_mask import Scan, orientation_of, read_bytes, read_mask, read_scan
from train.data.csv_tables import missing_file_hint
from train.data.duplicates import Fingerprint, fingerprint
from train.data.labels import NO_LESION, NORMAL
from train.data.sample import Sample
from train.data.scan_warnings import summarise_warnings

T = TypeVar("T")
# Images read at a time; while it is decoded, each takes several times its pixels
_READERS = min(os.cpu_count() or 1, 8)
_AHEAD = _READERS + 1  # images that may be read before anybody asks for them: memory does not grow with the data


@dataclass(frozen=True)
class Decoded:
    """Samples and, row by row, what was read of them.

    canvases: uint8 (N, S, S) as `rcdnet.scans.preprocessing.prepare` makes them.
    lesions: uint8 (N, S, S), 1 inside the lesion on the same pixels; all 0 where `masked` is false.
    frames: where each image lies on its canvas. masked: bool (N,), whether it is known where the lesion is, or that there is none; an
        empty mask of a scan with a lesion does not know it.
    contents: SHA-256 of each image's file and, over their own digests, of its masks' files; empty without masks.
    remarks: what was warned of while reading. skipped: a sentence for each sample that could not be read.
    """

    samples: tuple[Sample, ...]
    canvases: np.ndarray = field(repr=False)
    lesions: np.ndarray = field(repr=False)
    frames: tuple[Letterbox, ...] = field(repr=False)
    masked: np.ndarray = field(repr=False)
    fingerprints: tuple[Fingerprint, ...] = field(repr=False)
    contents: tuple[tuple[str, str], ...] = field(repr=False)
    remarks: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def suspicion(self) -> np.ndarray:
        """float32 (N,): the radiologist's BI-RADS category, 0 for 2 and 1 for 5; nan where it is not known."""
        return np.array([np.nan if s.birads is None else (s.birads - 2) / 3 for s in self.samples], np.float32).clip(
            0, 1
        )

    @property
    def content(self) -> np.ndarray:
        """float32 (N, 4): left, top, right and bottom of each scan on its canvas, which reaches from -1 to 1."""
        corners = [(f.left, f.top, f.left + f.width, f.top + f.height) for f in self.frames]
        sizes = np.array([[f.size] for f in self.frames], np.float32)
        return np.array(corners, np.float32) / sizes * 2 - 1

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,), indices into `CLASSES`, or `NO_LESION`."""
        return np.array([sample.label for sample in self.samples], np.int64)

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """int64: the row of each id; `DatasetError` names the first one that is not there."""
        row = {sample.id: index for index, sample in enumerate(self.samples)}
        if gone := [i for i in ids if i not in row]:
            raise DatasetError(
                f"{len(gone)} images of the split are missing from the data, such as {gone[0]}. Put them back where config.json "
                "says the data lies, or begin a new run."
            )
        return np.array([row[i] for i in ids], np.int64)

    def rows_of_lesions(self, ids: Sequence[str]) -> np.ndarray:
        """As `rows_of`, without the scans that hold no lesion: figures are of calls, and there is none to make of them."""
        rows = self.rows_of(ids)
        return rows[self.labels[rows] != NO_LESION]


def decode(samples: Sequence[Sample], size: int, *, skip_broken: bool = False) -> Decoded:
    """Read all samples at `size` pixels, several at a time.

    Raises:
        DatasetError: a file is missing, damaged or does not fit its mask, unless `skip_broken`.
    """
    count = len(samples)
    canvases, lesions = np.empty((count, size, size), np.uint8), np.zeros((count, size, size), np.uint8)
    kept: list[Sample] = []
    read_of: list[_Reading] = []
    skipped: list[str] = []
    for sample, read in iterate_parallel(samples, lambda s: _read(s, size)):
        if isinstance(read, DatasetError):
            if not skip_broken:
                raise read
            skipped.append(str(read))
            continue
        canvases[len(kept)], lesions[len(kept)], reading = read
        kept.append(sample)
        read_of.append(reading)
    rows = len(kept)
    if not rows:
        raise DatasetError(f"None of {count} images can be read. The first: {skipped[0]}")
    return Decoded(
        samples=tuple(kept),
        canvases=canvases[:rows],
        lesions=lesions[:rows],
        frames=tuple(reading.frame for reading in read_of),
        masked=lesions[:rows].any(axis=(1, 2)) | np.array([sample.label == NO_LESION for sample in kept]),
        fingerprints=tuple(reading.fingerprint for reading in read_of),
        contents=tuple(reading.contents for reading in read_of),
        remarks=summarise_warnings(kept, [reading.warnings for reading in read_of]),
        skipped=tuple(skipped),
    )


def load_scan(sample: Sample) -> Scan:
    """The sample's image, read exactly as an upload is; `DatasetError` names a file that is broken."""
    try:
        return read_scan(read_bytes(sample.path))
    except FileNotFoundError as error:
        raise DatasetError(f"{sample.id}: {sample.path} is not there. {missing_file_hint(sample.path)}") from error
    except OSError as error:
        raise DatasetError(
            f"{sample.id}: {sample.path.name} cannot be opened ({error.strerror}). Put it back."
        ) from error
    except ImageError as error:
        raise DatasetError(f"{sample.id}: {error} Repair the file or leave it out.") from error


def read_pixels(sample: Sample) -> np.ndarray:
    """The sample's grey image, uint8 (H, W); raises as `load_scan`."""
    return load_scan(sample).pixels


def read_lesion(sample: Sample, shape: tuple[int, int], turn: int | None = None) -> np.ndarray:
    """The union of the sample's masks on the image's own pixels, bool (H, W); the ellipse in its box where it has no mask.

    turn: the image's `Scan.orientation`, looked up in its file where it is not given.

    Raises:
        DatasetError: a mask is missing, or `rcdnet.scans.scan_and_mask.read_mask` refuses it; or it is not known which way up a mask or
            box was drawn on an image that its EXIF orientation turns.
    """
    lesion = np.zeros(shape, bool)
    if not sample.masks and not sample.box:
        return lesion
    try:
        turn = turn or orientation_of(read_bytes(sample.path))
    except (OSError, ImageError) as error:
        raise DatasetError(f"{sample.id}: {sample.path.name} cannot be read: {error}") from error
    if not sample.masks and sample.box:
        if turn != 1:
            raise DatasetError(
                f"{sample.id}: the image has EXIF orientation {turn}, so it is not known which way up its box was drawn. "
                "Save the image upright, without an EXIF orientation, and check that the box lies on its lesion."
            )
        x, y, width, height = sample.box
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        across, down = (columns + 0.5 - x - width / 2) / (width / 2), (rows + 0.5 - y - height / 2) / (height / 2)
        return across**2 + down**2 <= 1
    for path in sample.masks:
        try:
            lesion |= read_mask(read_bytes(path), shape, may_be_empty=True, scan_orientation=turn)
        except OSError as error:
            raise DatasetError(f"The mask {path.name} cannot be opened ({error.strerror}). Put it back.") from error
        except ImageError as error:
            raise DatasetError(f"{path.name}: {error} Repair the mask, or leave the pair out.") from error
    return lesion


def iterate_pixels(samples: Sequence[Sample]) -> Iterator[tuple[Sample, np.ndarray | DatasetError]]:
    """Each sample with its pixels, or with the reason why there are none; several are read at a time."""
    return iterate_parallel(samples, read_pixels)


def iterate_parallel(
    samples: Sequence[Sample], read: Callable[[Sample], T]
) -> Iterator[tuple[Sample, T | DatasetError]]:
    """Each sample with what `read` makes of it, or with the reason why it cannot; a few are read ahead, in threads."""

    def attempt(sample: Sample) -> T | DatasetError:
        try:
            return read(sample)
        except DatasetError as error:
            return error

    ahead: deque[tuple[Sample, Future[T | DatasetError]]] = deque()
    with ThreadPoolExecutor(_READERS) as pool:
        for sample in samples:
            ahead.append((sample, pool.submit(attempt, sample)))
            if len(ahead) > _AHEAD:
                yield _waited(*ahead.popleft())
        while ahead:
            yield _waited(*ahead.popleft())


def _waited(sample: Sample, future: Future[T]) -> tuple[Sample, T]:
    return sample, future.result()


@dataclass(frozen=True)
class _Reading:
    """What is kept of an image beside its pixels."""

    frame: Letterbox
    fingerprint: Fingerprint
    contents: tuple[str, str]
    warnings: tuple[str, ...]


def _read(sample: Sample, size: int) -> tuple[np.ndarray, np.ndarray, _Reading]:
    scan = load_scan(sample)
    canvas, frame = prepare(scan.pixels, size)
    mask = read_lesion(sample, scan.pixels.shape, scan.orientation)
    if sample.label == NO_LESION and mask.any():
        raise DatasetError(
            f"{sample.id} is labelled {NORMAL}, but its mask outlines a lesion. Correct one of them, or leave the pair out."
        )
    lesion = letterbox(mask.astype(np.uint8) * 255, frame, nearest=True) > 127
    contents = scan.sha256, _digest(sample.masks)
    return canvas, lesion, _Reading(frame, fingerprint(scan.pixels), contents, scan.warnings)


def _digest(files: Sequence[Path]) -> str:
    """SHA-256 over the digests of files, in any order, that were just read; empty without any."""
    whole = sorted(hashlib.sha256(read_bytes(path)).hexdigest() for path in files)
    return hashlib.sha256("".join(whole).encode()).hexdigest() if whole else ""
