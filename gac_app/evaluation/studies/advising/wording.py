"""Advice in words, and as settings of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import yaml

from gac_app.config import Config
from gac_app.errors import Phrase
from gac_app.evaluation.metrics import questions_needed
from gac_app.evaluation.running import System, members_alone
from gac_app.evaluation.studies.advising.outcome import AS_GOOD, DISCORDANT, LEVEL, POWER, Advice, HeldOut
from gac_app.evaluation.studies.result import NOT_KNOWN

_LITTLE = 0.03  # a gain worth looking for


def sentences(advice: Advice, config: Config) -> list[str]:
    """The advice, most important first."""
    best, judged = advice.best.alone, advice.judged
    found = [_verdict(advice, config)]
    if judged:
        found.append(
            Phrase(
                "Expected gain over {best} alone: {delta} points ({low} to {high}), on {n} held-out questions; p {p}.",
                best=best,
                **_points(judged),
                n=len(judged.chosen.answers),
                p=f"{judged.comparison.p:.2g}",
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
    return [*found, *_cost(advice, config), _managed(advice)]


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
        **_points(one),
        share=f"{one.chosen.share_ensembled:.0%}",
        time=f"{time:.0%}" if (time := advice.time_of(one.chosen.system)) else NOT_KNOWN,
        verdict=verdict,
    )


def _points(held_out: HeldOut) -> dict[str, str]:
    """The difference of accuracies, and the ends of its interval."""
    found = held_out.comparison
    numbers = {"delta": found.delta, "low": found.interval[0], "high": found.interval[1]}
    return {name: f"{100 * number:+.1f}" for name, number in numbers.items()}


def _what_more_takes(judged: HeldOut) -> str:
    least = judged.effect_shown
    shown = Phrase("only a difference of {points} points or more", points=f"{100 * least:.3g}") if least else None
    return Phrase(
        "So few questions can show {shown}; {little} points take about {needed} questions and more minutes.",
        shown=shown or Phrase("no difference"),
        little=f"{100 * _LITTLE:.0f}",
        needed=f"{2 * questions_needed(_LITTLE, POWER, DISCORDANT, LEVEL):,}",
    )


def _cost(advice: Advice, config: Config) -> Iterator[str]:
    if advice.judged:
        yield Phrase("Steps ensembled: {share}.", share=f"{advice.judged.chosen.share_ensembled:.0%}")
    own = advice.times.get(advice.chosen)
    alone = [time for member in members_alone(config) if (time := advice.times.get(member))]
    if own and len(alone) == len(config.member_names):
        yield Phrase("Time per token: {ratio} times that of the slowest member alone.", ratio=f"{own / max(alone):.2f}")


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
