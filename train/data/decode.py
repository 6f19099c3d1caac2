"""Every image of a run read once: canvas and lesion for the network, fingerprint for the split."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from rcdnet.errors import DatasetError, ImageError
from rcdnet.images import bytes_of, orientation_of, read_mask, read_scan
from rcdnet.preprocessing import Frame, letterbox, prepare
from train.data.duplicates import Fingerprint, fingerprint
from train.data.sources import Sample

T = TypeVar("T")


@dataclass(frozen=True)
class Decoded:
    """Samples and, row by row, what was read of them.

    canvases: uint8 (N, S, S) as `rcdnet.preprocessing.prepare` makes them.
    lesions: uint8 (N, S, S), 1 inside the lesion on the same pixels; all 0 where `masked` is false.
    frames: where each image lies on its canvas. masked: bool (N,), whether the lesion is known; an empty mask does not know it.
    skipped: a sentence for each sample that could not be read.
    """

    samples: tuple[Sample, ...]
    canvases: np.ndarray = field(repr=False)
    lesions: np.ndarray = field(repr=False)
    frames: tuple[Frame, ...] = field(repr=False)
    masked: np.ndarray = field(repr=False)
    fingerprints: tuple[Fingerprint, ...] = field(repr=False)
    skipped: tuple[str, ...]

    @property
    def suspicion(self) -> np.ndarray:
        """float32 (N,): the radiologist's BI-RADS category, 0 for 2 and 1 for 5; nan where it is not known."""
        return np.array([np.nan if s.birads is None else (s.birads - 2) / 3 for s in self.samples], np.float32).clip(
            0, 1
        )

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,), indices into `CLASSES`."""
        return np.array([sample.label for sample in self.samples], np.int64)

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """int64: the row of each id; `DatasetError` names the first one that is not there."""
        row = {sample.id: index for index, sample in enumerate(self.samples)}
        if gone := [i for i in ids if i not in row]:
            raise DatasetError(
                f"{len(gone)} images of the split are not in the data, {gone[0]} first. Put them back where config.json "
                "says the data lies, or begin a new run."
            )
        return np.array([row[i] for i in ids], np.int64)


def decode(samples: Sequence[Sample], size: int, *, skip_broken: bool = False) -> Decoded:
    """Read all samples at `size` pixels, several at a time.

    Raises:
        DatasetError: a file is missing, damaged or does not fit its mask, unless `skip_broken`.
    """
    count = len(samples)
    canvases, lesions = np.empty((count, size, size), np.uint8), np.zeros((count, size, size), np.uint8)
    kept: list[Sample] = []
    frames: list[Frame] = []
    fingerprints: list[Fingerprint] = []
    skipped: list[str] = []
    for sample, read in _each(samples, lambda s: _read(s, size)):
        if isinstance(read, DatasetError):
            if not skip_broken:
                raise read
            skipped.append(str(read))
            continue
        row = len(kept)
        canvases[row], lesions[row] = read[0], read[1]
        kept.append(sample)
        frames.append(read[2])
        fingerprints.append(read[3])
    rows = len(kept)
    if not rows:
        raise DatasetError(f"None of {count} images can be read. The first: {skipped[0]}")
    return Decoded(
        samples=tuple(kept),
        canvases=canvases[:rows],
        lesions=lesions[:rows],
        frames=tuple(frames),
        masked=np.array(lesions[:rows].any(axis=(1, 2))),
        fingerprints=tuple(fingerprints),
        skipped=tuple(skipped),
    )


def read_pixels(sample: Sample) -> np.ndarray:
    """The sample's grey image, uint8 (H, W), read exactly as an upload is; `DatasetError` names a file that is broken."""
    try:
        return read_scan(bytes_of(sample.path)).pixels
    except OSError as error:
        raise DatasetError(
            f"{sample.id}: {sample.path.name} cannot be opened ({error.strerror}). Put it back."
        ) from error
    except ImageError as error:
        raise DatasetError(f"{sample.id}: {error} Repair the file or leave it out.") from error


def read_lesion(sample: Sample, shape: tuple[int, int]) -> np.ndarray:
    """The union of the sample's masks on the image's own pixels, bool (H, W); the ellipse in its box where it has no mask.

    Raises:
        DatasetError: a mask is missing, or `rcdnet.images.read_mask` refuses it; or it is not known which way up a mask or box was
            drawn on an image that its EXIF orientation turns.
    """
    lesion = np.zeros(shape, bool)
    if not sample.masks and not sample.box:
        return lesion
    try:
        turn = orientation_of(bytes_of(sample.path))
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
            lesion |= read_mask(bytes_of(path), shape, may_be_empty=True, scan_orientation=turn)
        except OSError as error:
            raise DatasetError(f"The mask {path.name} cannot be opened ({error.strerror}). Put it back.") from error
        except ImageError as error:
            raise DatasetError(f"{path.name}: {error} Repair the mask, or leave the pair out.") from error
    return lesion


def iterate_pixels(samples: Sequence[Sample]) -> Iterator[tuple[Sample, np.ndarray | DatasetError]]:
    """Each sample with its pixels, or with the reason why there are none; several are read at a time."""
    return _each(samples, read_pixels)


def _read(sample: Sample, size: int) -> tuple[np.ndarray, np.ndarray, Frame, Fingerprint]:
    pixels = read_pixels(sample)
    canvas, frame = prepare(pixels, size)
    mask = read_lesion(sample, pixels.shape)
    return canvas, letterbox(mask.astype(np.uint8) * 255, frame, nearest=True) > 127, frame, fingerprint(pixels)


def _each(samples: Sequence[Sample], read: Callable[[Sample], T]) -> Iterator[tuple[Sample, T | DatasetError]]:
    def attempt(sample: Sample) -> T | DatasetError:
        try:
            return read(sample)
        except DatasetError as error:
            return error

    with ThreadPoolExecutor() as pool:
        yield from zip(samples, pool.map(attempt, samples), strict=True)
