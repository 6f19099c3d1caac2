"""Heatmaps measured over whole validation sets."""
