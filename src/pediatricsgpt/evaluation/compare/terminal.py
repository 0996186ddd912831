"""Answers side by side for a terminal, differences highlighted, and the same as plain values for scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pediatricsgpt.evaluation.compare.differences import differences
from pediatricsgpt.evaluation.compare.questions import ROLES, Question, Questions

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

REFERENCE = "reference"
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NARROW = 36
"""Columns of the terminal that an answer needs beside others; below it answers stand one under the other"""


def selected(
    questions: Questions,
    ids: Iterable[str] = (),
    text: str = "",
    benchmark: str = "",
    task: str = "",
    department: str = "",
) -> list[Question]:
    """The questions that fit everything that is given; an empty value fits all."""
    wanted = set(ids)
    return [
        item
        for item in questions.items
        if (not wanted or item.id in wanted)
        and (not text or item.holds(text))
        and all(not value or getattr(item, field) == value for field, value in _fields(benchmark, task, department))
    ]


def _fields(benchmark: str, task: str, department: str) -> Iterator[tuple[str, str]]:
    yield from (("benchmark", benchmark), ("task", task), ("department", department))


def as_dict(item: Question, against: str = REFERENCE) -> dict[str, Any]:
    """One question as plain values; of each answer the stretches that `against` lacks.

    Args:
        item: the question.
        against: `reference`, or a model that answered.
    """
    other = _other(item, against)
    answers = {
        model: {
            "text": answer,
            "differs": [] if other is None else [s for s, lacks in differences(answer, other) if lacks],
        }
        for model, answer in item.answers.items()
    }
    labels = {name: getattr(item, name) for name in ("benchmark", "task", "department", "age_band")}
    return {
        "id": item.id,
        **{name: value for name, value in labels.items() if value},
        "messages": list(item.messages),
        "reference": item.reference,
        "against": against,
        "answers": answers,
    }


def render(item: Question, width: int, against: str = REFERENCE, brackets: bool = False) -> Iterator[RenderableType]:
    """One question for a terminal of `width` columns: question, reference, then the answers beside each other.

    What `against` (`reference` or a model) lacks is reversed, and with `brackets`, for a file, stands in ⟦⟧ as well.
    Signs that steer a terminal are taken out of all texts.
    """
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    labels = [item.benchmark, item.task, item.department, item.age_band]
    yield Rule(Text(_safe(" · ".join([item.id, *filter(None, labels)]))))
    for message in item.messages:
        yield Text.assemble(
            (f"{ROLES.get(message['role'], _safe(message['role']))}：", "bold"), _safe(message["content"])
        )
    yield Text.assemble(("reference 参考回答：", "bold green"), _safe(item.reference) or "(empty)")
    other = _other(item, against)
    ends = ("⟦", "⟧") if brackets else ("", "")
    shown = {
        model: _marked(answer, None if model == against else other, ends) for model, answer in item.answers.items()
    }
    if width < _NARROW * len(shown):
        for model, text in shown.items():
            yield Text.assemble((f"{_safe(model)}：", "bold cyan"), text)
        return
    table = Table(expand=True, show_lines=False)
    for model in shown:
        table.add_column(Text(_safe(model)), ratio=1, overflow="fold")  # Chinese has no spaces to break at
    table.add_row(*shown.values())
    yield table


def _other(item: Question, against: str) -> str | None:
    """What is compared with; None where there is nothing, and nothing is marked then."""
    return (item.reference if against == REFERENCE else item.answers.get(against)) or None


def _marked(answer: str, other: str | None, ends: tuple[str, str]) -> Text:
    from rich.text import Text

    if not answer.strip():
        return Text("(empty answer)", "dim")
    if other is None:
        return Text(_safe(answer))
    marked = Text()
    for part, lacks in differences(answer, other):
        marked.append(f"{ends[0]}{_safe(part)}{ends[1]}" if lacks else _safe(part), "reverse" if lacks else "")
    return marked


def _safe(text: str) -> str:
    """A text without signs that move the cursor or change the terminal: models and files may hold any."""
    return _CONTROL.sub("", text)
