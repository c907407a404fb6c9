"""A study's result as people read it: with names for people. Files keep the keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from gac_app.charts import reworded
from gac_app.config import Config
from gac_app.evaluation.studies import GivenAnswer, StudyResult, Table
from gac_app.ui.settings.names import systems_in_words


def for_people(result: StudyResult, config: Config) -> StudyResult:
    """The result with its systems named for people, wherever it names them."""
    words = systems_in_words(dict.fromkeys(_keys(result)), config)
    # In a sentence only what can be no word of it.
    marked = sorted((key for key in words if set(key) & set(":@-+") and words[key] != key), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, marked))) if marked else None

    def named(text: str) -> str:
        return words.get(text) or (pattern.sub(lambda found: words[found[0]], text) if pattern else text)

    return replace(
        result,
        tables=[_table(table, named) for table in result.tables],
        remarks=[named(remark) for remark in result.remarks],
        failure=named(result.failure),
        plots=[reworded(plot, named) for plot in result.plots],
        asked=[replace(one, answers=[_answer(answer, named) for answer in one.answers]) for one in result.asked],
    )


def _keys(result: StudyResult) -> Iterator[str]:
    for table in result.tables:
        yield from (row[0] for row in table.rows)
    for question in result.asked:
        yield from (answer.system for answer in question.answers)


def _table(table: Table, named: Callable[[str], str]) -> Table:
    rows = [[named(first), *others] for first, *others in table.rows]
    return replace(table, columns=[named(column) for column in table.columns], rows=rows)


def _answer(answer: GivenAnswer, named: Callable[[str], str]) -> GivenAnswer:
    return replace(answer, system=named(answer.system))
