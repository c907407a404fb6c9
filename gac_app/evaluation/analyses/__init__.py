"""What is varied and measured over a task: thresholds, weights, members, planted mistakes. Knows no page."""
