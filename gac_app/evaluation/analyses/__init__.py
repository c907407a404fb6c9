"""Analyses over a task that vary thresholds, weights, members or planted mistakes. Knows no page."""
