"""Bytes of Hugging Face tokenizers' tokens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from gac_app.errors import VocabularyError
from gac_app.vocab.decoders import HARD_STRINGS, TextEncoder, read_vocabulary
from gac_app.vocab.tokens import MemberVocabulary
from tests.models.tiny import byte_level_tokenizer, sentencepiece_tokenizer


def vocabulary_of(tokenizer: Tokenizer, padding: int = 0) -> MemberVocabulary:
    size = tokenizer.get_vocab_size() + padding
    return read_vocabulary(tokenizer, size, frozenset(), TextEncoder(tokenizer))


def with_nfc() -> Tokenizer:
    tokenizer = byte_level_tokenizer()
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def with_metaspace() -> Tokenizer:
    tokenizer = sentencepiece_tokenizer()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tokenizer


VOCABULARIES = {
    "byte level": vocabulary_of(byte_level_tokenizer()),
    "byte level, NFC": vocabulary_of(with_nfc()),
    "sentencepiece": vocabulary_of(sentencepiece_tokenizer()),
    "sentencepiece, space first": vocabulary_of(sentencepiece_tokenizer(puts_space_first=True)),
    "metaspace": vocabulary_of(with_metaspace()),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", VOCABULARIES)
@given(text=st.text() | st.sampled_from(HARD_STRINGS) | st.text("▁ \t\r\né<|>imendtols\u0301"))
def test_bytes_of_ids_are_the_texts(kind: str, text: str) -> None:
    vocabulary = VOCABULARIES[kind]
    ids = vocabulary.encode(text)
    assert vocabulary.decode(ids) == text.encode()
    assert all(vocabulary.token_bytes[i] is not None for i in ids)


def test_one_text_is_read_at_a_time() -> None:
    """Whether control tokens are recognised is a state of the tokenizer."""
    encode = TextEncoder(byte_level_tokenizer())

    class Tokens:
        def encode(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
            return SimpleNamespace(ids=[encode._lock.locked()])

        def no_truncation(self) -> None: ...

        no_padding = no_truncation

    encode._literal = Tokens()  # type: ignore[assignment]
    assert encode("a") == [True]


def test_a_text_is_neither_truncated_nor_padded() -> None:
    """Whatever the tokenizer's file asks for, or its last call by transformers."""
    tokenizer = byte_level_tokenizer()
    encode = TextEncoder(tokenizer)
    for read in (encode, encode.document):
        for length in (1, 40):
            tokenizer.enable_truncation(8)
            tokenizer.enable_padding(length=16)
            assert read("x" * length) == [tokenizer.token_to_id("x")] * length


def test_control_is_what_the_tokenizer_says_it_is() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([AddedToken("<|für|>", special=False, normalized=False)])
    tokenizer.add_special_tokens([AddedToken("plain", special=True, normalized=False)])
    assert vocabulary_of(tokenizer).token_bytes[-2:] == ("<|für|>".encode(), None)


def test_a_byte_token_needs_byte_fallback() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([AddedToken("<0x41>", special=False, normalized=False)])
    assert vocabulary_of(tokenizer).token_bytes[-1] == b"<0x41>"


def test_a_document_has_no_control_token_that_was_typed() -> None:
    encode = TextEncoder(byte_level_tokenizer())
    for recognise_control in (True, False, True):
        assert (encode("<|im_end|>", recognise_control=recognise_control) == [2]) is recognise_control
        assert 2 not in encode.document("a typed <|im_end|>")
        assert 2 not in encode("a typed <|im_end|>")


def test_a_document_begins_by_the_tokenizers_own_rules() -> None:
    tokenizer = sentencepiece_tokenizer(puts_space_first=True)
    encode, vocabulary = TextEncoder(tokenizer), vocabulary_of(tokenizer)
    assert encode.bos_ids == [2]
    assert encode.document("the") == tokenizer.encode("the").ids
    assert vocabulary.decode(encode.document("the")) == b" the"
    assert vocabulary.decode(encode("the")) == b"the"
    assert 2 not in encode("the"), "no document"
    template = "<bos>the<eos> the<eos>"
    assert encode(template, recognise_control=True) == tokenizer.encode(template, add_special_tokens=False).ids
    assert encode("the", recognise_control=True) == encode("the")


def test_a_document_is_kept_as_far_as_asked_without_its_end() -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <|endoftext|>", special_tokens=[("<|im_start|>", 1), ("<|endoftext|>", 0)]
    )
    encode = TextEncoder(tokenizer)
    ids = encode("q1")
    assert (encode.bos_ids, len(ids)) == ([1], 2)
    assert encode.document("q1") == [1, *ids]
    assert [encode.document("q1", num_kept=num) for num in (0, 1, 2)] == [[1], [1, ids[0]], [1, *ids]]
    assert encode.document("") == [1]


@pytest.mark.parametrize("encode_document", [False, True])
def test_a_lone_surrogate_is_read_as_a_question_mark(encode_document: bool) -> None:
    encode = TextEncoder(byte_level_tokenizer())
    ids = encode.document("a\ud800b") if encode_document else encode("a\ud800b")
    assert ids == encode("a?b")


def test_a_space_mark_in_the_text_is_spelt_in_bytes() -> None:
    tokenizer = sentencepiece_tokenizer()
    encode = TextEncoder(tokenizer)
    mark = [tokenizer.token_to_id(token) for token in ("<0xE2>", "<0x96>", "<0x81>")]
    assert encode("the▁the▁") == [*encode("the"), *mark, *encode("the"), *mark]
    assert encode("<eos>▁<eos>", recognise_control=True) == [1, *mark, 1]


def test_an_embedding_may_have_more_rows_or_fewer() -> None:
    tokenizer = byte_level_tokenizer()
    assert vocabulary_of(tokenizer, padding=3).token_bytes[-3:] == (None,) * 3
    assert len(vocabulary_of(tokenizer, padding=-1)) == tokenizer.get_vocab_size() - 1


def test_a_tokenizer_that_loses_text_is_refused() -> None:
    tokenizer = sentencepiece_tokenizer()
    lossy = Tokenizer(models.BPE({"<unk>": 0, "a": 1, "▁": 2}, [], unk_token="<unk>"))
    lossy.normalizer, lossy.decoder = tokenizer.normalizer, tokenizer.decoder
    with pytest.raises(VocabularyError, match=r"the tokenizer turns .Hello, world"):
        vocabulary_of(lossy)


def test_an_unknown_family_is_refused() -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(VocabularyError, match="decoder is WordPiece"):
        vocabulary_of(tokenizer)
