"""What to use: which settings suit these members, and whether they beat the best member alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import Field

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.decoding.rules import combine_rules
from gac_app.errors import Phrase, RequestError
from gac_app.evaluation.running import Spending, System, parse_system
from gac_app.evaluation.studies.advising.adviser import Adviser, alone
from gac_app.evaluation.studies.advising.outcome import Advice
from gac_app.evaluation.studies.advising.wording import pasted, sentences, taken
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import NOT_KNOWN, StudyResult, Table, failure, figure, questions_asked, share
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.tasks import Question, Task, halves

_SHOWN = 12  # settings of the table of likelihoods


class AdviceStudy(QuestionStudy):
    """Find out which rule, gate, threshold and weights suit the members, and whether to use the best member alone.

    Settings are chosen on one half of the questions, by the likelihood of reference answers and by answers. The gain is
    told by the other half. Without --data, questions that come with the package are asked.
    """

    name = "advise"
    title = "What should I use?"
    about = "Which settings suit these members, or whether the best of them alone does better; ten minutes at most."
    place = 0
    sample = "trivia"
    minutes: float = Field(10.0, description="At most so many minutes, once the members are loaded.")
    rules: str = Field("geometric", description="Combine rules to try beside the mean, comma-separated.")

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        if not 0 < self.minutes < 10_000:
            raise RequestError("minutes", f"expected more than 0; got {self.minutes:g}")
        alone(config)
        for rule in self._rules:
            settings = parse_system(f"every-step+combine={rule}", config).settings(config)
            if not combine_rules.of(settings).can_score:
                raise RequestError("rules", f"by {rule!r} most texts have no probability")
        halves(asked)

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Advice, with what it was found by. Raises RequestError if there is nothing to choose."""
        config = ask.ensemble.config
        self.check(config, ask.task, ask.questions, asked)
        spending = Spending(60 * self.minutes)
        advice = Adviser(ask, asked, spending, self._rules).advise()
        settings = pasted(advice, config)
        return StudyResult(
            study=self.name,
            heading=questions_asked(ask.task.name, len(asked)),
            tables=[_held_out(advice), _development(advice), _predicted(advice)],
            data=_data(advice, config, settings),
            remarks=sentences(advice, config),
            plots=_plots(advice, config),
            failure=failure(advice.reports),
            settings=settings,
        )

    @property
    def _rules(self) -> list[str]:
        return [rule.strip() for rule in self.rules.split(",") if rule.strip()]


def _held_out(advice: Advice) -> Table:
    """The chosen setting and the best member on the questions that nothing was chosen by."""
    rows = []
    cheaper = [advice.cheaper.chosen] if advice.cheaper else []
    for report in (advice.judged.chosen, *cheaper, advice.judged.best) if advice.judged else ():
        ensembled = NOT_KNOWN if report.system.alone else f"{report.share_ensembled:.1%}"
        right = share(report.num_right, len(report.answers))
        rows.append([report.system.name, right, ensembled, figure(advice.times.get(report.system), 1)])
    return Table(("system", "accuracy (95 %)", "ensembled", "ms/token"), rows, "Held-out half, judged once")


def _development(advice: Advice) -> Table:
    rows = [[system.name, f"{accuracy:.1%}"] for system, accuracy in advice.accuracies.items()]
    return Table(("system", "development"), rows, "Answers to the development half")


def _predicted(advice: Advice) -> Table:
    """The likeliest settings and every member."""
    found, read = advice.likelihoods, advice.read
    likeliest = sorted(found.measured_on(read), key=lambda system: found.bits(system, read))
    shown = [system for system in likeliest if system.alone or system in likeliest[:_SHOWN]]
    rows = [[s.name, f"{found.bits(s, read):.3f}", f"{found.share_ensembled(s, read):.1%}"] for s in shown]
    return Table(("system", "bits/byte", "ensembled"), rows, "Reference answers of the development half")


def _data(advice: Advice, config: Config, settings: str) -> dict[str, Any]:
    judged, saved = advice.judged, advice.saved
    return {
        "takes_ensemble": advice.takes_ensemble,
        "takes_cheaper": advice.takes_cheaper,
        "best_member": advice.best.alone,
        "setting": advice.chosen.name,
        "settings": taken(advice.taken, config),
        "yaml": settings,
        "gain": judged
        and {
            "n": len(judged.chosen.answers),
            "delta": judged.comparison.delta,
            "ci": list(judged.comparison.interval),
            "p": judged.comparison.p,
            "effect_shown": judged.effect_shown,
            "share_ensembled": judged.chosen.share_ensembled,
        },
        "bits_saved": None if isinstance(saved, str) else {"share": saved[0], "ci": list(saved[1:])},
        "ms_per_token": {system.name: time for system, time in advice.times.items()},
        "development": {system.name: accuracy for system, accuracy in advice.accuracies.items()},
        "bits_per_byte": {
            s.name: advice.likelihoods.bits(s, advice.read) for s in advice.likelihoods.measured_on(advice.read)
        },
        "managed": asdict(advice.managed),
    }


def _plots(advice: Advice, config: Config) -> list[Spec]:
    """Bits per byte over the share of steps ensembled, a line for each gate's thresholds."""
    found, read = advice.likelihoods, advice.read
    systems = found.measured_on(read)

    def place(system: System) -> tuple[float, float]:
        return 100 * found.share_ensembled(system, read), found.bits(system, read)

    gates: dict[str, list[tuple[float, float]]] = {}
    for system in systems:
        if system.changes.get("mode") == "gate":
            gates.setdefault(system.settings(config).gate, []).append(place(system))
    every_step = [place(system) for system in systems if system.changes.get("mode") == "every-step"]
    series: dict[str, Series] = {
        **{Phrase("gate {name}", name=gate): Series(sorted(places)) for gate, places in gates.items()},
        **{
            Phrase("{name} alone", name=system.alone): Series([(0.0, place(system)[1])])
            for system in systems
            if system.alone
        },
        "every step": Series([min(every_step, key=lambda at: at[1])]),
    }
    title = f"Reference answers of {len(read)} development questions"
    return line_charts(title, [Panel("steps ensembled, %", "bits per byte", series)])
