"""Registered studies: what is asked, of whom, and how it is judged stands in a file before anything is run."""

from gac_app.evaluation.registered.page import page_of, plan_lines, plot_of
from gac_app.evaluation.registered.protocol import Protocol, read_protocol
from gac_app.evaluation.registered.register import Register
from gac_app.evaluation.registered.running import Plan, StudyRun

__all__ = ["Plan", "Protocol", "Register", "StudyRun", "page_of", "plan_lines", "plot_of", "read_protocol"]
