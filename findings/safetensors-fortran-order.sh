#!/usr/bin/env bash
# Library   safetensors 0.8.0 with scikit-learn 1.9.1 (numpy 2.4.6), 2026-11-28; reported as safetensors issue 825
# Expected  an array that safetensors.numpy saves comes back as it was, or is refused, as safetensors.torch refuses what is not contiguous
# Seen      the components that scikit-learn fits are a view, and lie in memory column by column. They come back in shape and type, with
#           other values: no error and no warning. A detector that was saved so goes on giving numbers, of nothing
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q safetensors==0.8.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" -W error - <<'PYTHON'
import numpy as np
from safetensors.numpy import load, save
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

images = load_digits().data
fitted = PCA(8, svd_solver="randomized", random_state=0).fit(images - images.mean(axis=0)).components_
read = load(save({"components": fitted}))["components"]
in_c_order = load(save({"components": np.ascontiguousarray(fitted)}))["components"]
moved = float((read != fitted).mean())
print(
    f"{fitted.shape} row by row {fitted.flags.c_contiguous}: values that changed {moved:.2f}, shape and type kept "
    f"{(read.shape, read.dtype) == (fitted.shape, fitted.dtype)}; copied to C order first: equal {np.array_equal(in_c_order, fitted)}"
)
assert moved > 0.5 and read.shape == fitted.shape and read.dtype == fitted.dtype, "this is no longer seen"
assert np.array_equal(in_c_order, fitted), "this is no longer seen"
PYTHON
