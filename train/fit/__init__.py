"""One network learning: augmentation, losses, steps, epochs and what survives a kill."""
