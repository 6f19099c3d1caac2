"""What is shown of predictions: overlays, grids, figures, charts, reports, sentences."""
