"""The six models: their networks, weights, cards, calibration and outlines."""
