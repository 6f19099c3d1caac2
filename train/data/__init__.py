"""What is learnt from: images with label, mask and patient, looked through and split."""
