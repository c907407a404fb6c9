"""JSON that follows a schema, by llguidance: a token is allowed if its bytes can go on.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

import json
import math
import re
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gac_app.errors import ConstraintError, RequestError
from gac_app.recent import Recent
from gac_app.validation import depth_of, shortened
from gac_app.vocab.union import UnionVocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_NUM_KEPT = 8  # compiled schemas
_NUM_TRIED = 2  # tokens, before a schema is accepted
_MAX_STATES = 20_000  # of an answer's lexer, 1 to 2 kB each
# Where llguidance has no limit, or reaches it late: of these, it takes at most 0.2 s of a core.
_MAX_JOINED = 12  # different patterns that one value may have to match: each doubles time and memory
_MAX_REMAINDERS = 20_000  # of `multipleOf`, each a state
_MAX_OPTIONAL = 500  # properties of one object; of several, their squares add up
_MAX_NAME_PATTERNS = 50  # `allOf` may join them, which is cubic
_MAX_FORMATS = 250
_MAX_LEVELS = 600  # on the way along `$ref`: it recurs, and overflows the stack from about 2,000 on
_CHOOSES = {"$ref", "anyOf", "oneOf"}
_OF_OBJECTS = {"properties", "patternProperties", "additionalProperties"}
_HOLDS = {"pattern", "format", "multipleOf", "items", "prefixItems"} | _OF_OBJECTS
_TOO_COMPLEX = "is too complex"
_LIMIT = re.compile(r"\bmax\b|limit|fuel|TooComplex")  # in messages of llguidance
# Between JSON's parts. Without an end to it, a small model may write nothing else.
_LAYOUT = {"whitespace_pattern": r"[ ]|\n[ ]{0,20}"}
# No bytes are forced: which tokens spell them is for the members to say.
_GRAMMAR = '%llguidance {"no_forcing": true}\nstart: %json '


class Grammars:
    """Compiles schemas for one union. The last ones are kept."""

    def __init__(self, union: UnionVocabulary) -> None:
        self._union = union
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._compiled: Recent[str, LLMatcher] = Recent(_NUM_KEPT)

    def of(self, schema: Mapping[str, Any]) -> SchemaConstraint:
        """The constraint of an answer that has yet to begin. The first one takes about half a second.

        Raises:
            RequestError: llguidance is missing, or the schema is wrong, too complex, or nothing fits it.
        """
        try:
            text = json.dumps({**schema, "x-guidance": _LAYOUT})
        except (TypeError, ValueError, RecursionError):
            raise RequestError("json_schema", "invalid JSON") from None
        if _is_too_complex(schema):
            raise RequestError("json_schema", _TOO_COMPLEX)
        with self._lock:
            found = self._compiled.get(text)
        found = found or self._compile(text)
        with self._lock:
            self._compiled[text] = found
            return SchemaConstraint(found.deep_copy(), self._union)

    def _compile(self, text: str) -> LLMatcher:
        try:
            from llguidance import LLMatcher, LLParserLimits
        except ImportError:
            raise RequestError("json_schema", "needs llguidance here: `pip install 'llguidance>=1.9,<2'`") from None
        limits = LLParserLimits(max_lexer_states=_MAX_STATES, verbose_errors=False)
        with self._building:  # one of it is enough
            tokenizer = self._tokenizer
        matcher = LLMatcher(tokenizer, _GRAMMAR + text, log_level=0, limits=limits)
        if matcher.is_error():
            raise RequestError("json_schema", _told(matcher.get_error()))
        constraint = SchemaConstraint(matcher.deep_copy(), self._union)
        try:
            for _ in range(_NUM_TRIED):
                constraint.note(int(constraint.allowed_U().argmax()))
        except ConstraintError as error:
            is_complex = str(error).endswith(_TOO_COMPLEX)
            raise RequestError("json_schema", _TOO_COMPLEX if is_complex else "no text fits it") from None
        return matcher

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        from llguidance import LLTokenizer

        return LLTokenizer(_Tokens(self._union))  # type: ignore[arg-type,unused-ignore]


class SchemaConstraint:
    """The state of one answer. At the end of the JSON, only END is allowed.

    Args:
        matcher: owned.
        noted: the tokens that it has followed.
    """

    def __init__(self, matcher: LLMatcher, union: UnionVocabulary, noted: Iterable[int] = ()) -> None:
        self._matcher, self._union, self._noted = matcher, union, list(noted)
        self._known: dict[int | None, torch.Tensor] = {}  # the last `allowed_U`

    def __call__(self, probs_U: torch.Tensor) -> torch.Tensor:
        """The distribution over the tokens that are allowed, summing to 1; `probs_U` stays as it is."""
        allowed_U = self.allowed_U().to(probs_U.device)
        masked_U = probs_U * allowed_U
        total = float(masked_U.sum())
        # Where the members find everything impossible that is allowed, all of it is equally likely.
        return masked_U / total if total > 0 else allowed_U / allowed_U.sum()

    def allowed_U(self, num_bytes: int | None = None) -> torch.Tensor:
        """1 for the tokens whose bytes may follow the first `num_bytes` of the answer (None = all of it), 0 for the
        others. Raises ConstraintError if no token is left.
        """
        if num_bytes not in self._known:
            matcher = self._matcher if num_bytes is None else self._back_to(num_bytes)
            bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
            self._check("no token of the members fits here")
            mask_U = np.unpackbits(bits, count=len(self._union), bitorder="little").astype(np.float32)
            self._known = {num_bytes: torch.from_numpy(mask_U)}
        return self._known[num_bytes]

    def _back_to(self, num_bytes: int) -> LLMatcher:
        """The matcher after the first bytes of the answer, which may be inside a token."""
        matcher, ends = self._matcher.deep_copy(), [0]
        ends += accumulate(len(self._union.token(token_id)) for token_id in self._noted)
        num_kept = bisect_right(ends, num_bytes) - 1
        matcher.rollback(len(self._noted) - num_kept)
        begun = self._union.token(self._noted[num_kept]) if num_kept < len(self._noted) else b""
        for token_id in self._union.cut(begun[: num_bytes - ends[num_kept]]):
            matcher.consume_token(token_id)
        return matcher

    def note(self, token_id: int) -> None:
        """A token was written, chosen or forced. Raises ConstraintError, and changes nothing, if it is not allowed."""
        # A matcher that has failed stays so. END is never said to be valid.
        before = None if self._matcher.validate_tokens([token_id]) else self._matcher.deep_copy()
        self._matcher.consume_token(token_id)
        try:
            self._check("this token does not fit here")
        except ConstraintError:
            self._matcher = before or self._matcher
            raise
        self._noted.append(token_id)
        self._known.clear()

    def fork(self) -> SchemaConstraint:
        """An independent copy with the same state."""
        return SchemaConstraint(self._matcher.deep_copy(), self._union, self._noted)

    def _check(self, why: str) -> None:
        if self._matcher.is_error():
            is_complex = _LIMIT.search(self._matcher.get_error())
            raise ConstraintError(f"json_schema: {_TOO_COMPLEX if is_complex else why}")


class _Tokens:
    """The union as llguidance takes a tokeniser."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, union: UnionVocabulary) -> None:
        self.tokens = [*union.tokens, b""]
        self.eos_token_id = union.end_id
        self.special_token_ids = [union.end_id]

    def __call__(self, text: str) -> list[int]:
        raise NotImplementedError  # for bytes that are forced, and none are


