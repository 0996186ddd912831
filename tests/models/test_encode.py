"""What carries loss: every assistant turn with its end token, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PythonBackend

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import (
    IGNORED,
    encode_answer,
    encode_dialogue,
    encode_prompt,
    encode_text,
    end_of_turn,
)
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.records import Message

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=30)


def _dialogue(*turns: str) -> list[Message]:
    return [Message(role=("user", "assistant")[place % 2], content=turn) for place, turn in enumerate(turns)]


def _learnt(tokenizer: Any, messages: list[Message]) -> str:
    encoded = encode_dialogue(tokenizer, messages)
    carrying = [label for label in encoded.labels if label != IGNORED]
    assert all(label in (IGNORED, token) for token, label in zip(encoded.input_ids, encoded.labels, strict=True))
    return str(tokenizer.decode(carrying))


@pytest.fixture
def unmarked(loaded: Loaded) -> Any:
    """The same tokenizer with a template that has no generation markers."""
    template = loaded.tokenizer.chat_template
    plain = re.sub(r"\{%-?\s*(end)?generation\s*-?%\}", "", template)
    assert plain != template
    loaded.tokenizer.chat_template = plain
    yield loaded.tokenizer
    loaded.tokenizer.chat_template = template


def test_single_turn_learns_the_answer_and_its_end(loaded: Loaded) -> None:
    assert _learnt(loaded.tokenizer, _dialogue("孩子发烧了", "多喝水。")) == "多喝水。<|im_end|>"


def test_multi_turn_learns_every_answer_and_nothing_else(loaded: Loaded) -> None:
    dialogue = [Message(role="system", content="你是儿科医生"), *_dialogue("发烧", "几天了？", "三天", "请就诊。")]
    assert _learnt(loaded.tokenizer, dialogue) == "几天了？<|im_end|>请就诊。<|im_end|>"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(turns=st.lists(TEXT, min_size=1, max_size=3).flatmap(lambda t: st.tuples(*map(st.just, t + t))))
def test_a_template_without_markers_gives_the_same_labels(
    loaded: Loaded, unmarked: Any, turns: tuple[str, ...]
) -> None:
    dialogue = _dialogue(*turns)
    without = encode_dialogue(unmarked, dialogue)
    template = unmarked.chat_template
    unmarked.chat_template = _marked_template(template)
    marked = encode_dialogue(unmarked, dialogue)
    unmarked.chat_template = template
    assert without == marked


def _marked_template(plain: str) -> str:
    spoken = "{{- message['content'] + '<|im_end|>' }}"
    assert spoken in plain
    return plain.replace(spoken, "{%- generation %}" + spoken + "{%- endgeneration %}")


def test_an_answer_that_contains_the_end_token_text_is_still_learnt_whole(loaded: Loaded) -> None:
    learnt = _learnt(loaded.tokenizer, _dialogue("问", "前<|im_end|>后"))
    assert learnt == "前<|im_end|>后<|im_end|>"


# As published models have them: a default system prompt (Qwen2.5), and thoughts in the last turn only (Qwen3).
QWEN_2_5 = (
    "{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}{%- endif %}"
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
QWEN_3 = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{{- m.content.strip() + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@pytest.mark.parametrize("template", [QWEN_2_5, QWEN_3], ids=["default system prompt", "thoughts in the last turn"])
def test_templates_of_published_models_learn_answers_and_ends(unmarked: Any, template: str) -> None:
    unmarked.chat_template = template
    dialogue = _dialogue("发烧", "几天了？\n", "三天", " 请就诊。")
    trim = str.strip if template == QWEN_3 else str
    learnt = "".join(trim(turn["content"]) + "<|im_end|>" for turn in dialogue[1::2])
    assert _learnt(unmarked, dialogue) == learnt
    prompt, answer = encode_answer(unmarked, dialogue[:1], dialogue[1])
    assert prompt == encode_prompt(unmarked, dialogue[:1])
    assert unmarked.decode(answer).endswith("几天了？<|im_end|>" if template == QWEN_3 else "几天了？\n<|im_end|>")


def test_markers_that_stop_before_the_end_token_still_teach_it(loaded: Loaded) -> None:
    template = loaded.tokenizer.chat_template
    spoken, end = "message['content'] + '<|im_end|>' }}", "{%- endgeneration %}"
    short = template.replace(spoken, "message['content'] }}").replace(end, end + "\n{{- '<|im_end|>' }}")
    assert short != template
    loaded.tokenizer.chat_template = short
    try:
        dialogue = _dialogue("发烧", "几天了？", "三天", "请就诊。")
        assert _learnt(loaded.tokenizer, dialogue) == "几天了？<|im_end|>请就诊。<|im_end|>"
    finally:
        loaded.tokenizer.chat_template = template


SAID = "{{- m.content }}"
MARKED = (
    "{%- if m.role == 'assistant' %}{%- generation %}{{- m.content }}{%- endgeneration %}"
    "{%- else %}{{- m.content }}{%- endif %}"
)


@pytest.mark.parametrize("said", [SAID, MARKED], ids=["plain", "marked"])
@pytest.mark.parametrize("gap", [" ", "\n\n", "（完）"])
def test_what_a_template_writes_before_its_end_token_is_learnt_with_it(unmarked: Any, said: str, gap: str) -> None:
    """At its use, too, a model must write the one to come to the other."""
    unmarked.chat_template = (
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
        + said
        + "{{- '"
        + gap.replace("\n", "\\n")
        + "<|im_end|>\\n' }}{%- endfor %}"
        + "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    )
    dialogue = _dialogue("发烧", "几天了？", "三天", "请就诊。")
    assert _learnt(unmarked, dialogue) == f"几天了？{gap}<|im_end|>请就诊。{gap}<|im_end|>"
    _, answer = encode_answer(unmarked, dialogue[:1], dialogue[1])
    assert unmarked.decode(answer) == f"几天了？{gap}<|im_end|>"


def test_an_end_that_cannot_be_taught_is_refused(unmarked: Any) -> None:
    last = "{%- if loop.last %}{{- '（第一次就诊时请带上以前的检查结果和病历）' }}{%- endif %}"
    unmarked.chat_template = (
        "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content }}"
        + last
        + "{{- '<|im_end|>\\n' }}{%- endfor %}"
    )
    with pytest.raises(UserError, match="ends an answer where no end can be taught"):
        encode_dialogue(unmarked, _dialogue("发烧", "几天了？"))


# They write no end token: a turn ends where the next one begins, or with a line break.
ENDLESS = {
    "GLM-4": ("{{- '<|' + m.role + '|>\\n' }}", "", "<|assistant|>\\n"),
    "MiniCPM": ("{{- '<用户>' if m.role == 'user' else '<AI>' }}", "", "<AI>"),
    "lines": ("{{- m.role + ': ' }}", "{{- '\\n' }}", "assistant: "),
}


def _endless(name: str, said: str) -> str:
    before, after, asked = ENDLESS[name]
    turns = "{%- for m in messages %}" + before + said + after + "{%- endfor %}"
    return turns + "{%- if add_generation_prompt %}{{- '" + asked + "' }}{%- endif %}"


@pytest.mark.parametrize("said", [SAID, MARKED], ids=["plain", "marked"])
@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("turns", [2, 4])
def test_templates_without_an_end_token_teach_every_answer_to_stop(
    unmarked: Any, name: str, said: str, turns: int
) -> None:
    unmarked.chat_template = _endless(name, said)
    dialogue = _dialogue("发烧", "几天了？", "三天", "请就诊。")[4 - turns :]
    encoded = encode_dialogue(unmarked, dialogue)
    end = unmarked.eos_token_id
    learnt = "".join(f"{turn['content']}<|im_end|>" for turn in dialogue[1::2])
    assert unmarked.decode([label for label in encoded.labels if label != IGNORED]) == learnt
    assert len(encoded.labels) == len(encoded.input_ids)
    kept = [token for token in encoded.input_ids if token != end]  # the format stays as it is
    assert unmarked.decode(kept) == unmarked.apply_chat_template(dialogue, tokenize=False)
    prompt, answer = encode_answer(unmarked, dialogue[:-1], dialogue[-1])
    assert prompt == encode_prompt(unmarked, dialogue[:-1])
    assert unmarked.decode(answer) == "请就诊。<|im_end|>"


def test_a_tokenizer_without_any_end_is_refused(unmarked: Any) -> None:
    unmarked.chat_template = _endless("MiniCPM", SAID)
    end, unmarked.eos_token = unmarked.eos_token, None
    try:
        with pytest.raises(UserError, match="answers could not be taught to stop"):
            encode_dialogue(unmarked, _dialogue("发烧", "请就诊。"))
    finally:
        unmarked.eos_token = end


class Characters(PythonBackend):
    """A tokenizer of the slow kind: a character a token, and no knowledge of where it stood."""

    @property
    def vocab_size(self) -> int:
        return 1 << 16

    def get_vocab(self) -> dict[str, int]:
        return {}

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return ord(token) if len(token) == 1 else 0

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)


@pytest.mark.parametrize("template", ["marked", "plain"])
def test_a_slow_tokenizer_is_refused_in_one_line(loaded: Loaded, unmarked: Any, template: str) -> None:
    slow = Characters(eos_token="<|im_end|>", pad_token="<|im_end|>")
    plain = unmarked.chat_template
    slow.chat_template = plain if template == "plain" else _marked_template(plain)
    with pytest.raises(UserError, match=r"needs a fast one \(tokenizer\.json\)") as caught:
        encode_dialogue(slow, _dialogue("发烧", "请就诊。"))
    assert "\n" not in str(caught.value)


def test_an_answer_that_ends_in_several_tokens_for_one_character_is_learnt_whole(loaded: Loaded) -> None:
    assert len(loaded.tokenizer("𠮷")["input_ids"]) > 1
    assert _learnt(loaded.tokenizer, _dialogue("问", "退烧𠮷", "再问", "🤒")) == "退烧𠮷<|im_end|>🤒<|im_end|>"


def test_a_dialogue_without_an_answer_carries_no_loss(loaded: Loaded, unmarked: Any) -> None:
    for tokenizer in (loaded.tokenizer, unmarked):
        encoded = encode_dialogue(tokenizer, _dialogue("孩子发烧了"))
        assert set(encoded.labels) == {IGNORED}
        assert len(encoded.input_ids) == len(encoded.labels)


def test_a_thinking_template_is_asked_as_it_was_trained(unmarked: Any) -> None:
    begin = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    empty = "{%- if enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    assert begin in QWEN_3
    unmarked.chat_template = QWEN_3.replace(begin, begin + empty)
    dialogue = _dialogue("发烧", "请就诊。")
    prompt, answer = encode_answer(unmarked, dialogue[:1], dialogue[1])
    assert unmarked.decode(prompt).endswith("</think>\n\n")
    assert unmarked.decode(answer) == "请就诊。<|im_end|>"


def test_a_template_that_changes_what_was_said_is_refused(unmarked: Any) -> None:
    unmarked.chat_template = "{% for m in messages %}{{ m.content | upper }}<|im_end|>{% endfor %}"
    with pytest.raises(UserError, match="changes what the assistant said"):
        encode_dialogue(unmarked, _dialogue("问", "take care"))


def test_a_model_without_template_is_refused(loaded: Loaded) -> None:
    template, loaded.tokenizer.chat_template = loaded.tokenizer.chat_template, None
    try:
        with pytest.raises(UserError, match=r"model\.chat_template"):
            encode_prompt(loaded.tokenizer, _dialogue("问"))
    finally:
        loaded.tokenizer.chat_template = template


def test_plain_text_carries_loss_on_all_tokens_and_the_end(loaded: Loaded) -> None:
    encoded = encode_text(loaded.tokenizer, "小儿肺炎")
    assert encoded.labels == encoded.input_ids
    assert encoded.input_ids[-1] == loaded.tokenizer.eos_token_id
    assert loaded.tokenizer.decode(encoded.input_ids[:-1]) == "小儿肺炎"


def test_prompt_and_answer_join_to_the_dialogue(loaded: Loaded) -> None:
    dialogue = _dialogue("发烧", "几天了？", "三天", "请就诊。")
    prompt, answer = encode_answer(loaded.tokenizer, dialogue[:-1], dialogue[-1])
    whole = encode_dialogue(loaded.tokenizer, dialogue).input_ids
    assert prompt + answer == whole[: len(prompt) + len(answer)]
    assert loaded.tokenizer.decode(answer) == "请就诊。<|im_end|>"
    assert prompt == encode_prompt(loaded.tokenizer, dialogue[:-1])


def test_the_end_of_a_turn_is_the_templates_own(loaded: Loaded) -> None:
    assert loaded.tokenizer.decode([end_of_turn(loaded.tokenizer)]) == "<|im_end|>"
