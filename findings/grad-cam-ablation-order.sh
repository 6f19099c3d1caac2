#!/usr/bin/env bash
# Library   grad-cam 1.5.7 (torch 2.14.1), 2026-11-27
# Expected  AblationCAM sets one channel after another to zero, and channels that matter alike weigh alike
# Seen      it does where the smallest activation is exactly 0. Where one is below 0, as SiLU's and GELU's are, or all are above, each
#           channel is set to 1e7 below the smallest value of the batch, those already set included: weights run into hundreds of
#           millions, and the eighth of eight equal channels weighs eight times as much as the first; with batch_size=1 all are equal
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q grad-cam==1.5.7 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
TQDM_DISABLE=1 "$place/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
import torch
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

network = nn.Sequential(nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
with torch.no_grad():
    network[3].weight.fill_(1)  # every channel matters alike
    network[3].bias.zero_()
eight = torch.zeros(1, 8, 8, 8)
eight[0, range(8), range(8), range(8)] = 1  # each has one spot of its own, on the diagonal
below = eight.clone()
below[0, :, 0, 7] = -0.001
weights = []


class Kept(AblationCAM):
    def get_cam_weights(self, *arguments):
        weights.append(super().get_cam_weights(*arguments))
        return weights[-1]


def spots(x, **options):
    """The map, 0..1, at the eight spots."""
    with Kept(model=network, target_layers=[network[0]], **options) as cam:
        return cam(x, [ClassifierOutputTarget(0)])[0].diagonal()


flat, rising, one_by_one = spots(eight), spots(below), spots(below, batch_size=1)
spots(eight + 0.001)  # all above 0
weights = [of_image[0] for of_image in weights]
for name, weight in zip(("smallest 0", "one below 0", "the same, batch_size=1", "all above 0"), weights, strict=True):
    print(f"{name}: weights {weight[0]:.4g} to {weight[-1]:.4g}")
print(
    "map at the eight spots:", *(f"{v:.2f}" for v in flat), "and with one value below 0:", *(f"{v:.2f}" for v in rising)
)
assert np.ptp(flat) < 1e-3 and np.ptp(one_by_one) < 1e-3 and weights[2].min() > 1e6, "this is no longer seen"
for weight in weights[1], weights[3]:
    np.testing.assert_allclose(weight / weight[0], range(1, 9), rtol=1e-3, err_msg="this is no longer seen")
PYTHON
