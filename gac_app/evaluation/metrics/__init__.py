"""Statistics over numbers and words: intervals, calibration, Pareto fronts. Knows no model and no task."""
