"""The shapes in which dialogues, instructions and preference pairs are published, recognised row by row.

The one place that knows them, because published files mix them: a file of dialogues holds instruction rows, a file of
instructions holds preference pairs. What is recognised:

- turns: `conversations`, `conversation`, `messages`, `dialogue`, `dialog` or `turns` as a list of `{role, content}`,
  `{from, value}`, `{speaker, sentence}` and the like, or of texts that begin with who speaks (`病人：…`); such a list
  alone; or one text of such lines;
- a question and its answer: `instruction`/`output` (with `input`, `history` and `system`), `instruct`/`output`,
  `question`/`answer`, `query`/`response`, `prompt`/`response`, `prompt`/`completion`, `context`/`target` with its
  `问题：…回答:` around the question, a case and what the doctor wrote (`medical_case`/`doctor_diagnosis`), and
  `question`/`raw_anwser` (so published); lists of length one stand for their element;
- a preference pair: `chosen` and `rejected` (a text, a turn or a list of turns) beside turns, `prompt`, `question`, or
  `instruction` with `input`; and `question` with `response_chosen` and `response_rejected`.

Turns stay as they are told; joining neighbours and trimming the ends is the business of cleaning.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.sources.file import Items, SourceFile
from pediatricsgpt.corpus.sources.rows import Row, RowError, reject_row
from pediatricsgpt.records import Message, Record, Reject

_TURNS = ("conversations", "conversation", "messages", "dialogue", "dialog", "turns")
_TURN = (
    ("role", "content"),
    ("from", "value"),
    ("speaker", "sentence"),
    ("speaker", "content"),
    ("speaker", "text"),
    ("role", "text"),
    ("id", "Sentence"),
)
_PAIRS = (
    ("instruction", "output"),
    ("instruct", "output"),
    ("question", "answer"),
    ("query", "response"),
    ("prompt", "response"),
    ("prompt", "completion"),
    ("context", "target"),
    ("medical_case", "doctor_diagnosis"),
    ("question", "raw_anwser"),
)
_QUESTIONS = ("question", "first_question", "query", "prompt", "instruction")
_JUDGEMENT = ("prompt", "scores")
_SIDES = (("chosen", "rejected"), ("response_chosen", "response_rejected"))
_PROMPTS = ("prompt", "question", "instruction", "query")
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


def read_shaped(
    file: SourceFile, rows: Iterable[Row | Reject], build: Callable[[SourceFile, Row, Shaped], Record]
) -> Items:
    """Recognise every row of a file and let `build` make its record; rows that cannot be read become rejects."""
    for row in rows:
        if isinstance(row, Reject):
            yield row
            continue
        try:
            record = build(file, row, shape_row(row.value))
        except RowError as error:
            yield reject_row(file, row, str(error))
            continue
        file.rows.used += 1
        yield record


def shape_row(row: Any) -> Shaped:
    """Recognise one row.

    Raises:
        RowError: the shape is unknown, a role is unknown, or the question or the answer is empty.
    """
    if isinstance(row, list) and row and all(isinstance(turn, str | Mapping) for turn in row):
        return Shaped(_answered(_turns(row)))
    if not isinstance(row, Mapping):
        raise RowError(f"unknown shape: {type(row).__name__} where an object was expected")
    sides = next((names for names in _SIDES if all(name in row for name in names)), None)
    if sides:
        return _preference(row, *sides)
    turns = next((name for name in _TURNS if isinstance(row.get(name), list)), None)
    if turns:
        return Shaped(_answered(_system(row) + _turns(row[turns])), department=department(row))
    told = next((name for name in _TURNS if isinstance(row.get(name), str) and speaker_of(row[name])), None)
    if told:
        return Shaped(_answered(_system(row) + spoken(row[told].split("\n"))), department=department(row))
    pair = next((names for names in _PAIRS if all(name in row for name in names)), None)
    if pair:
        return _pair(row, *pair)
    raise RowError(_unknown(row))


def _unknown(row: Mapping[str, Any]) -> str:
    fields = f"fields {', '.join(map(str, row)) or 'none'}"
    if all(name in row for name in _JUDGEMENT):
        return f"a judgement of answers and no answer: {fields}"
    if any(name in row for name in _QUESTIONS) and len(row) > 1:
        return f"a question without an answer: {fields}"
    return f"unknown shape: {fields}"


def department(row: Mapping[str, Any]) -> str:
    """The label of a row as the source gives it: `cate1/cate2` or `department`; `unknown` where it says nothing."""
    parts = [label(row.get(name)) for name in ("cate1", "cate2")]
    said = [part for part in parts if part != "unknown"]
    further = row.get("dataset_info")
    named = row.get("department", row.get("Department"))
    if named is None and isinstance(further, Mapping):
        named = further.get("department")
    return "/".join(said) or label(named)


def label(value: Any) -> str:
    """A label's text; `unknown` for None, an empty text, `nan` and the like."""
    text = "" if value is None else str(value).strip()
    return "unknown" if text.lower() in rules("sources")["nothing"] else text


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
    if isinstance(item, str) and (told := speaker_of(item)):
        return Message(role=told[0], content=told[1])
    if isinstance(item, Mapping):
        for role, content in _TURN:
            if role in item and content in item:
                return Message(role=role_of(item[role], number), content=_text(item[content], content).strip())
    raise RowError(f"unknown shape: turn {number} has neither role and content nor from and value")


def role_of(name: Any, number: int) -> str:
    """The role of whoever is called so in a turn with this number.

    Raises:
        RowError: nobody is called so.
    """
    role = _roles().get(str(name).strip().lower())
    if role is None:
        raise RowError(f"unknown role: {name!r} in turn {number}")
    return role


@functools.cache
def _roles() -> dict[str, str]:
    return {name: role for role, names in rules("sources")["roles"].items() for name in names}


@functools.cache
def _speaker_mark() -> re.Pattern[str]:
    names = sorted((re.escape(name) for name in _roles()), key=len, reverse=True)
    return re.compile(rf"\s*({'|'.join(names)})\s*[:：]\s*", re.IGNORECASE)


def speaker_of(line: str) -> tuple[str, str] | None:
    """Role and words of a line that begins with who speaks, as in `病人：孩子发烧`; None of any other line."""
    mark = _speaker_mark().match(line)
    return (_roles()[mark.group(1).lower()], line[mark.end() :].strip()) if mark else None


def spoken(lines: Iterable[str]) -> list[Message]:
    """The turns of lines of which some begin with who speaks; the others go on with what was said before.

    Raises:
        RowError: the first line does not say who speaks.
    """
    turns: list[Message] = []
    for line in lines:
        told = speaker_of(line)
        if told:
            turns.append(Message(role=told[0], content=told[1]))
        elif turns:
            turns[-1]["content"] = f"{turns[-1]['content']}\n{line.strip()}".strip()
        elif line.strip():
            raise RowError("no speaker: the first line does not begin with who speaks (病人：, 医生：)")
    return turns


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
