"""Weights studied on images that they did not learn from, beyond their figures: heatmaps, steadiness."""
