"""Runs, answers and traces: written, read, listed, imported."""
