#!/usr/bin/env bash
# Library   grad-cam 1.5.7 (torch 2.14.1, numpy 2.4.6), 2026-11-27
# Expected  EigenCAM is hot where the activations are strong, and of a mirrored image it gives the mirrored map
# Seen      the sign of its principal component is left to the SVD: by a network to which left and right are alike, of an image and its
#           mirror image, the one map is hot and the other coldest where the very same activations are strong
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q grad-cam==1.5.7 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$place/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
import torch
from pytorch_grad_cam import EigenCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

rows, columns = np.mgrid[:16, :16]
blob = np.exp(-((rows - 6) ** 2 + (columns - 1) ** 2) / 18).astype(np.float32)

torch.manual_seed(1)
filters = nn.Conv2d(1, 8, 3, padding=1, padding_mode="replicate", bias=False)
with torch.no_grad():
    filters.weight += filters.weight.flip(-1)  # left and right are alike to it
network = nn.Sequential(filters, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def map_and_strength(image):
    """EigenCAM's map in 0..1, and the sum of the activations that it is made of; both (16, 16)."""
    x = torch.from_numpy(image.copy())[None, None]
    with EigenCAM(model=network, target_layers=[network[1]]) as cam:
        heat = cam(x, [ClassifierOutputTarget(0)])[0]
    return heat, network[:2](x)[0].sum(dim=0).detach().numpy()


heat, strength = map_and_strength(blob)
heat_mirrored, strength_mirrored = map_and_strength(blob[:, ::-1])
np.testing.assert_allclose(strength_mirrored[:, ::-1], strength, atol=1e-5)  # nothing else differs
means = [float(h[s > s.max() / 2].mean()) for h, s in ((heat, strength), (heat_mirrored, strength_mirrored))]
print(f"mean of the map (0 to 1) where activations are strong: {means[0]:.2f}, of the mirror image {means[1]:.2f}")
assert min(means) < 0.1 and max(means) > 0.5, "this is no longer seen"
PYTHON
