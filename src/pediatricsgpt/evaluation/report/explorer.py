"""All questions with every model's answer, as data inside the page, and the script that shows them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pediatricsgpt.evaluation.compare.questions import Question, Questions
from pediatricsgpt.evaluation.report import words

LIMIT = 12_000_000
"""Characters of data that a report carries at most; `pedgpt compare` carries all"""

_SCRIPT = Path(__file__).with_name("explorer.js")
_UNSAFE = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}

Scores = Mapping[tuple[str, str], Mapping[str, float]]
"""(benchmark, item) -> model -> ROUGE-L times 100"""


@dataclass(frozen=True, slots=True)
class Explorer:
    """What the page carries."""

    data: Markup
    script: Markup
    items: int
    left_out: int


def explorer(questions: Questions, scores: Scores | None = None, limit: int | None = LIMIT) -> Explorer | None:
    """The questions as data that nothing in them can break out of; None where there is none.

    Args:
        questions: every question with its answers.
        scores: shown beside the answers, and to sort by.
        limit: characters of data at most, taken in turn from every benchmark and task; None: all.
    """
    if not questions.items:
        return None
    written = {id(item): _text(_item(item, questions.models, scores or {})) for item in questions.items}
    kept = _within(questions.items, written, limit)
    items = ",".join(written[id(item)] for item in questions.items if id(item) in kept)
    left = len(questions.items) - len(kept)
    head = {"models": [words.model(name) for name in questions.models], "names": _names(questions.items), "left": left}
    data = f'{_text(head)[:-1]},"items":[{items}]}}'
    return Explorer(Markup(data), Markup(script()), len(kept), left)


def script() -> str:
    """The page's own script."""
    return _SCRIPT.read_text(encoding="utf-8")


def _text(value: Any) -> str:
    """JSON that holds no sign by which a page could take it for anything but data.

    Outside of strings JSON has none of these signs, so that replacing them everywhere changes no value.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_UNSAFE)


def _item(item: Question, models: Sequence[str], scores: Scores) -> dict[str, Any]:
    values = scores.get((item.benchmark, item.id), {})
    shown: dict[str, Any] = {
        "i": item.id,
        "b": item.benchmark,
        "t": item.task,
        "d": item.department,
        "a": item.age_band,
        "m": [[words.ROLES.get(turn["role"], turn["role"]), turn["content"], turn["role"]] for turn in item.messages],
        "r": item.reference,
        "p": [item.answers.get(model) for model in models],
    }
    if values:
        shown["s"] = [round(values[model], 2) if model in values else None for model in models]
    return shown


def _within(items: Sequence[Question], written: Mapping[int, str], limit: int | None) -> set[int]:
    """Items that fit, in turn from every benchmark and task: their order is that of a hash, so nobody picked them."""
    if limit is None:
        return set(written)
    turns: dict[tuple[str, str], int] = {}
    ordered: list[tuple[int, int, int]] = []
    for item in items:
        group = (item.benchmark, item.task)
        turns[group] = turns.get(group, 0) + 1
        ordered.append((turns[group], len(ordered), id(item)))
    kept: set[int] = set()
    size = 0
    for _, _, key in sorted(ordered):
        size += len(written[key])
        if size > limit:
            break
        kept.add(key)
    return kept


def _names(items: Iterable[Question]) -> dict[str, dict[str, str]]:
    """How values of labels are shown."""
    items = list(items)
    benchmarks = {item.benchmark: words.benchmark(item.benchmark) for item in items}
    tasks = {item.task: " ".join(words.label(item.task)).strip() for item in items}
    ages = {item.age_band: " ".join(words.label(item.age_band)).strip() for item in items}
    return {"benchmark": benchmarks, "task": tasks, "age_band": ages}
