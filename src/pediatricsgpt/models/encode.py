"""From text and dialogues to tokens and labels: what carries loss, and what does not.

One place does it for training, for held-out loss and for `pedgpt preview`, so that what is shown is what is trained.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Message

IGNORED = -100
_GENERATION_MARK = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(slots=True)
class Encoded:
    """Token ids and labels of equal length; a label of -100 carries no loss.

    A label is the token at its own place, or the end token where a template begins the next turn without one.
    """

    input_ids: list[int]
    labels: list[int]


def encode_text(tokenizer: Any, text: str) -> Encoded:
    """Plain text for continued pre-training: every token and the end token carry loss (paper, equation of CPT)."""
    if tokenizer.eos_token_id is None:
        raise UserError(
            "this tokenizer has no end token, so texts cannot be told apart", tokenizer.name_or_path or None
        )
    # With its special tokens a tokenizer may put a beginning before the text (Llama, Gemma); an end is not doubled.
    ids = list(tokenizer(text)["input_ids"])
    if ids[-1:] != [tokenizer.eos_token_id]:
        ids.append(tokenizer.eos_token_id)
    return Encoded(ids, list(ids))


def encode_dialogue(tokenizer: Any, messages: Sequence[Message]) -> Encoded:
    """A dialogue in the base's chat template: every assistant turn and its end token carry loss, nothing else does.

    A template with generation markers says itself where the assistant speaks; for one without, the turns are found
    by rendering the dialogue a second time with marks in their place. Where a template puts no end token between an
    answer and the next turn (Baichuan), the label at the first token of that turn is the end token, as in the
    published fine-tuning of such models: every answer teaches to stop, and no token is added to the format. An end
    token is added only behind an answer that is the last of the row and has none.

    Raises:
        UserError: the tokenizer has no chat template, or one without markers that changes what the assistant said, or
            one whose end token lies where it cannot be taught; or it does not know where in a text its tokens stand.
    """
    template = chat_template(tokenizer)
    if not tokenizer.is_fast:
        raise UserError(
            "this tokenizer does not tell where in a text its tokens stand, so answers cannot be marked; "
            "it needs a fast one (tokenizer.json)",
            tokenizer.name_or_path or None,
        )
    if _GENERATION_MARK.search(template):
        ids, mask = _mask_by_markers(tokenizer, messages)
    else:
        ids, mask = _mask_by_turns(tokenizer, messages)
    return _with_ends(ids, mask, tokenizer)


def _with_ends(ids: list[int], mask: list[int], tokenizer: Any) -> Encoded:
    """What the mask says, and behind every answer its end: else a model would learn never to stop."""
    turns = _turns_of(tokenizer)
    labels = [token if loss else IGNORED for token, loss in zip(ids, mask, strict=True)]
    for place in range(1, len(ids)):
        if mask[place - 1] and not mask[place] and ids[place - 1] != turns.end:
            _label_end(labels, ids, place, turns)
    if mask and mask[-1] and ids[-1] != turns.end:
        ids, labels = [*ids, turns.end], [*labels, turns.end]
    if next((label for label in reversed(labels) if label != IGNORED), turns.end) != turns.end:
        raise UserError(
            "this chat template ends an answer where no end can be taught; write the end token right behind the "
            "answer, inside {% generation %} markers, and set model.chat_template",
            tokenizer.name_or_path or None,
        )
    return Encoded(ids, labels)


def _label_end(labels: list[int], ids: Sequence[int], place: int, turns: _Turns) -> None:
    """Label the end of an answer that stopped before `place`, with what the template writes before its end token."""
    if not turns.ended:
        labels[place] = turns.end
        return
    until = place + turns.gap + 1
    if turns.end in ids[place:until]:
        last = ids.index(turns.end, place, until) + 1
        labels[place:last] = ids[place:last]


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Token ids of a dialogue up to and including the start of the assistant's next turn."""
    chat_template(tokenizer)
    rendered = _render(tokenizer, messages, tokenize=True, return_dict=True, add_generation_prompt=True)
    return list(rendered["input_ids"])


def _render(tokenizer: Any, messages: Sequence[Message], **options: Any) -> Any:
    """The dialogue in the tokenizer's chat template.

    Templates with a thinking mode (Qwen3) are asked without it, so that a question looks the same in training, where
    answers have no thoughts, and afterwards. Other templates do not know the word.
    """
    return tokenizer.apply_chat_template(list(messages), enable_thinking=False, **options)


