"""The shapes in which dialogues, instructions and preference pairs are published, recognised row by row.

The one place that knows them, because published files mix them: a file of dialogues holds instruction rows, a file of
instructions holds preference pairs. What is recognised:

- turns: `conversations`, `conversation`, `messages` or `dialogue` as a list of `{role, content}` or `{from, value}`;
- a question and its answer: `instruction`/`output` (with `input`, `history` and `system`), `instruct`/`output`,
  `question`/`answer`, `query`/`response`, `prompt`/`response`, `prompt`/`completion`, and `context`/`target` with its
  `问题：…回答:` around the question; lists of length one stand for their element;
- a preference pair: `chosen` and `rejected` (a text, a turn or a list of turns) beside turns, `prompt`, `question`, or
  `instruction` with `input`; and `question` with `response_chosen` and `response_rejected`.

Turns stay as they are told; joining neighbours and trimming the ends is the business of cleaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.rows import Row, RowError, json_rows, reject_row
from pediatricsgpt.records import Message, Record

_TURNS = ("conversations", "conversation", "messages", "dialogue")
_PAIRS = (
    ("instruction", "output"),
    ("instruct", "output"),
    ("question", "answer"),
    ("query", "response"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("context", "target"),
)
_SIDES = (("chosen", "rejected"), ("response_chosen", "response_rejected"))
_PROMPTS = ("prompt", "question", "instruction", "query")
_ROLES = {
    "system": "system",
    **dict.fromkeys(("user", "human", "patient", "患者", "病人", "用户"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "doctor", "chatgpt", "model", "医生"), "assistant"),
}
_NOTHING = {"", "nan", "none", "null", "空", "无", "unknown"}
_PROMPT_FRAME = re.compile(r"^\s*问题\s*[:：]\s*(.*?)\s*回答\s*[:：]\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Shaped:
    """A row in our own shape. `chosen` and `rejected` are empty unless it is a preference pair.

    `safety` marks the rows of the Zhongjing data that hold only `instruct` and `output`: what a doctor must not go
    along with, and the right answer to it.
    """

    messages: list[Message]
    chosen: list[Message] = field(default_factory=list)
    rejected: list[Message] = field(default_factory=list)
    department: str = "unknown"
    safety: bool = False


def read_shaped(file: SourceFile, build: Callable[[SourceFile, Row, Shaped], Record]) -> Result:
    """Recognise every JSON row of a file and let `build` make its record; rows that cannot be read become rejects.

    Raises:
        UserError: as `json_rows`.
    """
    rows, rejects = json_rows(file)
    records: list[Record] = []
    for row in rows:
        try:
            records.append(build(file, row, shape_row(row.value)))
            file.rows.used += 1
        except RowError as error:
            rejects.append(reject_row(file, row, str(error)))
    return records, rejects


def shape_row(row: Any) -> Shaped:
    """Recognise one row.

    Raises:
        RowError: the shape is unknown, a role is unknown, or the question or the answer is empty.
    """
    if not isinstance(row, Mapping):
        raise RowError(f"unknown shape: {type(row).__name__} where an object was expected")
    sides = next((names for names in _SIDES if all(name in row for name in names)), None)
    if sides:
        return _preference(row, *sides)
    turns = next((name for name in _TURNS if isinstance(row.get(name), list)), None)
    if turns:
        return Shaped(_answered(_system(row) + _turns(row[turns])), department=department(row))
    pair = next((names for names in _PAIRS if all(name in row for name in names)), None)
    if pair:
        return _pair(row, *pair)
    raise RowError(f"unknown shape: fields {', '.join(map(str, row)) or 'none'}")


def department(row: Mapping[str, Any]) -> str:
    """The label of a row as the source gives it: `cate1/cate2` or `department`; `unknown` where it says nothing."""
    parts = [label(row.get(name)) for name in ("cate1", "cate2")]
    said = [part for part in parts if part != "unknown"]
    return "/".join(said) or label(row.get("department"))


def label(value: Any) -> str:
    """A label's text; `unknown` for None, an empty text, `nan` and the like."""
    text = "" if value is None else str(value).strip()
    return "unknown" if text.lower() in _NOTHING else text


