"""Whether the members tokenise the same words alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gac_app.charts import Spec, heat_map
from gac_app.errors import Phrase
from gac_app.evaluation.metrics import ConsistencyReport, compare_vocabularies, word_sets
from gac_app.evaluation.running import StudyProgress
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.studies.study import EnsembleStudy

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


class Vocabularies(EnsembleStudy):
    """Compare how members cut words into tokens: 5,000 common English words, then rare and foreign words, code, numbers
    and terms.
    """

    name = "consistency"
    title = "Vocabularies"
    place = 7

    def run(self, ensemble: Ensemble, on_progress: Callable[[StudyProgress], None] = lambda _: None) -> StudyResult:
        """Compare the members' tokenisers on words of many kinds. Raises ConfigError if there is only one member."""
        self.check(ensemble.config)
        vocabularies = {name: member.mapping.vocabulary for name, member in ensemble.members.items()}
        report = compare_vocabularies(vocabularies, word_sets())
        return StudyResult(
            study=self.name,
            heading=" / ".join(vocabularies),
            tables=[_sets(report), _tokens(report)],
            data=report.to_json(),
            remarks=[
                Phrase(
                    "only {name} has, for example: {tokens}", name=name, tokens=" ".join(map(_shown, facts.examples))
                )
                for name, facts in report.tokens.items()
            ],
            plots=_plots(report),
        )


def _plots(report: ConsistencyReport) -> list[Spec]:
    """A chart per pair of members."""
    found = []
    for number, pair in enumerate(report.sets[0].pairs):
        shares = {words.name: (words.pairs[number].after_space, words.pairs[number].at_start) for words in report.sets}
        title = Phrase("Words cut into the same tokens: {pair}", pair=" / ".join(pair.members))
        found += heat_map(title, ("after a space", "at start"), shares)
    return found


def _shown(token: bytes) -> str:
    """A token quoted, with escapes for control characters; its bytes if it is not UTF-8."""
    try:
        return repr(token.decode())
    except UnicodeDecodeError:
        return f"⟨{token.hex(' ').upper()}⟩"


def _sets(report: ConsistencyReport) -> Table:
    columns = ["words", "number"]
    for pair in report.sets[0].pairs:
        columns += [Phrase("{pair}, after a space", pair=" / ".join(pair.members)), "at start"]
    columns += [Phrase("tokens per word, {name}", name=name) for name in report.tokens]
    rows = []
    for words in report.sets:
        shares = [f"{share:.1%}" for pair in words.pairs for share in (pair.after_space, pair.at_start)]
        means = [f"{mean:.2f}" for mean in words.tokens_per_word.values()]
        rows.append([words.name, f"{words.num_words:,}", *shares, *means])
    return Table(columns, rows, "Share of words cut into the same tokens")


def _tokens(report: ConsistencyReport) -> Table:
    rows = []
    for name, facts in report.tokens.items():
        for other, prefixes in facts.prefixes.items():
            counts = (facts.num_tokens, facts.num_only)
            found = (prefixes.num_tokens, prefixes.num_unknown)
            rows.append([name, *(f"{n:,}" for n in counts), other, *(f"{n:,}" for n in found)])
    columns = ("member", "tokens", "only its own", "another", "begin a token of it", "of these it lacks")
    return Table(columns, rows, "Tokens of one member beside those of another")
