"""What to use: which settings suit these members, and whether they beat the best member alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import yaml
from pydantic import Field

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.decoding.rules import combine_rules
from gac_app.errors import Phrase, RequestError
from gac_app.evaluation.metrics import questions_needed
from gac_app.evaluation.running import Spending, System, parse_system
from gac_app.evaluation.studies.advising import AS_GOOD, DISCORDANT, LEVEL, POWER, Advice, Adviser, HeldOut, alone
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import (
    NOT_KNOWN,
    StudyResult,
    Table,
    failed_answers,
    figure,
    questions_asked,
    share,
)
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.tasks import Question, Task, halves

_LITTLE = 0.03  # a gain worth looking for
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
        failure = failed_answers(advice.failed[0]) if advice.failed else ""
        return StudyResult(
            study=self.name,
            heading=questions_asked(ask.task.name, len(asked)),
            tables=[_held_out(advice), _development(advice), _predicted(advice)],
            data=_data(advice, config, settings),
            remarks=sentences(advice, config),
            plots=_plots(advice),
            failure=failure,
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


def _plots(advice: Advice) -> list[Spec]:
    """Bits per byte over the share of steps ensembled."""
    found, read = advice.likelihoods, advice.read
    systems = found.measured_on(read)

    def place(system: System) -> tuple[float, float]:
        return 100 * found.share_ensembled(system, read), found.bits(system, read)

    gates = sorted(place(system) for system in systems if system.changes.get("mode") == "gate")
    every_step = [place(system) for system in systems if system.changes.get("mode") == "every-step"]
    series: dict[str, Series] = {
        **({"thresholds of the gate": Series(gates)} if gates else {}),
        **{
            Phrase("{name} alone", name=system.alone): Series([(0.0, place(system)[1])])
            for system in systems
            if system.alone
        },
        "every step": Series([min(every_step, key=lambda at: at[1])]),
    }
    title = f"Reference answers of {len(read)} development questions"
    return line_charts(title, [Panel("steps ensembled, %", "bits per byte", series)])


# --- in words, and as settings of a configuration


def sentences(advice: Advice, config: Config) -> list[str]:
    """The advice, most important first."""
    best, judged = advice.best.alone, advice.judged
    found = [_verdict(advice, config)]
    if judged:
        gain, num = judged.comparison, len(judged.chosen.answers)
        low, high = (100 * end for end in gain.interval)
        found.append(
            Phrase(
                "Expected gain over {best} alone: {delta} points ({low} to {high}), on {n} held-out questions; p {p}.",
                best=best,
                delta=f"{100 * gain.delta:+.1f}",
                low=f"{low:+.1f}",
                high=f"{high:+.1f}",
                n=num,
                p=f"{gain.p:.2g}",
            )
        )
        if not judged.is_shown:
            found.append(_what_more_takes(judged))
    found += _cheaper(advice, config)
    if isinstance(advice.saved, str):
        found.append(Phrase("Bits of reference answers saved: {why}.", why=advice.saved))
    else:
        saved, least, most = (100 * share for share in advice.saved)
        found.append(
            Phrase(
                "Bits of reference answers saved against {best} alone: {saved} % ({least} to {most}). "
                "That counts where answers are sampled or texts scored; fewer bits need not be more right answers.",
                best=best,
                saved=f"{saved:.1f}",
                least=f"{least:.1f}",
                most=f"{most:.1f}",
            )
        )
    return [*found, *_cost(advice), _managed(advice)]


def pasted(advice: Advice, config: Config) -> str:
    """The part `settings` of a configuration that takes the advice, as YAML."""
    settings = {"settings": taken(advice.taken, config)}
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=1000)


def in_words(system: System, config: Config) -> str:
    """What a setting does."""
    settings = system.settings(config)
    if system.alone:
        return Phrase("{name} alone", name=system.alone)
    named = isinstance(settings.weights, dict)
    weights = ", ".join(f"{name} {weight:g}" for name, weight in config.weights(settings).items()) if named else ""
    how = Phrase(
        "{rule}, weights {weights}",
        rule=Phrase(settings.combine),
        weights=weights or Phrase(str(settings.weights)),
    )
    if settings.mode == "gate":
        return Phrase(
            "{gate} as the gate, all members where its confidence is below {threshold}; {how}",
            gate=settings.gate,
            threshold=f"{settings.threshold:g}",
            how=how,
        )
    return Phrase("all members at every step; {how}", how=how)


def taken(system: System, config: Config) -> dict[str, Any]:
    """The settings that make a system, of JSON's own types."""
    if system.alone:
        return {"members": [system.alone], "gate": system.alone}
    settings = system.settings(config)
    names = ("mode", "gate", *(["threshold"] if settings.mode == "gate" else []), "combine", "weights")
    return {name: getattr(settings, name) for name in names}


