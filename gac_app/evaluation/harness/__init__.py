"""The ensemble as a model of EleutherAI's lm-evaluation-harness."""
