"""Measures of heatmaps: whether the model uses them, where they lie, how alike they are."""