def encode_answer(tokenizer: Any, prompt: Sequence[Message], answer: Message) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and of one answer to it, with the answer's end token and nothing behind it.

    Raises:
        UserError: as `encode_dialogue`, or the template renders a question in another way when its answer follows.
    """
    encoded = encode_dialogue(tokenizer, [*prompt, answer])
    asked = encode_prompt(tokenizer, prompt)
    start = len(asked)
    if encoded.input_ids[:start] != asked:
        raise UserError(
            "this chat template renders a question in another way when its answer follows; set model.chat_template",
            tokenizer.name_or_path or None,
        )
    end = max(index for index, label in enumerate(encoded.labels) if label != IGNORED) + 1
    # The end is taken from the labels: a template may write something else in its place.
    return encoded.input_ids[:start], [*encoded.input_ids[start : end - 1], encoded.labels[end - 1]]


class _Turns(NamedTuple):
    """How a template ends the turns of the assistant."""

    end: int
    ended: bool
    """Whether the end token stands behind an answer that another turn follows"""
    gap: int
    """Tokens between such an answer and its end token"""


_KNOWN: weakref.WeakKeyDictionary[Any, tuple[str, _Turns]] = weakref.WeakKeyDictionary()


def end_of_turn(tokenizer: Any) -> int:
    """Id of the token that ends an assistant turn in this chat template.

    It need not be the tokenizer's end token: many base models end a text with another token than a turn.
    """
    return _turns_of(tokenizer).end


def _turns_of(tokenizer: Any) -> _Turns:
    """How the tokenizer's present template ends turns; looked up once for each template."""
    known = _KNOWN.get(tokenizer)
    if known is None or known[0] != tokenizer.chat_template:
        known = _KNOWN[tokenizer] = (tokenizer.chat_template, _look(tokenizer))
    return known[1]


def _look(tokenizer: Any) -> _Turns:
    marks = [f"⟦turn {number}⟧" for number in range(4)]
    roles = ("user", "assistant", "user", "assistant")
    exchange = [Message(role=role, content=mark) for role, mark in zip(roles, marks, strict=True)]
    rendered: str = _render(tokenizer, exchange, tokenize=False)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    last = tokenizer(rendered[rendered.rindex(marks[3]) + len(marks[3]) :], add_special_tokens=False)["input_ids"]
    end = next((token for token in last if token in special), tokenizer.eos_token_id)
    if end is None:
        raise UserError(
            "neither the chat template nor the tokenizer has an end token, so answers could not be taught to stop",
            tokenizer.name_or_path or None,
        )
    text = rendered[rendered.rindex(marks[1]) + len(marks[1]) : rendered.rindex(marks[2])]
    between = tokenizer(text, add_special_tokens=False)["input_ids"]
    return _Turns(end, end in between, between.index(end) if end in between else 0)


def chat_template(tokenizer: Any) -> str:
    """The tokenizer's chat template.

    Raises:
        UserError: it has none.
    """
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise UserError(
            "this model has no chat template; set model.chat_template to a Jinja file", tokenizer.name_or_path or None
        )
    return template


def _mask_by_markers(tokenizer: Any, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Ids and loss mask as the template's own markers say.

    Of an answer whose last character is several byte tokens, transformers marks the first of them alone.
    """
    rendered = _render(
        tokenizer,
        messages,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
        tokenizer_kwargs={"return_offsets_mapping": True},
    )
    mask, offsets = list(rendered["assistant_masks"]), rendered["offset_mapping"]
    for place in range(1, len(mask)):
        start, end = offsets[place]
        if mask[place - 1] and end > start and (start, end) == tuple(offsets[place - 1]):
            mask[place] = 1
    return list(rendered["input_ids"]), mask


def _mask_by_turns(tokenizer: Any, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
    """Ids and loss mask from character spans: where the template puts what the assistant says, up to the turn's end.

    The dialogue is rendered a second time with a mark in the place of each answer; what stands around the marks is the
    template's own.
    """
    whole: str = _render(tokenizer, messages, tokenize=False)
    if not any(message["role"] == "assistant" for message in messages):
        ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
        return ids, [0] * len(ids)
    places = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    marks = {index: f"⟦answer {index}⟧" for index in places}
    dummies = [Message(role=turn["role"], content=marks.get(i, turn["content"])) for i, turn in enumerate(messages)]
    marked: str = _render(tokenizer, dummies, tokenize=False)
    answers = [messages[index]["content"] for index in places]
    around = re.split("|".join(map(re.escape, marks.values())), marked)
    if len(around) != len(answers) + 1 or _joined(around, answers) != whole:
        answers = [answer.strip() for answer in answers]  # many templates trim what they are given
    if len(around) != len(answers) + 1 or _joined(around, answers) != whole:
        raise UserError(
            "this chat template changes what the assistant said, so its turns cannot be told apart; "
            "add {% generation %} markers to it and set model.chat_template",
            tokenizer.name_or_path or None,
        )
    spans = _spans(around, answers, tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer)))
    encoded = tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True)
    mask = [
        int(any(start >= first and end <= last for first, last in spans) and end > start)
        for start, end in encoded["offset_mapping"]
    ]
    return encoded["input_ids"], mask


def _joined(around: Sequence[str], answers: Sequence[str]) -> str:
    return "".join(part for pair in zip(around, [*answers, ""], strict=True) for part in pair)


def _spans(around: Sequence[str], answers: Sequence[str], end_token: str) -> list[tuple[int, int]]:
    """(start, end) in characters of each answer with the end token that stands right behind it, if one does."""
    spans = []
    position = 0
    for before, answer, after in zip(around, answers, around[1:], strict=False):
        start = position + len(before)
        position = start + len(answer)
        ends = after.lstrip().startswith(end_token)
        spans.append((start, position + after.index(end_token) + len(end_token) if ends else position))
    return spans
