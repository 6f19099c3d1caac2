"""Reading breast ultrasound scans: the images, the models, their calls and their heatmaps."""