def _verdict(advice: Advice, config: Config) -> str:
    best, judged = advice.best.alone, advice.judged
    setting = in_words(advice.chosen, config)
    if judged is None:
        told = "Use {best} alone: there was no time to judge a setting. The one to try with more minutes: {setting}."
    elif judged.is_shown:
        told = "Use this setting, which answers more questions right than {best} alone: {setting}."
    elif advice.takes_cheaper:
        told = "Use this setting, which is as good as {best} alone and takes less time: {setting}."
        setting = in_words(advice.taken, config)
    elif judged.comparison.delta < 0 and judged.comparison.p < LEVEL:
        told = "Use {best} alone: the chosen setting answers fewer questions right: {setting}."
    else:
        told = "Use {best} alone: the chosen setting is not shown to be better: {setting}."
    return Phrase(told, best=best, setting=setting)


def _cheaper(advice: Advice, config: Config) -> Iterator[str]:
    if not (one := advice.cheaper):
        return
    low, high = (100 * end for end in one.comparison.interval)
    if one.is_as_good:
        verdict = Phrase("it is as good, within {points} points", points=f"{100 * AS_GOOD:g}")
    elif one.comparison.delta < 0 and one.comparison.p < LEVEL:
        verdict = Phrase("it is worse")
    else:
        verdict = Phrase("these questions cannot tell whether it is as good")
    yield Phrase(
        "A smaller gate: {setting}. To {best} alone {delta} points ({low} to {high}), with calls at {share} of the "
        "steps and {time} of its time per token: {verdict}.",
        setting=in_words(one.chosen.system, config),
        best=advice.best.alone,
        delta=f"{100 * one.comparison.delta:+.1f}",
        low=f"{low:+.1f}",
        high=f"{high:+.1f}",
        share=f"{one.chosen.share_ensembled:.0%}",
        time=f"{time:.0%}" if (time := advice.time_of(one.chosen.system)) else NOT_KNOWN,
        verdict=verdict,
    )


def _what_more_takes(judged: HeldOut) -> str:
    least = judged.effect_shown
    shown = Phrase("only a difference of {points} points or more", points=f"{100 * least:.3g}") if least else None
    return Phrase(
        "So few questions can show {shown}; {little} points take about {needed} questions and more minutes.",
        shown=shown or Phrase("no difference"),
        little=f"{100 * _LITTLE:.0f}",
        needed=f"{2 * questions_needed(_LITTLE, POWER, DISCORDANT, LEVEL):,}",
    )


def _cost(advice: Advice) -> Iterator[str]:
    if advice.judged:
        yield Phrase("Steps ensembled: {share}.", share=f"{advice.judged.chosen.share_ensembled:.0%}")
    own = advice.times.get(advice.chosen)
    slowest = max((time for system, time in advice.times.items() if system.alone and time), default=None)
    if own and slowest:
        yield Phrase("Time per token: {ratio} times that of the slowest member alone.", ratio=f"{own / slowest:.2f}")


def _managed(advice: Advice) -> str:
    done = advice.managed
    return Phrase(
        "Took {time}. Of {development} development questions {read} were read and {answered} answered, of {held} held "
        "out {judged} answered.",
        time=timedelta(seconds=round(done.seconds)),
        development=done.development,
        read=done.read,
        answered=done.answered,
        held=done.held_out,
        judged=done.judged,
    )
