"""Parts of a scan as training views: with the whole lesion, or with none.

Lesion images hold much breast without a lesion. Shown alone, such a part would betray itself by being a part, or by its size. So a size
is used only where the scan has both a part of that size with the lesion and one without, and a coin says which is shown.
"""

import torch
from torch.nn import functional as F

GRID = 56  # cells a side in which lesions are counted
WHOLE = 0.98  # share of a lesion that counts as all of it
MARGIN = 1  # cells around a part without a lesion that are free of it too


def choose_lesion_crops(
    theta: torch.Tensor,
    lesions: torch.Tensor,
    content: torch.Tensor,
    sizes: torch.Tensor,
    places: torch.Tensor,
    wanted: torch.Tensor,
    sides: tuple[float, float],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The views `theta`, float (N, 2, 3) of `affine_grid`, with those replaced that are to show a part of the scan.

    Args:
        lesions: (N, S, S), not 0 inside the lesion.
        content: float (N, 4), left, top, right and bottom of the scan on its canvas, which reaches from -1 to 1.
        sizes: float (N,) in 0..1, side of the part. places: float (N, K, 2) in 0..1, of which the first that fits is taken.
        wanted: (N,), 1 for a part that holds the whole lesion, 2 for one that holds none, 0 for neither.
        sides: smallest and largest side of a part, as shares of the shorter side of the scan.

    Returns:
        the views, and bool (N,): which were replaced. Where either kind has no place, or nothing is outlined, the view stays.
    """
    left, top, right, bottom = content[:, None].unbind(dim=2)
    shorter = torch.minimum(right - left, bottom - top)
    side = (sides[0] + sizes[:, None] * (sides[1] - sides[0])) * shorter / 2  # half of it
    x = left + side + places[..., 0] * (right - left - 2 * side)
    y = top + side + places[..., 1] * (bottom - top - 2 * side)

    cells = F.adaptive_avg_pool2d((lesions != 0).unsqueeze(1).float(), GRID)[:, 0]
    total = cells.sum(dim=(1, 2))[:, None]
    sums = F.pad(cells.cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0))

    def held(margin: int) -> torch.Tensor:
        def cell(place: torch.Tensor, more: int) -> torch.Tensor:
            return (((place + 1) / 2 * GRID).round().long() + more).clamp(0, GRID)

        x0, x1, y0, y1 = (
            cell(x - side, -margin),
            cell(x + side, margin),
            cell(y - side, -margin),
            cell(y + side, margin),
        )
        row = torch.arange(len(cells), device=cells.device)[:, None]
        return sums[row, y1, x1] - sums[row, y0, x1] - sums[row, y1, x0] + sums[row, y0, x0]

    whole, none = held(0) >= WHOLE * total, held(MARGIN) <= 0
    taken = (total[:, 0] > 0) & (wanted > 0) & whole.any(dim=1) & none.any(dim=1)
    first = torch.where(wanted[:, None] == 1, whole, none).float().argmax(dim=1)
    row = torch.arange(len(theta), device=theta.device)
    side, x, y = side[:, 0], x[row, first], y[row, first]
    mirror = theta[:, 0, 0].sign()  # as it was drawn for the whole view; turns are below a right angle
    nothing = torch.zeros_like(side)
    part = torch.stack([torch.stack([side * mirror, nothing, x], dim=1), torch.stack([nothing, side, y], dim=1)], dim=1)
    return torch.where(taken[:, None, None], part, theta), taken
