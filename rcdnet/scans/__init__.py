"""Bytes in, one grey scan or lesion mask out, and how a network sees it."""
