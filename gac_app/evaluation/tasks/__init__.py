"""Questions, prompts, and whether an answer matches. Knows no model."""

from gac_app.evaluation.tasks.given_text import read_text
from gac_app.evaluation.tasks.matching import Match, extracted, is_right, normalised
from gac_app.evaluation.tasks.prompts import parse_prompts
from gac_app.evaluation.tasks.questions import MAX_OWN_CHARS, Question, first_of_each_domain, halves, parse_questions
from gac_app.evaluation.tasks.task import SAMPLES, Task, asked, load_task

__all__ = [
    "MAX_OWN_CHARS",
    "SAMPLES",
    "Match",
    "Question",
    "Task",
    "asked",
    "extracted",
    "first_of_each_domain",
    "halves",
    "is_right",
    "load_task",
    "normalised",
    "parse_prompts",
    "parse_questions",
    "read_text",
]
