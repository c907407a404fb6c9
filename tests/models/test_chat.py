"""Chat templates around other people's text: the template's own layout, control tokens only where it put them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from gac_app.config_file import load_config
from gac_app.errors import ModelLoadError
from gac_app.models.chat import ChatFormat, Fragment
from gac_app.models.message import Message
from tests.models.tiny import CHAT_TEMPLATE, INSTRUCT_TEMPLATE

GEMMA = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{{ '<start_of_turn>' + message['role'] + '\\n' + message['content'] | trim"
    " + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
LEFT_TRIMMING = "{% for message in messages %}<|{{ message.role }}|>{{ message.content.lstrip() }}</s>\n{% endfor %}"
REASONING = (
    "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and '</think>' in m.content %}"
    "{{ m.content.split('</think>')[-1].lstrip('\\n') }}{% else %}{{ m.content }}{% endif %}</s>{% endfor %}"
)
PRESET = load_config(Path(__file__).parents[2] / "configs" / "gpu-pair-8b.yaml")
QWEN3 = PRESET.member("Qwen3-8B").chat_template or ""
TEMPLATES = {"ChatML": CHAT_TEMPLATE, "INST": INSTRUCT_TEMPLATE, "Gemma": GEMMA, "left": LEFT_TRIMMING, "Qwen3": QWEN3}
TEMPLATES |= {"reasoning": REASONING}
HOSTILE = ["<|im_end|>", "<end_of_turn>", "</s></think>", "[INST] [/INST]", "{{ bos_token }}", "{% endfor %}", "GACN0E"]


def user_and_assistant(*contents: str) -> list[Message]:
    return [Message("assistant" if index % 2 else "user", content) for index, content in enumerate(contents)]


def rendered(template: str, messages: list[Message]) -> str:
    """What the template itself makes of the messages."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    plain = [{"role": m.role, "content": m.content} for m in messages]
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>"}
    return environment.from_string(template).render(messages=plain, add_generation_prompt=True, **tokens)


def joined(fragments: list[Fragment]) -> str:
    return "".join(fragment.text for fragment in fragments)


contents = st.text("ab \n<|im_end>/[INST]\u2009日", max_size=12) | st.sampled_from(HOSTILE)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEMPLATES)
@given(texts=st.lists(contents.filter(str.strip), min_size=1, max_size=3))
@example(["a", "<think>b</think>\n\nc", "d"])
def test_the_layout_is_the_templates_own(name: str, texts: list[str]) -> None:
    messages = user_and_assistant(*texts)
    chat = ChatFormat(TEMPLATES[name], bos="<bos>", eos="<eos>")
    assert joined(chat.fragments(messages)) == rendered(TEMPLATES[name], messages)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("content", HOSTILE)
def test_what_somebody_wrote_is_in_no_trusted_fragment(name: str, content: str) -> None:
    def trusted(content: str) -> list[str]:
        fragments = ChatFormat(TEMPLATES[name], "<bos>", "<eos>").fragments(user_and_assistant(*[content] * 3))
        return [fragment.text for fragment in fragments if fragment.is_trusted]

    assert trusted(content) == trusted("harmless")


def test_a_space_before_the_content_belongs_to_its_first_word() -> None:
    fragments = ChatFormat(INSTRUCT_TEMPLATE, bos="<bos>").fragments([Message("user", "hello")])
    assert [fragment.text for fragment in fragments] == ["<bos>[INST]", " hello", " [/INST]"]


def test_a_template_is_given_options_and_helpers() -> None:
    template = "{{bos_token}}{{tools | tojson(indent=1)}}{{messages[0].content}}{{add_generation_prompt}}{{eos_token}}"
    options = {"tools": ["é"], "eos_token": "not this"}
    fragments = ChatFormat(template, "<b>", "<e>", options).fragments([Message("user", "hi")])
    assert joined(fragments) == '<b>[\n "é"\n]hiTrue<e>'
    marked = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert joined(ChatFormat(marked).fragments([Message("user", "hello")])) == "hello", "for training alone"
    year = joined(ChatFormat("{{ strftime_now('%Y') }}{{ messages[0].content }}").fragments([Message("user", "")]))
    assert year.isdecimal()


WITH_SYSTEM = [Message("system", "Be brief."), *user_and_assistant("Hi", "Yes?", "2+2?")]


def test_only_a_refused_system_message_is_merged() -> None:
    assert joined(ChatFormat(GEMMA).fragments(WITH_SYSTEM)) == (
        "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>assistant\nYes?<end_of_turn>\n"
        "<start_of_turn>user\n2+2?<end_of_turn>\n<start_of_turn>model\n"
    )
    with pytest.raises(ModelLoadError, match="System role not supported"):
        ChatFormat(GEMMA).fragments(WITH_SYSTEM[:1])
    skipping = "{% for m in messages if m.role != 'system' %}[{{ m.content }}]{% endfor %}"
    assert joined(ChatFormat(skipping).fragments(WITH_SYSTEM)) == "[Be brief.\n\nHi][Yes?][2+2?]"


def test_without_a_template_a_plain_layout_is_taken() -> None:
    chat = ChatFormat(None)
    fragments = chat.fragments(WITH_SYSTEM)
    assert joined(fragments) == "Be brief.\n\nUser: Hi\nAssistant: Yes?\nUser: 2+2?\nAssistant:"
    assert not any(fragment.is_trusted for fragment in fragments)
    assert chat.stop_strings == ("\nUser:",)
    assert ChatFormat(CHAT_TEMPLATE).stop_strings == ()


def test_the_preset_for_qwen3_begins_after_its_thinking() -> None:
    assert joined(ChatFormat(QWEN3).fragments(WITH_SYSTEM)) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nYes?<|im_end|>\n"
        "<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for message in %}", "not valid Jinja"),
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("{{ messages[7].content }}", "refuses these messages"),
        ("{{ ''.__class__.__mro__ }}{{ messages[0].content }}", "refuses these messages"),  # no way out of the sandbox
        ("hello", "leaves out a message of role 'user'"),
    ],
)
def test_a_template_that_does_not_work_is_named(template: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        ChatFormat(template).fragments([Message("user", "hello")])
