"""Reading breast ultrasound scans: the images, the models, their calls and their heatmaps."""

from rcdnet.threads import settle

settle()  # before any module in here loads torch
