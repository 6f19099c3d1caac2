"""What weights are worth: predictions, and figures of them with their intervals."""
