"""`consistency`: whether members cut the same words into the same tokens (paper, figure 2, and beyond)."""

from __future__ import annotations

from contextlib import closing

from gac_app.commands.options import ConfigOption, JsonOption, OutOption, load
from gac_app.commands.show import show
from gac_app.errors import ConfigError
from gac_app.evaluation.studies.vocabularies import run_vocabularies


def consistency(config: ConfigOption = None, out: OutOption = None, as_json: JsonOption = False) -> None:
    """Compare how members cut words into tokens: 5,000 common English words, then rare and foreign words, code, numbers
    and terms.
    """
    settled = load(config)
    if len(settled.members) < 2:
        raise ConfigError("members: there is one; expected two or more, to compare")
    from gac_app.bootstrap import load_ensemble

    with closing(load_ensemble(settled)) as ensemble:
        result = run_vocabularies(ensemble)
    show(result, settled, as_json=as_json, out=out)
