"""Whether training and test rows keep apart: by group, and by what the rows say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report.files import HELD_OUT, LEAKAGE, REJECTS, ROWS, TRAIN_SETS, RunFiles, expected

_MOST_PAIRS = 24
_AROUND = 60
_CUT = "…"


@dataclass(frozen=True, slots=True)
class Leakage:
    """Groups (documents, dialogues, patients) on the two sides of the split."""

    counted: Sequence[str]
    """The training sets that were there to be counted"""
    missing: Sequence[str]
    train: int
    held_out: int
    both: Sequence[str]
    """Groups on both sides: there must be none"""


@dataclass(frozen=True, slots=True)
class Against:
    """A training set against one test set.

    `removed`: nothing that matched is left in the set. `unread`: how many test items could not be read,
    `unread_first` of a few of them place and reason. `kinds`: how often each (side of the item, how it matched) occurs.
    """

    training_set: str
    test_set: str
    rows: int
    matched_rows: int
    removed: bool
    items: int
    unchecked: int
    unread: int
    unread_first: Sequence[str]
    matched_items: int
    share: float
    kinds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Marked:
    """A text with the stretch that it shares with another."""

    before: str
    shared: str
    after: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A training row and the test item that stands in it. `row` or `item` is None where its text is not in the run."""

    row_id: str
    test_set: str
    test_id: str
    side: str
    row_side: str
    how: str
    score: float
    excerpt: str
    row: Marked | None
    item: Marked | None


@dataclass(frozen=True, slots=True)
class Matches:
    """The matched pairs of one training set."""

    training_set: str
    total: int
    pairs: Sequence[Pair]


def groups(run: RunFiles) -> Leakage | None:
    """The groups of the training sets against those of the held-out set; None until there is something to compare."""
    test = run.column(f"{HELD_OUT}/{ROWS}", "group")
    trained = {node: run.column(f"{node}/{ROWS}", "group") for node in TRAIN_SETS.values()}
    counted = {node: set(names) for node, names in trained.items() if names is not None}
    if test is None or not counted:
        return None
    train = set[str]().union(*counted.values())
    return Leakage(
        counted=[node.removeprefix("corpus/") for node in counted],
        missing=[node.removeprefix("corpus/") for node in trained if node not in counted],
        train=len(train),
        held_out=len(set(test)),
        both=sorted(train & set(test)),
    )


def against(run: RunFiles) -> list[Against]:
    """Every training set against every test set that it was checked against."""
    found = []
    for node in TRAIN_SETS.values():
        report = run.leakage(node)
        if report is None:
            continue
        with expected(run.folder / node / LEAKAGE):
            found += [
                Against(
                    training_set=node.removeprefix("corpus/"),
                    test_set=str(name),
                    rows=int(report["rows"]),
                    matched_rows=int(one["matched_rows"]),
                    removed=int(one["removed"]) == int(one["matched_rows"]),
                    items=int(one["items"]),
                    unchecked=int(one["unchecked"]),
                    unread=int(one["unread"]),
                    unread_first=[str(each) for each in one["unread_first"]],
                    matched_items=int(one["matched_items"]),
                    share=100 * float(one["share"]),
                    kinds=dict(one["pairs"]),
                )
                for name, one in report["test_sets"].items()
            ]
    return found


def matches(run: RunFiles) -> list[Matches]:
    """The matched pairs of every training set, with both texts where the run has them."""
    found = []
    for node in TRAIN_SETS.values():
        report = run.leakage(node)
        with expected(run.folder / node / LEAKAGE):
            chosen = _spread(report["pairs"]) if report else []
            if not chosen:
                continue
            rows = _training_rows(run, node, {pair["row"] for pair in chosen})
            held_out = [pair["test_id"] for pair in chosen if pair["test_set"] == "held_out"]
            items = run.rows_with(f"{HELD_OUT}/{ROWS}", held_out)
            pairs = [_pair(pair, rows.get(pair["row"]), items.get(pair["test_id"])) for pair in chosen]
            found.append(Matches(node.removeprefix("corpus/"), int(report["pairs_total"]), pairs))
    return found


def _spread(pairs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most 24, in turn from every test set and every way to match, so that a frequent one does not hide a rare."""
    turns: dict[tuple[str, str, str], int] = {}
    ordered = []
    for place, pair in enumerate(pairs):
        kind = (pair["test_set"], pair["side"], pair["how"])
        turns[kind] = turns.get(kind, 0) + 1
        ordered.append((turns[kind], place, pair))
    return [pair for _, _, pair in sorted(ordered, key=lambda one: one[:2])[:_MOST_PAIRS]]


def _training_rows(run: RunFiles, node: str, ids: set[str]) -> dict[str, Mapping[str, Any]]:
    """Rows by id: removed ones lie among the rejects, the others in the set."""
    found: dict[str, Mapping[str, Any]] = {}
    for reject in run.stream(f"{node}/{REJECTS}"):
        row = reject["row"]
        if reject["step"] == "decontaminate" and isinstance(row, dict) and row.get("id") in ids:
            found[row["id"]] = row
        if len(found) == len(ids):
            return found
    return {**run.rows_with(f"{node}/{ROWS}", ids - set(found)), **found}


def _pair(pair: Mapping[str, Any], row: Mapping[str, Any] | None, item: Mapping[str, Any] | None) -> Pair:
    excerpt = str(pair["excerpt"])
    return Pair(
        row_id=str(pair["row"]),
        test_set=str(pair["test_set"]),
        test_id=str(pair["test_id"]),
        side=str(pair["side"]),
        row_side=str(pair["row_side"]),
        how=str(pair["how"]),
        score=float(pair["score"]),
        excerpt=excerpt,
        row=marked(_side(row, str(pair["row_side"])), excerpt) if row else None,
        item=marked(_side(item, str(pair["side"])), excerpt) if item else None,
    )


def _side(row: Mapping[str, Any], side: str) -> str:
    """What one side of a row says, turn by turn."""
    if row.get("text"):
        return str(row["text"])
    turns = [turn for name in ("messages", "prompt", "chosen", "rejected") for turn in row.get(name) or ()]
    role = {"question": "user", "answer": "assistant"}.get(side)
    return "\n".join(str(turn["content"]) for turn in turns if role is None or turn["role"] == role)


def marked(text: str, excerpt: str) -> Marked:
    """The place of an excerpt (letters and digits only) in a text, with some characters around it.

    A text that does not hold it is given from its beginning, with nothing marked.
    """
    places = [place for place, sign in enumerate(text) if sign.isalnum()]
    letters = "".join(text[place].lower()[:1] for place in places)
    wanted = "".join(_letters(excerpt.removesuffix(_CUT)))
    start = letters.find(wanted) if wanted else -1
    if start < 0:
        return Marked(_ended(text, 3 * _AROUND), "", "")
    first, last = places[start], places[start + len(wanted) - 1] + 1
    before = text[max(0, first - _AROUND) : first]
    after = _ended(text[last:], _AROUND)
    return Marked((_CUT if first > _AROUND else "") + before, text[first:last], after)


def _letters(text: str) -> Iterable[str]:
    return (sign.lower()[:1] for sign in text if sign.isalnum())


def _ended(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + _CUT
