"""The command line: one function per command, in `commands/`. Nothing heavy is imported before a command runs.

Exit codes: 0 done, 1 failed, 2 bad input (arguments, configuration, request).
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

import typer

from gac_app.commands import arena, bench, compare, data, fetch, generate, lm_eval, rules, serve, vocab
from gac_app.commands.studies import study, study_commands
from gac_app.errors import ConfigError, GacError, RequestError, RuleError

app = typer.Typer(
    help="GaC: language models side by side with their token-level ensemble.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for ordinary in (serve.serve, generate.generate, compare.compare, vocab.vocab, rules.rules, bench.bench):
    app.command()(ordinary)
for name, command in study_commands().items():
    app.command(name)(command)
app.command()(study)
app.command(
    "lm-eval",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(lm_eval.lm_eval)
for ordinary in (fetch.fetch, data.export, data.release):
    app.command()(ordinary)
app.command("import")(data.import_lines)
app.add_typer(arena.app, name="arena")
app.add_typer(data.app, name="db")


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`: while `fetch` draws bars, rich puts lines above them."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def main() -> None:
    """Run the command of `sys.argv` and exit with its code."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers' bars too; read when it is imported
    # Logs go to stderr, since stdout is for results. Of libraries, only warnings are logged.
    logging.basicConfig(handlers=[_StderrHandler()], format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("gac_app").setLevel(logging.INFO)
    try:
        app()
    except GacError as error:
        place = f" ({error.place})" if isinstance(error, RuleError) and error.place else ""
        print(f"error: {error}{place}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError | RequestError) else 1)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("gac_app"):
            raise
        what = "install it: pip install '.[all]' in the project's folder"
        print(f"error: this needs the package {error.name}; {what}", file=sys.stderr)
        sys.exit(1)
