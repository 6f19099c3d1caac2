"""Reading breast ultrasound scans: the images, the models, their calls and their heatmaps."""

from rcdnet.cpu_sharing import use_passive_wait

use_passive_wait()  # before any module in here loads torch
