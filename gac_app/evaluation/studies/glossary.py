"""Explains the names in a result to first-time readers."""

from __future__ import annotations

from gac_app.evaluation.studies.result import StudyResult

_COLUMNS = {
    "accuracy": "the share of questions answered right; in brackets the 95 % interval",
    "failed": "questions without an answer, which count as wrong",
    "ensembled": "the share of steps at which all members were asked",
    "bits/byte": "bits that a system needs for a byte of the reference answers; fewer are better",
    "ms/token": "milliseconds per token of the answer",
    "s/answer": "seconds per answer",
    "member-s": "seconds of forward passes per answer, summed over all members",
    "vs ": "the difference in accuracy on the same questions; p below 0.05: unlikely to be chance",
    "Pareto front of": "nothing else tried is both better and cheaper by this measure",
    "confidence": "how sure a system is of its answer, on average",
    "ECE": "expected calibration error: how far confidence and accuracy are apart, 0 at best",
    "ECE by chance": "the ECE that a perfectly calibrated system would show with so few questions",
    "adaptive ECE": "ECE over groups of equal size",
    "classwise ECE": "ECE of every choice's probability, not of the chosen one's alone",
    "temperature": "what logits are divided by; above 1 where the system was too sure of itself",
    "nats": "mean negative log-probability of the right choice; smaller is better",
    "weights": "how much each member counts, in the order of the members",
    "development": "accuracy on the half of the questions that the weights were found on",
    "held out": "accuracy on the other half",
    "recovered": "of the questions right without the wrong beginning, the share right with it",
    "right without": "the share answered right with no wrong beginning",
    "right with it": "the share answered right with a wrong beginning",
    "after a space": "the word inside a sentence",
    "at start": "the word at the start of a text",
    "tokens per word": "tokens that a member cuts a word into, on average",
}
_SYSTEMS = {  # whose names for people do not say it
    "vote": "each member answers by itself; the most frequent answer counts",
    "mbr": "each member answers by itself; the answer most like the others counts",
    "lowest-perplexity": "each member answers by itself; the answer likeliest to all counts",
}


def explained(result: StudyResult) -> dict[str, str]:
    """The names in a result's tables, each with its meaning."""
    columns = [column for table in result.tables for column in table.columns]
    systems = [row[0] for table in result.tables if table.columns[0] == "system" for row in table.rows]
    found = {name: about for name, about in _SYSTEMS.items() if any(system.startswith(name) for system in systems)}
    return found | {name: about for name, about in _COLUMNS.items() if any(_is_in(name, column) for column in columns)}


def _is_in(name: str, column: str) -> bool:
    """Whether a column has that name, whatever follows a space, a comma or a bracket."""
    plain = column.removesuffix(" (95 %)")
    return (
        plain == name
        or (column.startswith(name) and name.endswith(" "))
        or plain.endswith(f", {name}")
        or (name not in ("ECE", "nats") and plain.startswith((f"{name} ", f"{name},")))
    )
