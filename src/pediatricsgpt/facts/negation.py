"""Negations and prohibitions: the cue, what it reaches over, and of which sort it is."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from pediatricsgpt.facts.data import load
from pediatricsgpt.facts.fact import Fact

_CLAUSE_END = re.compile(r"[，,。；;：:！!？?…\n（）()【】\[\]#]|[.．](?!\d)|$")
_CLAUSE_START = re.compile(r"[，,。；;：:！!？?…\n（）()【】\[\]#][^，,。；;：:！!？?…\n（）()【】\[\]#]*$")
_LONGEST_CLAUSE = 60
_JOINED = "或和及、且并与"
_NUMBERING = re.compile(r"\s*[\d①-⑳]{1,2}$")
_FIRST = re.compile("[无没未否并不毫禁忌严切请勿避别慎用毋]")


@dataclass(frozen=True, slots=True)
class _Rules:
    before: re.Pattern[str]
    after: re.Pattern[str]
    stops: re.Pattern[str]
    trailing: re.Pattern[str]
    questions: re.Pattern[str]


@functools.cache
def _rules() -> _Rules:
    lists = load("negation")

    before = {
        sort: "|".join(cue + (f"(?!{other})" if other else "") for cue, other in cues.items())
        for sort, cues in lists["before"].items()
    }
    after = {sort: "|".join(cues) for sort, cues in lists["after"].items()}
    return _Rules(
        re.compile("|".join(f"(?P<{sort}>{cues})" for sort, cues in before.items())),
        re.compile("|".join(f"(?P<{sort}>{cues})" for sort, cues in after.items())),
        re.compile(lists["stops"]),
        re.compile(lists["trailing"]),
        re.compile(lists["questions"]),
    )


def negations(text: str) -> list[Fact]:
    """All negations of a text: span over cue and scope (无发热), `name` the cue, `unit` the sort.

    The sorts are `absent` (无发热, 未见皮疹, 不咳嗽), `forbidden` (不要捂汗, 儿童禁用) and `unneeded` (无需用药). A cue
    whose scope stands before it takes in that clause (孕妇禁用), and one without any scope stands alone (脾未触及).
    """
    if not _FIRST.search(text):
        return []
    rules = _rules()
    asked = [match.span() for match in rules.questions.finditer(text)]
    found: list[Fact] = []
    reached = 0
    for cue in rules.before.finditer(text):
        if cue.start() < reached or any(start <= cue.start() < end for start, end in asked):
            continue
        fact = _negation(text, cue, rules)
        if fact is not None:
            found.append(fact)
            reached = fact.end
    return found


def _negation(text: str, cue: re.Match[str], rules: _Rules) -> Fact | None:
    sort = cue.lastgroup or ""
    end = _scope_end(text, cue.end(), rules)
    if end > cue.end():
        return Fact("negation", cue.start(), end, text[cue.start() : end], unit=sort, name=cue.group(), negated=True)
    behind = rules.after.fullmatch(cue.group())
    if behind is None:
        return None
    start = cue.start()
    if behind.lastgroup == "forbidden":
        reach = max(0, start - _LONGEST_CLAUSE)
        clause = _CLAUSE_START.search(text, reach, start)
        start = clause.start() + 1 if clause else reach
    return Fact("negation", start, cue.end(), text[start : cue.end()], unit=sort, name=cue.group(), negated=True)


def _scope_end(text: str, start: int, rules: _Rules) -> int:
    """Where the scope of a cue that ends at a place ends itself; the same place where there is none."""
    clause = _CLAUSE_END.search(text, start)
    end = clause.start() if clause else len(text)
    stop = rules.stops.search(text, start, end)
    if stop and stop.start() > start:
        end = stop.start()
    for other in rules.before.finditer(text, start + 1, end):
        if text[other.start() - 1] in _JOINED:
            end = other.start()
            break
    return _trimmed(text, start, end, rules)


def _trimmed(text: str, start: int, end: int, rules: _Rules) -> int:
    """The end without particles, conjunctions and the number of the next item of a list."""
    while end > start:
        tail = rules.trailing.search(text, start, end) or _NUMBERING.search(text, start, end)
        if tail is None or tail.start() == end:
            break
        end = tail.start()
    return max(end, start)
