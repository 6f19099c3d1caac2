"""Augmentation: what is moved, framed, marked and cut out, and that lesions go along."""

import numpy as np
import torch

from train.config import TrainConfig
from train.fit.augment import WINDOW, augment, sample_params
from train.fit.lesion_crops import choose_lesion_crops


def test_augmentation_moves_image_and_mask_together_and_never_upside_down():
    config = TrainConfig(init="random", crop=0.8, rotation=11, scale=0.2, gamma=1.5, gain=0.2, noise=0.03, softened=1.0)
    moves = sample_params(config, 64, 64, torch.Generator().manual_seed(0), np.random.default_rng(0))
    canvases = torch.zeros(64, 96, 96, dtype=torch.uint8)
    canvases[:, 24:40, 40:60] = 200
    grey, lesions, _ = augment(canvases, (canvases > 0).to(torch.uint8), None, 64, moves)
    assert grey.shape == lesions.shape == (64, 1, 64, 64)
    assert grey.min() >= 0
    assert grey.max() <= 1
    for picture, lesion in zip(grey, lesions, strict=True):
        assert picture[lesion > 0].mean() > picture[lesion == 0].mean() + 0.3
        assert torch.nonzero(lesion[0])[:, 0].float().mean() < 32  # what lies in the upper half stays there
    assert len({round(float(p.mean()), 4) for p in grey}) > 50
    some = torch.tensor([3, 40])
    part, _, _ = augment(canvases[some], None, None, 64, moves.of(some))
    torch.testing.assert_close(part, grey[some])


def test_a_rectangle_is_painted_over_in_as_many_images_as_asked_and_the_lesion_stays():
    config = TrainConfig(init="random", crop=1.0, flip=0.0, rotation=0.0, scale=0.0, erase=0.5)
    canvases = torch.full((400, 64, 64), 255, dtype=torch.uint8)
    lesions = torch.ones(400, 64, 64, dtype=torch.uint8)
    moves = sample_params(config, 400, 64, torch.Generator().manual_seed(0), np.random.default_rng(0))
    grey, inside, _ = augment(canvases, lesions, None, 64, moves)
    painted = grey[:, 0] < 0.99
    share = painted.flatten(1).float().mean(dim=1)
    assert 0.4 < (share > 0).float().mean() < 0.6
    assert share.max() <= 0.36**2
    assert share[share > 0].min() >= 0.08**2
    assert (inside == 1).all()
    one = painted[share.argmax()]
    rows, columns = one.any(dim=1), one.any(dim=0)
    assert torch.equal(one, rows[:, None] & columns[None])  # one rectangle


def test_without_augmentation_an_image_stays_as_it_is():
    config = TrainConfig(init="random", crop=1.0, rotation=0, scale=0, flip=0)
    moves = sample_params(config, 2, 64, torch.Generator().manual_seed(0), np.random.default_rng(0))
    canvases = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8)
    grey, lesions, _ = augment(canvases, None, None, 64, moves)
    torch.testing.assert_close(grey[:, 0], canvases / 255, atol=1e-4, rtol=0)
    assert lesions is None


def _lesion(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey scans uint8 (N, 96, 96) with a bright lesion in the upper left, and their masks."""
    canvases = torch.full((count, 96, 96), 80, dtype=torch.uint8)
    canvases[:, 20:36, 16:40] = 200
    return canvases, (canvases > 100).to(torch.uint8)


def test_windows_hold_the_whole_lesion_or_none_and_are_as_large_either_way():
    config = TrainConfig(init="random", crop=1.0, rotation=0, scale=0, windows=1.0, mask_weight=1.0)
    moves = sample_params(config, 400, 64, torch.Generator().manual_seed(0), np.random.default_rng(0))
    canvases, masks = _lesion(400)
    theta, taken = choose_lesion_crops(
        moves.theta,
        masks,
        torch.tensor([[-1.0, -1, 1, 1]]).repeat(400, 1),
        moves.sizes,
        moves.places,
        moves.wanted,
        WINDOW,
    )
    views = augment(canvases, masks, None, 64, moves)
    whole, none = taken & (moves.wanted == 1), taken & (moves.wanted == 2)
    assert min(whole.sum(), none.sum()) > 60
    assert views.left[whole].min() > 0.9
    assert views.left[none].max() == 0
    assert views.lesions[none].sum() == 0
    sides = theta[:, 1, 1]
    assert abs(sides[whole].mean() - sides[none].mean()) < 0.02
    assert ((sides[taken] * 2 >= WINDOW[0] * 2 - 1e-4) & (sides[taken] <= WINDOW[1])).all()
    shown = theta[taken][:, :, 2].abs() + sides[taken][:, None]
    assert shown.max() <= 1 + 1e-4  # never beyond the scan


def test_a_framed_scan_is_whole_on_a_plain_or_written_surface():
    config = TrainConfig(init="random", crop=1.0, rotation=20, scale=0, flip=0, framed=1.0)
    canvases, masks = _lesion(32)
    canvases[:, :12], canvases[:, -12:] = 0, 0  # a wide scan, with the margin of its canvas
    content = torch.tensor([[-1.0, -0.75, 1.0, 0.75]]).repeat(32, 1)
    moves = sample_params(config, 32, 64, torch.Generator().manual_seed(0), np.random.default_rng(0))
    views = augment(canvases, masks, content, 64, moves)
    assert views.left.min() > 0.8  # counted in the pixels of a smaller picture
    for grey, (level, ink, _) in zip(views.grey[:, 0], moves.framed, strict=True):
        scan = (grey > 80 / 255 - 0.02) & ((grey - level).abs() > 1e-3) & ((grey - ink).abs() > 1e-3)
        around = ((grey - level).abs() < 1e-3) | ((grey - ink).abs() < 1e-3)
        assert scan.any() and around.any()
        assert (scan | around).float().mean() > 0.95


def test_marks_lie_around_the_lesion_of_as_many_scans_as_asked():
    config = TrainConfig(init="random", crop=1.0, rotation=0, scale=0, flip=0, marked=0.5)
    canvases, masks = _lesion(200)
    canvases[:] = 0
    moves = sample_params(config, 200, 96, torch.Generator().manual_seed(0), np.random.default_rng(0))
    grey = augment(canvases, masks, None, 96, moves).grey[:, 0]
    drawn = grey.flatten(1).amax(dim=1) > 0
    assert 0.4 < drawn.float().mean() < 0.6
    for picture in grey[drawn]:
        rows, columns = torch.nonzero(picture, as_tuple=True)
        assert abs(rows.float().mean() - 27.5) < 3
        assert abs(columns.float().mean() - 27.5) < 3
