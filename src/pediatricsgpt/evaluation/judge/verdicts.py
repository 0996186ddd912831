"""The verdict: one rater's word on one dimension of one pair of answers, as it was shown. Read, checked, written.

Language models and doctors give verdicts of the same form, so that the same code aggregates both.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import disk_errors, write_atomically
from pediatricsgpt.records import read_json_lines

Word = Literal["left", "right", "tie", "invalid"]
WORDS: tuple[str, ...] = get_args(Word)
FILE = "verdicts.jsonl"

_REQUIRED = ("id", "dimension", "left", "right", "verdict", "rater")
_NUMBERS = ("order", "repeat", "left_characters", "right_characters")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which of two answers is better on one dimension."""

    id: str
    """Of the question"""
    dimension: str
    left: str
    """The model whose answer was shown first"""
    right: str
    """The other one"""
    verdict: Word
    rater: str
    """A judge's name, or a doctor's pseudonym"""
    order: int = 0
    """0: model A of the pair was shown first; 1: model B"""
    repeat: int = 0
    """Which time the same was asked"""
    raw: str = ""
    """What the rater said, word for word"""
    asked: bool = True
    """False where nobody was asked: both answers are the same, which is a tie"""
    left_characters: int | None = None
    """Length of the answers as they were shown"""
    right_characters: int | None = None
    task: str | None = None
    department: str | None = None
    age_band: str | None = None
    group: str | None = None

    def better_for(self, model: str) -> int | None:
        """1: this model's answer is better, -1: the other's, 0: neither; None where the verdict is invalid."""
        if self.verdict == "invalid":
            return None
        if self.verdict == "tie":
            return 0
        return 1 if (self.left if self.verdict == "left" else self.right) == model else -1

    def advantage_of(self, model: str) -> int | None:
        """By how many characters this model's answer is the longer one; None where lengths are not known."""
        if self.left_characters is None or self.right_characters is None:
            return None
        longer = self.left_characters - self.right_characters
        return longer if self.left == model else -longer

    def as_dict(self) -> dict[str, Any]:
        """One line of a verdicts file; what is not known is left out, and so is `asked` where it is true."""
        row = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        if self.asked:
            del row["asked"]
        return row


def write_verdicts(path: Path, verdicts: Iterable[Verdict]) -> None:
    """Write a verdicts file, the old one or the whole new one.

    Raises:
        UserError: the disk refuses.
    """
    lines = (json.dumps(verdict.as_dict(), ensure_ascii=False) + "\n" for verdict in verdicts)
    with disk_errors(path):
        write_atomically(path, "".join(lines))


def read_verdicts(path: Path) -> list[Verdict]:
    """Read a verdicts file.

    Raises:
        UserError: a line is no verdict, one stands twice, or there are verdicts on more than one pair of models; file
            and line are named.
    """
    found: list[Verdict] = []
    seen: dict[tuple[Any, ...], int] = {}
    for line, row in read_json_lines(path):
        where = f"{path}:{line}"
        verdict = _parse(row, where)
        check_once(verdict, seen, line, where)
        if found and {verdict.left, verdict.right} != {found[0].left, found[0].right}:
            raise UserError(
                f"a verdict on {verdict.left} and {verdict.right}, but the file began with {found[0].left} and "
                f"{found[0].right}; one file a pair",
                where,
            )
        found.append(verdict)
    if not found:
        raise UserError("no verdict in this file", path)
    return found


def check_once(verdict: Verdict, seen: dict[tuple[Any, ...], int], line: int, where: str) -> None:
    """Note that a verdict stands on a line.

    Raises:
        UserError: the rater has given it before.
    """
    sides = frozenset((verdict.left, verdict.right))
    key = (verdict.rater, verdict.id, sides, verdict.dimension, verdict.order, verdict.repeat)
    if key in seen:
        raise UserError(
            f"{verdict.rater} has already given a verdict on {verdict.dimension} of {verdict.id} on line "
            f"{seen[key]}; keep one, or count them with 'repeat'",
            where,
        )
    seen[key] = line


def _parse(row: Any, where: str) -> Verdict:
    if not isinstance(row, Mapping):
        raise UserError("expected a JSON object, a verdict", where)
    missing = [name for name in _REQUIRED if not isinstance(row.get(name), str) or not row[name]]
    if missing:
        raise UserError(f"the field '{missing[0]}' of a verdict is missing or no text", where)
    if row["verdict"] not in WORDS:
        raise UserError(f"'{row['verdict']}' is no verdict; it is one of {', '.join(WORDS)}", where)
    if row["left"] == row["right"]:
        raise UserError("left and right are the same model", where)
    for name in _NUMBERS:
        value = row.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise UserError(f"'{name}' must be a whole number from 0", where)
    if row.get("order", 0) not in (0, 1):
        raise UserError("'order' is 0 (model A first) or 1", where)
    known = {one.name for one in dataclasses.fields(Verdict)}
    return Verdict(**{name: value for name, value in row.items() if name in known and value is not None})
