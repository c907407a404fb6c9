"""Studies whose tasks, systems and judgement stand in a file in git before anything is run."""

from gac_app.evaluation.protocols.page import page_of, plot_of
from gac_app.evaluation.protocols.protocol import Protocol, read_protocol
from gac_app.evaluation.protocols.running import StudyRun

__all__ = ["Protocol", "StudyRun", "page_of", "plot_of", "read_protocol"]
