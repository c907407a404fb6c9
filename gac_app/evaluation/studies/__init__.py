"""Studies: each puts questions to systems, or compares vocabularies, and gives a `StudyResult` to show and to keep."""
