"""The Lab: studies on a small sample, and their results."""
