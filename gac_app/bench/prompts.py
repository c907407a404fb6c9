"""Long prompts: the time to the first token beside llama.cpp's own reading, and another answer's pace meanwhile.

llama.cpp reads the same GGUF files with the same threads and batch size. As the members read at the same time, so does
it, so that an ensemble's first token should take no longer than llama.cpp needs for the slower member.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import cycle, islice
from statistics import median

from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.workbench import PROMPTS, Workbench, interleaved
from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.errors import GacError
from gac_app.models.base import Model
from gac_app.models.message import Message
from gac_app.models.sequence import LOCAL, ForwardRequest, Share

ROUNDS = {1_000: 6, 4_000: 3, 16_000: 1}  # by characters: a long prompt takes minutes
_NEIGHBOUR_CHARS, _NEIGHBOUR_ROUNDS = 4_000, 3
_TOKENS_BEFORE, _LEAST_TOKENS, _MOST_TOKENS = 24, 8, 1_000

Seconds = Mapping[str, float]  # by member


def measure(bench: Workbench) -> list[Row]:
    """The rows of each length, and the pace of an answer beside a long prompt."""
    rounds = {1_000: 1} if bench.is_quick else ROUNDS
    with _by_llama_cpp(bench) as models:
        rows = [row for chars, number in rounds.items() for row in _first_tokens(bench, models, chars, number)]
    return [*rows, _pace_row(bench)]


def prompt_of(num_chars: int) -> str:
    """A text of so many characters, of words: numbers take so many tokens that the longest would exceed a context of
    4,096.
    """
    return " ".join(islice(cycle(PROMPTS), num_chars // 40))[:num_chars]


@contextmanager
def _by_llama_cpp(bench: Workbench) -> Iterator[Mapping[str, Model]]:
    """llama.cpp's own models of the members' files. Raises NotMeasured for members of other files."""
    from gac_app.models.llama_cpp.gguf_model import GgufModel
    from gac_app.models.llama_cpp.model import LlamaCppModel

    with ExitStack() as opened:
        models: dict[str, Model] = {}
        for config in bench.config.loaded:
            member = bench.ensemble.members[config.name].model
            if not isinstance(member, GgufModel):
                raise NotMeasured(f"{config.name} is not a GGUF file, which llama.cpp could read as well")
            models[config.name] = LlamaCppModel(
                config.name,
                bench.files(config).path,
                num_threads=member.num_threads or 1,
                context_length=member.context_length,
                max_sequences=1,
            )
            opened.callback(models[config.name].close)
        yield models


def _first_tokens(bench: Workbench, models: Mapping[str, Model], num_chars: int, num_rounds: int) -> Iterator[Row]:
    """Each member alone against llama.cpp, and the ensemble against llama.cpp's slower one. All members at once."""

    def at_once(read: Callable[[str, str], float]) -> Callable[[str], Seconds]:
        def all_read(text: str) -> Seconds:
            with ThreadPoolExecutor(len(models)) as pool:
                return dict(zip(models, pool.map(lambda name: read(text, name), models), strict=True))

        return all_read

    def llama_s(text: str, name: str) -> float:
        return _read_s(models[name], text, bench.ensemble.members[name].model.chunk_size)

    def ensemble_s(text: str) -> Seconds:
        return {"": _first_token_s(bench, text)}

    texts = [prompt_of(num_chars)] * num_rounds
    ours, alone, theirs = interleaved(texts, ensemble_s, at_once(partial(_first_token_s, bench)), at_once(llama_s))
    what = f"prompt of {num_chars:,} characters: first token"
    for name in models:
        own_s, llama_own_s = ([seconds[name] for seconds in found] for found in (alone, theirs))
        note = f"{median(own_s):.2f} s, llama.cpp {median(llama_own_s):.2f} s"
        yield Row.ratio(f"{what}, {name} ÷ llama.cpp", own_s, llama_own_s, Target("<=", 1.1), note)
    ours_s, slowest_s = ([max(seconds.values()) for seconds in found] for found in (ours, theirs))
    note = f"{median(ours_s):.2f} s, llama.cpp {median(slowest_s):.2f} s"
    yield Row.ratio(f"{what}, ensemble ÷ llama.cpp's slower", ours_s, slowest_s, Target("<=", 1.1), note)


def _first_token_s(bench: Workbench, text: str, alone: str | None = None, share: Share = LOCAL) -> float:
    settings = bench.settings(max_new_tokens=1)
    *_, end = bench.ensemble.session(text, settings, alone=alone, share=share).events()
    if not isinstance(end, FinishedEvent) or end.reason is FinishReason.ERROR:
        raise GacError(f"a prompt of {len(text):,} characters was not read: {end}")
    return end.ttft_s


def _read_s(model: Model, text: str, batch_size: int) -> float:
    ids = model.encode_chat([Message("user", text)])
    sequence = model.new_sequence()
    started = time.monotonic()
    for start in range(0, len(ids), batch_size):
        model.read([ForwardRequest(sequence, tuple(ids[: start + batch_size]))])
    seconds = time.monotonic() - started
    model.free(sequence)
    return seconds


def _pace_row(bench: Workbench) -> Row:
    """An answer's milliseconds per token while another address's prompt is read, against those before."""
    rounds = [_paces(bench, prompt) for prompt in PROMPTS[: 1 if bench.is_quick else _NEIGHBOUR_ROUNDS]]
    before, during, reading_s = zip(*rounds, strict=True)
    note = f"ms/token: {median(during):.1f}, before {median(before):.1f}; first token after {median(reading_s):.1f} s"
    what = f"an answer's ms/token while a prompt of {_NEIGHBOUR_CHARS:,} characters is read ÷ before"
    return Row.ratio(what, during, before, Target("<=", 1.3), note)


def _paces(bench: Workbench, prompt: str) -> tuple[float, float, float]:
    """Milliseconds per token before and meanwhile, and the seconds until the long prompt's first token."""
    marks = list[float]()
    settings = bench.settings(max_new_tokens=_MOST_TOKENS)
    with (
        ThreadPoolExecutor(1) as pool,
        closing(bench.ensemble.session(prompt, settings, share=("writer",)).events()) as events,
    ):
        marks += [time.monotonic() for _ in islice(events, _TOKENS_BEFORE)]
        reading = pool.submit(_first_token_s, bench, prompt_of(_NEIGHBOUR_CHARS), share=("reader",))
        for _ in events:
            marks.append(time.monotonic())
            if reading.done():
                break
    before, during = marks[:_TOKENS_BEFORE], marks[_TOKENS_BEFORE - 1 :]
    if len(during) < _LEAST_TOKENS:
        raise GacError("the answer ended before the long prompt was read")
    return _ms_per_token(before), _ms_per_token(during), reading.result()


def _ms_per_token(marks_s: Sequence[float]) -> float:
    """Mean milliseconds between tokens with these times."""
    return 1000 * (marks_s[-1] - marks_s[0]) / (len(marks_s) - 1)
