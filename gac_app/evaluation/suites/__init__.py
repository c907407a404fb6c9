"""Suites of the project's own writing, which need no data set."""
