#!/usr/bin/env bash
# Library   timm 1.0.31 (torch 2.14.1), 2026-11-27
# Expected  create_model(pretrained=True) refuses a file of weights that lacks layers, whatever the number of classes
# Seen      it does for the 1000 classes of ImageNet. Asked for 2 it takes the same file without an error or a warning, and the layers
#           that are missing stay random: another number of classes turns the strict check off for all tensors, not for the classifier's
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" -W error - <<'PYTHON'
import logging

import timm
import torch
from safetensors.torch import save_file

heard = []


class Heard(logging.Handler):
    def emit(self, record):
        heard.append(record.getMessage())


logging.getLogger("timm").addHandler(Heard(logging.WARNING))
torch.manual_seed(0)
whole = timm.create_model("resnet18").state_dict()
half = {name: tensor for name, tensor in whole.items() if not name.startswith(("layer3", "layer4"))}
save_file(half, "half.safetensors")


def created(classes):
    overlay = {"file": "half.safetensors"}
    return timm.create_model("resnet18", pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay)


try:
    created(1000)
    refused = False
except RuntimeError as error:
    refused = "Missing key" in str(error)
got = created(2).state_dict()
same = [torch.equal(got[name], whole[name]) for name in ("layer2.1.conv2.weight", "layer4.1.conv2.weight")]
print(
    f"{len(whole) - len(half)} of {len(whole)} tensors missing; 1000 classes: refused {refused}; 2 classes: taken, "
    f"warnings {len(heard)}, as first saved: layer2 {same[0]}, layer4 {same[1]}"
)
assert refused and same == [True, False] and not heard, "this is no longer seen"
PYTHON
