"""Systems that answer questions, and the cache of their answers. Knows no statistics and no page."""

from gac_app.evaluation.running.answering import OutOfTimeError, answer
from gac_app.evaluation.running.likelihood import Likelihoods
from gac_app.evaluation.running.progress import Spending, StudyProgress
from gac_app.evaluation.running.report import SystemReport, summarise
from gac_app.evaluation.running.result_cache import (
    Graded,
    ResultCache,
    digest_of,
    facts_of_members,
    replace_file,
    result_cache_path,
)
from gac_app.evaluation.running.systems import (
    System,
    alone_and_every_step,
    default_systems,
    members_alone,
    parse_system,
    parse_systems,
    refuse_rules,
    with_whole_answers,
)

__all__ = [
    "Graded",
    "Likelihoods",
    "OutOfTimeError",
    "ResultCache",
    "Spending",
    "StudyProgress",
    "System",
    "SystemReport",
    "alone_and_every_step",
    "answer",
    "default_systems",
    "digest_of",
    "facts_of_members",
    "members_alone",
    "parse_system",
    "parse_systems",
    "refuse_rules",
    "replace_file",
    "result_cache_path",
    "summarise",
    "with_whole_answers",
]
