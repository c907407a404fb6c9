"""Vocabularies for tests: random small ones, and a tokeniser that spells with the longest pieces of a chosen set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from gac_app.vocab.tokens import Encode, MemberVocabulary

ALL_BYTES = tuple(bytes([byte]) for byte in range(256))


def vocabulary(
    tokens: Sequence[bytes | None],
    end_ids: Iterable[int] = (),
    byte_ids: Iterable[int] = (),
    encode: Encode | None = None,
) -> MemberVocabulary:
    """A vocabulary; its tokeniser, unless another is given, takes the longest token at each place."""
    ends = frozenset(end_ids)
    spelled = encode or longest_match({token: i for i, token in enumerate(tokens) if token and i not in ends})
    return MemberVocabulary(tuple(tokens), ends, frozenset(byte_ids), spelled)


def longest_match(ids: dict[bytes, int]) -> Encode:
    def encode(text: str) -> list[int]:
        data, found = text.encode(), []
        while data:
            piece = max((token for token in ids if data.startswith(token)), key=len, default=b"")
            if not piece:
                return found  # a tokeniser that loses what it does not know
            found.append(ids[piece])
            data = data[len(piece) :]
        return found

    return encode


_texts = st.binary(min_size=1, max_size=4) | st.text("ab é日👩", min_size=1, max_size=3).map(str.encode)


@st.composite
def vocabularies(draw: st.DrawFn) -> MemberVocabulary:
    """A member that can spell any bytes or lacks some of them, with duplicates, control tokens and 0 to 3 ends."""
    lacking = draw(st.sets(st.integers(0, 255), max_size=3))
    base: list[bytes | None] = [token for byte, token in enumerate(ALL_BYTES) if byte not in lacking]
    extra = draw(st.lists(st.one_of(st.none(), _texts), max_size=12))
    twins = draw(st.lists(st.sampled_from([*base, *extra]), max_size=6))
    tokens = draw(st.permutations([*extra, *twins])) + base
    end_ids = draw(st.sets(st.integers(0, len(tokens) - len(base)), max_size=3))
    byte_ids = draw(st.sampled_from([(), range(len(tokens) - len(base), len(tokens))]))
    return vocabulary(tokens, end_ids, byte_ids)
