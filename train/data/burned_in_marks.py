"""Burned-in text and measuring calipers, found by their strokes; a detector by rule, right on most scans and not on all."""

from dataclasses import dataclass

import cv2
import numpy as np

# (brighter than its surroundings by, bright at least), grey levels. The first finds marks on dark scans, where the second
# finds none; on bright scans the first joins calipers with tissue.
_LEVELS = ((50, 95), (80, 120))
_STROKE_PX = 5  # a stroke is narrower than this
_LETTER_PX = (5, 26)  # height
_CALIPER_PX = (7, 23)  # side


@dataclass(frozen=True)
class BurnedInMarks:
    """What was found in a scan."""

    text: bool
    calipers: bool

    def __bool__(self) -> bool:
        return self.text or self.calipers


def find_burned_in_marks(image: np.ndarray) -> BurnedInMarks:
    """Text of three letters or more, and crosses of calipers, in a grey scan uint8 (H, W)."""
    hat = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, np.ones((_STROKE_PX, _STROKE_PX), np.uint8))
    text = calipers = False
    for above, bright in _LEVELS:
        strokes = ((hat > above) & (image > bright)).astype(np.uint8)
        _, parts, boxes, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
        text = text or _has_word(boxes[1:])
        calipers = calipers or _has_cross(parts, boxes)
    return BurnedInMarks(text, calipers)


def _has_word(boxes: np.ndarray) -> bool:
    """Whether three letters of one height stand side by side on one line."""
    x, y, width, height, area = boxes.T
    letter = (height >= _LETTER_PX[0]) & (height <= _LETTER_PX[1]) & (width <= 1.6 * height) & (area >= 5)
    letters = sorted(map(tuple, boxes[letter][:, :4].tolist()))
    for index, (left, top, first_width, tall) in enumerate(letters):
        right, count = left + first_width, 1
        for x, y, width, height in letters[index + 1 :]:
            if x - right > 0.9 * tall:
                break
            if x >= right - 1 and abs(y - top) <= 2 and abs(height - tall) <= 2:
                right, count = x + width, count + 1
        if count >= 3:
            return True
    return False


def _has_cross(parts: np.ndarray, boxes: np.ndarray) -> bool:
    """Whether one part is an upright or a slanted cross and nothing else."""
    low, high = _CALIPER_PX
    for number in range(1, len(boxes)):
        x, y, width, height, _ = boxes[number]
        if not (low <= width <= high and low <= height <= high and abs(width - height) <= 2):
            continue
        part = parts[y : y + height, x : x + width] == number
        rows, columns = np.mgrid[:height, :width]
        down, across = rows - (height - 1) / 2, columns - (width - 1) / 2
        upright = (np.abs(down) <= 1) | (np.abs(across) <= 1)
        slanted = (np.abs(down - across) <= 1.5) | (np.abs(down + across) <= 1.5)
        for arms in (upright, slanted):
            if part[arms].sum() >= 0.9 * part.sum() and part[arms].mean() >= 0.3:
                return True
    return False
