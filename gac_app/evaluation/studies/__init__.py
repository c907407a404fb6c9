"""Studies: each puts questions to systems, or compares vocabularies, and gives a `StudyResult`. Knows no visitor.

The studies themselves (`run_...`) load their analyses, so they are imported by their own names, on use.
"""

from gac_app.evaluation.studies.as_csv import to_csv
from gac_app.evaluation.studies.evaluator import Evaluator, check_room
from gac_app.evaluation.studies.glossary import explained
from gac_app.evaluation.studies.kept_results import KeptResult, KeptResults, Listed, is_result_id
from gac_app.evaluation.studies.result import StudyResult, Table, result_from_json

__all__ = [
    "Evaluator",
    "KeptResult",
    "KeptResults",
    "Listed",
    "StudyResult",
    "Table",
    "check_room",
    "explained",
    "is_result_id",
    "result_from_json",
    "to_csv",
]