def _is_too_complex(schema: Mapping[str, Any]) -> bool:
    """Whether it may take llguidance minutes and gigabytes to compile, or end the process. Counts in all of the schema,
    wherever a `$ref` leads.
    """
    nodes = list(_objects(schema))
    has_joined = any(map(_joins, nodes))
    patterns = {pattern for node in nodes if isinstance(pattern := node.get("pattern"), str)}
    multiples = {_num_remainders(one) for node in nodes if type(one := node.get("multipleOf")) in (int, float)}
    num_remainders = math.prod(multiples) if has_joined else sum(multiples)
    return (
        num_remainders > _MAX_REMAINDERS
        or (has_joined and len(patterns) > _MAX_JOINED)
        or sum(len(_names(node, "patternProperties")) for node in nodes) > _MAX_NAME_PATTERNS
        or sum("format" in node for node in nodes) > _MAX_FORMATS
        or sum(_num_to_order(node) ** 2 for node in nodes) > _MAX_OPTIONAL**2
        or any(num_levels > _MAX_LEVELS for num_levels in accumulate(_depths(schema, nodes)))
    )


def _names(node: Mapping[str, Any], keyword: str) -> set[str]:
    value = node.get(keyword)
    return {name for name in value if isinstance(name, str)} if isinstance(value, dict | list) else set()


def _num_to_order(node: Mapping[str, Any]) -> float:
    """The properties that an object may leave out. One that is required costs a tenth."""
    required = _names(node, "required")
    return len(_names(node, "properties") - required) + len(required) / 10


def _depths(schema: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """Of the schema and of all that it refers to: a way along `$ref` descends at most their sum."""
    parts: dict[object, Any] = {"#": schema}
    for name in {name for node in nodes if isinstance(name := node.get("$ref"), str)}:
        part: Any = schema
        for key in name.removeprefix("#").split("/")[1:]:
            part = part.get(key) if isinstance(part, dict) else None
        # What is named in another way than by its place may be anything.
        parts |= {name: schema} if part is None else {id(part): part}
    return (depth_of(part, _MAX_LEVELS) for part in parts.values())


def _joins(node: Mapping[str, Any]) -> bool:
    """Whether a value has to match several parts of it at once."""
    all_of = node.get("allOf")
    num_parts = len(node.keys() & _CHOOSES) + (len(all_of) if isinstance(all_of, list) else 0)
    return num_parts > 1 or (num_parts == 1 and not _HOLDS.isdisjoint(node))


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one


def _num_remainders(multiple: object) -> int:
    """Of divisions by a number: 12,300 by 12300, 123 by 0.0123, one by a power of ten; or just too many."""
    _, digits, exponent = Decimal(str(multiple)).normalize().as_tuple()
    significand = int("".join(map(str, digits)))
    return 1 if significand <= 1 else min(significand * 10 ** max(0, int(exponent)), _MAX_REMAINDERS + 1)


def _told(error: str) -> str:
    """What a user needs of llguidance's message."""
    message = error.partition("\n   1 | ")[0].partition("<non-verbose/>")[0].rpartition("JSON schema: ")[2]
    return shortened(re.sub(r"\s+", " ", message).strip(), 200)
