#!/usr/bin/env bash
# Library   grad-cam 1.5.7 (torch 2.14.1), 2026-11-27
# Expected  evidence a thousand times weaker gives a fainter map, at least within one batch; evidence everywhere gives a map hot everywhere
# Seen      each map is stretched to 0..1 by itself, its lowest place taken away first: the weak one is as hot as the strong one, and
#           strong evidence that is spread evenly gives a map of zeros, as no evidence does
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q grad-cam==1.5.7 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$place/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

rows, columns = np.mgrid[:16, :16]
blob = np.exp(-((rows - 6) ** 2 + (columns - 9) ** 2) / 18)
images = torch.tensor(np.stack([blob, blob / 1000, np.ones_like(blob), 0 * blob]), dtype=torch.float32)[:, None]
network = nn.Sequential(
    nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)
)
with torch.no_grad():
    network[0].weight.fill_(1)
    network[4].weight.copy_(torch.tensor([[10.0], [-10.0]]))
    network[4].bias.zero_()
with GradCAM(model=network, target_layers=[network[1]]) as cam:
    strong, weak, even, none = cam(images, [ClassifierOutputTarget(0)] * 4)
    logits = cam.outputs[:, 0].tolist()
names = "blob", "a thousandth of it", "evenly bright", "black"
for name, logit, heat in zip(names, logits, (strong, weak, even, none), strict=True):
    print(f"{name}: logit {logit:.4f}, map {heat.min():.2f} to {heat.max():.2f}")
assert logits[0] > 900 * logits[1] and logits[2] > logits[0], "the network is not what it was"
assert np.abs(strong - weak).max() < 0.01 and weak.max() > 0.99 and not even.any() and not none.any(), (
    "this is no longer seen"
)
PYTHON
