"""The ensemble as a model of EleutherAI's lm-evaluation-harness. Knows no task of our own."""

from gac_app.evaluation.harness.lm_eval_model import register

__all__ = ["register"]
