"""Studies: each puts questions to systems, or compares vocabularies, and gives a `StudyResult`. Knows no visitor.
A study is a class in a file of its own here (`study.py` says what it must give); `studies()` finds them.
"""

from gac_app.evaluation.studies.evaluator import Evaluator, check_room
from gac_app.evaluation.studies.kept_results import KeptResult, KeptResults, Listed, is_result_id
from gac_app.evaluation.studies.result import GivenAnswer, StudyResult, Table, explained, result_from_json, to_csv
from gac_app.evaluation.studies.study import EnsembleStudy, QuestionStudy, Study, studies

__all__ = [
    "EnsembleStudy",
    "Evaluator",
    "GivenAnswer",
    "KeptResult",
    "KeptResults",
    "Listed",
    "QuestionStudy",
    "Study",
    "StudyResult",
    "Table",
    "check_room",
    "explained",
    "is_result_id",
    "result_from_json",
    "studies",
    "to_csv",
]
