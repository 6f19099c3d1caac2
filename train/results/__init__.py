"""Evaluations as tables, plots and sentences, for the Results page and as HTML files."""
