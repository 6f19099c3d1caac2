"""Runs in folders and processes of their own: queued, started, watched, stopped, shared."""