def question_and_answer(question: str, answer: str) -> list[Message]:
    """The messages of a single exchange.

    Raises:
        RowError: the question or the answer is empty.
    """
    return _answered([{"role": "user", "content": question.strip()}, {"role": "assistant", "content": answer.strip()}])


def _pair(row: Mapping[str, Any], asked: str, answered: str) -> Shaped:
    question, answer = _text(row[asked], asked), _text(row[answered], answered)
    frame = _PROMPT_FRAME.match(question) if asked == "context" else None
    if frame:
        question = frame.group(1)
    if asked == "instruction":
        question = _with_input(question, row)
    turns = _system(row) + _history(row.get("history")) + question_and_answer(question, answer)
    return Shaped(turns, department=department(row), safety=asked == "instruct")


def _preference(row: Mapping[str, Any], chosen: str, rejected: str) -> Shaped:
    sides = [_side(row[name], name) for name in (chosen, rejected)]
    if sides[0] == sides[1]:
        raise RowError("chosen and rejected are the same")
    turns = next((name for name in (*_TURNS, "prompt") if isinstance(row.get(name), list)), None)
    asked = next((name for name in _PROMPTS if name in row), None)
    if turns:
        prompt = _turns(row[turns])
    elif asked:
        question = _with_input(_text(row[asked], asked), row)
        prompt = [*_history(row.get("history")), Message(role="user", content=question)]
    else:
        raise RowError(f"unknown shape: a preference pair without a prompt; fields {', '.join(map(str, row))}")
    if not prompt or prompt[-1]["role"] != "user" or not prompt[-1]["content"]:
        raise RowError("no question: the prompt does not end with a user turn")
    return Shaped(_system(row) + prompt, sides[0], sides[1], department(row))


def _side(value: Any, name: str) -> list[Message]:
    """The answer of one side; of a list of turns, those after the last question."""
    if isinstance(value, Mapping):
        turns = _turns([value])
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        turns = _turns(value)
        last = max((place for place, turn in enumerate(turns) if turn["role"] == "user"), default=-1)
        turns = turns[last + 1 :]
    else:
        turns = [Message(role="assistant", content=_text(value, name).strip())]
    if not turns or any(turn["role"] != "assistant" or not turn["content"] for turn in turns):
        raise RowError(f"empty answer: {name}")
    return turns


def _turns(items: list[Any]) -> list[Message]:
    return [_turn(item, number) for number, item in enumerate(items, 1)]


def _turn(item: Any, number: int) -> Message:
    if isinstance(item, Mapping):
        for role, content in (("role", "content"), ("from", "value")):
            if role in item and content in item:
                speaker = _ROLES.get(str(item[role]).strip().lower())
                if speaker is None:
                    raise RowError(f"unknown role: {item[role]!r} in turn {number}")
                return Message(role=speaker, content=_text(item[content], content).strip())
    raise RowError(f"unknown shape: turn {number} has neither role and content nor from and value")


def _history(value: Any) -> list[Message]:
    """Earlier exchanges, `[[question, answer], …]`."""
    return [message for exchange in value or () for message in _exchange(exchange)]


def _exchange(exchange: Any) -> Iterator[Message]:
    if not isinstance(exchange, list) or len(exchange) != 2:
        raise RowError("unknown shape: an entry of history is no pair of question and answer")
    for role, text in zip(("user", "assistant"), exchange, strict=True):
        yield Message(role=role, content=_text(text, "history").strip())


def _system(row: Mapping[str, Any]) -> list[Message]:
    text = _text(row.get("system") or "", "system").strip()
    return [Message(role="system", content=text)] if text else []


def _with_input(question: str, row: Mapping[str, Any]) -> str:
    return "\n".join(part for part in (question.strip(), _text(row.get("input") or "", "input").strip()) if part)


def _text(value: Any, name: str) -> str:
    """The text of a field, also where it stands in a list of length one."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None:
        return ""
    if not isinstance(value, str):
        amount = f" of {len(value)}" if isinstance(value, list) else ""
        raise RowError(f"not a text: {name} is a {type(value).__name__}{amount}")
    return value


def _answered(turns: list[Message]) -> list[Message]:
    """The turns, if somebody asks and somebody answers."""
    for role, name in (("user", "question"), ("assistant", "answer")):
        if not any(turn["content"] for turn in turns if turn["role"] == role):
            raise RowError(f"empty {name}")
    return turns
