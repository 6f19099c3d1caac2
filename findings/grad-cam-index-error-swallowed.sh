#!/usr/bin/env bash
# Library   grad-cam 1.5.7 (torch 2.14.1), 2026-11-27
# Expected  an IndexError inside `with GradCAM(...) as cam:` comes out of it, as a ValueError does
# Seen      it is printed and swallowed. A class that the network does not have (BUSI's third, asked of a network of two) leaves the
#           map of the image before in the variable, and the program goes on with it
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q grad-cam==1.5.7 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
"$place/venv/bin/python" -W error - <<'PYTHON'
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
images = torch.rand(2, 1, 1, 16, 16)
maps = []
for image, label in zip(images, (0, 2), strict=True):
    with GradCAM(model=network, target_layers=[network[1]]) as cam:
        heat = cam(image, [ClassifierOutputTarget(label)])
    maps.append(heat)
raised = False
try:
    with GradCAM(model=network, target_layers=[network[1]]):
        raise ValueError("another error")
except ValueError:
    raised = True
print(f"the second image has the first one's map: {maps[1] is maps[0]}; a ValueError comes out: {raised}")
assert maps[1] is maps[0] and raised, "this is no longer seen"
PYTHON
