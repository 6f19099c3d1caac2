"""Figures of labels and probabilities: AUC, intervals, tests of a difference, calibration and threshold."""
