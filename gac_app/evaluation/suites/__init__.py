"""The project's own test suites, which need no data set. Knows no page and no visitor."""

from gac_app.evaluation.suites.alignment import alignment_systems, check_kinds, run_alignment_suite
from gac_app.evaluation.suites.report import AlignmentReport, tables
from gac_app.evaluation.suites.texts import KINDS

__all__ = ["KINDS", "AlignmentReport", "alignment_systems", "check_kinds", "run_alignment_suite", "tables"]
