"""What weights are worth: predictions, figures with intervals, calibration, and the card beside them."""
