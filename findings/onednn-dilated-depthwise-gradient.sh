#!/usr/bin/env bash
# Library   torch 2.13.0 with its oneDNN, on a CPU, one thread, 2026-11-27
# Expected  a dilated depthwise convolution costs what an undilated one costs in training, for it does as many sums
# Seen      its step takes several times as long, for its gradient has no kernel of its own (ONEDNN_VERBOSE=1 names gemm:jit). The very
#           same sums as four undilated ones, of even and odd rows and columns, take a third of it with AVX-512, copies included; held
#           to AVX2 (ONEDNN_MAX_CPU_ISA) it is still four times an undilated one, but splitting gains a fifth only
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" -W error - <<'PYTHON'
import time
from statistics import median

import torch
from torch.nn import functional as F

COUNT, CHANNELS, SIDE = 16, 1152, 8  # the last stage of EfficientNet-B0 at 128 px and stride 16
torch.set_num_threads(1)
torch.manual_seed(0)
maps = torch.randn(COUNT, CHANNELS, SIDE, SIDE).to(memory_format=torch.channels_last)
kernel = torch.randn(CHANNELS, 1, 5, 5)


def dilated(x, weight):
    return F.conv2d(x, weight, padding=4, dilation=2, groups=CHANNELS)


def four(x, weight):
    half = SIDE // 2
    parts = x.permute(0, 2, 3, 1).reshape(COUNT, half, 2, half, 2, CHANNELS).permute(2, 4, 0, 1, 3, 5)
    parts = undilated(parts.reshape(-1, half, half, CHANNELS).permute(0, 3, 1, 2), weight)
    parts = parts.permute(0, 2, 3, 1).reshape(2, 2, COUNT, half, half, CHANNELS).permute(2, 3, 0, 4, 1, 5)
    return parts.reshape(COUNT, SIDE, SIDE, CHANNELS).permute(0, 3, 1, 2)


def undilated(x, weight):
    return F.conv2d(x, weight, padding=2, groups=CHANNELS)


def step(way):
    """Seconds of this process's own CPU time, forwards and backwards, and the two gradients."""
    x, weight = maps.clone().requires_grad_(), kernel.clone().requires_grad_()
    start = time.process_time()
    way(x, weight).backward(maps)
    return time.process_time() - start, x.grad, weight.grad


for ours, theirs in zip(step(four)[1:], step(dilated)[1:], strict=True):
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-2)  # the same sums
took = {way: [] for way in (dilated, four, undilated)}
for _ in range(9):  # in turns, so that a busy machine slows all alike
    for way, seconds in took.items():
        seconds.append(step(way)[0])
of_dilated, of_four, of_undilated = (1000 * median(seconds) for seconds in took.values())
capability = torch.backends.cpu.get_cpu_capability()
print(
    f"{capability}: dilated {of_dilated:.0f} ms, as four undilated {of_four:.0f} ms, one undilated {of_undilated:.0f} ms; "
    f"ratios {of_dilated / of_four:.1f} and {of_dilated / of_undilated:.1f}"
)
assert of_dilated / of_undilated > 2, "this is no longer seen"
assert capability != "AVX512" or of_dilated / of_four > 1.5, "this is no longer seen"
PYTHON
