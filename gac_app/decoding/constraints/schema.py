"""JSON that follows a schema, by llguidance: a token is allowed if its bytes can go on.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gac_app.decoding.constraints.constraint import Constraint
from gac_app.errors import ConstraintError, RequestError
from gac_app.validation import shortened
from gac_app.vocab.union import UnionVocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_NUM_KEPT = 8  # compiled schemas
_NUM_TRIED = 2  # tokens, before a schema is accepted
_MAX_STATES = 20_000  # of an answer's lexer, 1 to 2 kB each
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
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()

    def of(self, schema: Mapping[str, Any]) -> SchemaConstraint:
        """The constraint of an answer that has yet to begin. The first one takes about half a second.

        Raises:
            RequestError: llguidance is missing, or the schema is wrong, too complex, or nothing fits it.
        """
        try:
            text = json.dumps({**schema, "x-guidance": _LAYOUT})
        except (TypeError, ValueError, RecursionError):
            raise RequestError("json_schema", "is no JSON") from None
        with self._lock:
            found = self._compiled.pop(text, None)
        found = found or self._compile(text)
        with self._lock:
            self._compiled[text] = found
            while len(self._compiled) > _NUM_KEPT:
                self._compiled.popitem(last=False)
            return SchemaConstraint(found.deep_copy(), len(self._union))

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
        constraint = SchemaConstraint(matcher.deep_copy(), len(self._union))
        try:
            for _ in range(_NUM_TRIED):
                constraint.note(int(constraint.allowed_U.argmax()))
        except ConstraintError as error:
            is_complex = str(error).endswith(_TOO_COMPLEX)
            raise RequestError("json_schema", _TOO_COMPLEX if is_complex else "no text fits it") from None
        return matcher

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        from llguidance import LLTokenizer

        return LLTokenizer(_Tokens(self._union))  # type: ignore[arg-type,unused-ignore]


class SchemaConstraint(Constraint):
    """The state of one answer. At the end of the JSON, only END is allowed.

    Args:
        matcher: owned.
        size: of the union.
    """

    def __init__(self, matcher: LLMatcher, size: int) -> None:
        self._matcher, self._size = matcher, size

    def __call__(self, probs_U: torch.Tensor) -> torch.Tensor:
        allowed_U = torch.from_numpy(self.allowed_U).to(probs_U.device)
        masked_U = probs_U * allowed_U
        total = float(masked_U.sum())
        # Where the members find everything impossible that is allowed, all of it is equally likely.
        return masked_U / total if total > 0 else allowed_U / allowed_U.sum()

    @property
    def allowed_U(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """1 for the tokens that may come next, 0 for the others. Raises ConstraintError if there is none."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check("no token of the members fits here")
        return np.unpackbits(bits, count=self._size, bitorder="little").astype(np.float32)

    def note(self, token_id: int) -> None:
        self._matcher.consume_token(token_id)
        self._check("this token does not fit here")

    def fork(self) -> SchemaConstraint:
        return SchemaConstraint(self._matcher.deep_copy(), self._size)

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


def _told(error: str) -> str:
    """What a user needs of llguidance's message."""
    message = error.partition("\n   1 | ")[0].partition("<non-verbose/>")[0].rpartition("JSON schema: ")[2]
    return shortened(re.sub(r"\s+", " ", message).strip(), 200)
