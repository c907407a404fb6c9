"""Registered studies: what is asked, of whom, and how it is judged stands in a file before anything is run."""

from gac_app.evaluation.registered.page import page_of, plot_of
from gac_app.evaluation.registered.protocol import Protocol, read_protocol
from gac_app.evaluation.registered.running import StudyRun

__all__ = ["Protocol", "StudyRun", "page_of", "plot_of", "read_protocol"]
