"""Doctors' verdicts: read from CSV or JSON lines, their agreement with each other, and their majority."""

from __future__ import annotations

import csv
import functools
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.agreement import Rating, agreement
from pediatricsgpt.evaluation.judge.decide import Outcome, held, majority
from pediatricsgpt.evaluation.judge.verdicts import Verdict, check_once
from pediatricsgpt.evaluation.validation.reference import LabelledPair, Reference
from pediatricsgpt.records import read_json_lines
from pediatricsgpt.text import decode

CATEGORIES = ("a", "b", "tie")
SIMULATED = "simulated"
"""Raters whose names begin so are no people: they try out the way, and no judge passes by them"""
DEFAULT_MAP = {"factuality": "correctness"}

_WORDS: dict[Outcome, str] = {1: "a", -1: "b", 0: "tie"}
_REQUIRED = ("id", "dimension", "left", "right", "verdict", "rater")
_OPTIONAL = ("raw", "task", "department", "age_band", "group")


def read_labels(path: Path) -> list[Verdict]:
    """Verdicts of people.

    Args:
        path: JSON lines in the form of `verdicts.jsonl`, or CSV with those columns (UTF-8 or GB18030, as spreadsheets
            write it); columns, verdicts and dimensions may have their Chinese names.

    Raises:
        UserError: a row is no verdict, or one stands twice; file and line are named.
    """
    rows = _csv(path) if path.suffix.lower() == ".csv" else read_json_lines(path)
    found: list[Verdict] = []
    seen: dict[tuple[Any, ...], int] = {}
    for line, row in rows:
        where = f"{path}:{line}"
        verdict = _verdict(row, where)
        check_once(verdict, seen, line, where)
        found.append(verdict)
    if not found:
        raise UserError("no verdict in this file", path)
    return found


def reference_of(labels: Sequence[Verdict], against: str, mapping: Mapping[str, str] | None = None) -> Reference:
    """Raters' majority as the reference, with how far they agree among each other.

    Args:
        labels: verdicts of one rater or more.
        against: what the result calls them.
        mapping: the raters' dimension -> the judge's; a dimension of the same name needs none. Two may not be mapped
            onto one.

    Raises:
        UserError: no dimension of the raters is one of the judge's, or two are mapped onto one.
    """
    mapping = DEFAULT_MAP if mapping is None else mapping
    own = sorted({verdict.dimension for verdict in labels})
    onto = _onto(own, mapping, against)
    opinions = {dimension: opinions_on(labels, dimension) for dimension in own}
    items = sorted({item for by_rater in opinions.values() for one in by_rater.values() for item in one})
    pairs = []
    for name, a, b in items:
        said = {
            judged: outcome
            for dimension, judged in onto.items()
            if (outcome := majority(one.get((name, a, b)) for one in opinions[dimension].values())) is not None
        }
        if said:
            pairs.append(LabelledPair(pair_id(name, a, b), name, (a, b), said))
    raters = sorted({verdict.rater for verdict in labels})
    simulated = [rater for rater in raters if rater.startswith(SIMULATED)]
    return Reference(
        against,
        _what(raters, simulated, onto),
        "all",
        tuple(pairs),
        {"verdicts": len(labels), "raters": len(raters), "questions": len({pair.group for pair in pairs})},
        {dimension: _among(by_rater) for dimension, by_rater in opinions.items()} if len(raters) > 1 else None,
        real=not simulated,
    )


def pair_id(name: str, a: str, b: str) -> str:
    """One question and two models."""
    return f"{name}|{a}|{b}"


def opinions_on(verdicts: Sequence[Verdict], dimension: str) -> dict[str, dict[tuple[str, str, str], Outcome]]:
    """Rater -> (question, A, B) -> what it holds on a dimension; A and B are in the order of their names."""
    parted: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.dimension == dimension:
            a, b = sorted((verdict.left, verdict.right))
            parted[verdict.rater, a, b].append(verdict)
    found: dict[str, dict[tuple[str, str, str], Outcome]] = defaultdict(dict)
    for (rater, a, b), own in parted.items():
        found[rater] |= {(name, a, b): outcome for name, outcome in held(own, a).outcomes.items()}
    return dict(found)


def words(outcome: Outcome) -> Rating:
    """An outcome as a category of agreement; None where there is none."""
    return None if outcome is None else _WORDS[outcome]


def _among(by_rater: Mapping[str, Mapping[tuple[str, str, str], Outcome]]) -> dict[str, Any]:
    """Agreement of raters with each other; pairs of one question are resampled together."""
    items = sorted({item for one in by_rater.values() for item in one})
    table = [[words(one.get(item)) for one in by_rater.values()] for item in items]
    return agreement(table, groups=[item[0] for item in items], categories=CATEGORIES)


def _onto(own: Sequence[str], mapping: Mapping[str, str], against: str) -> dict[str, str]:
    from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS

    onto = {one: mapping.get(one, one) for one in own if mapping.get(one, one) in DIMENSIONS}
    if not onto:
        raise UserError(
            f"no dimension of these labels ({', '.join(own)}) is one of the judge's ({', '.join(DIMENSIONS)}); say "
            "which stands for which with --map, for example --map safety=correctness",
            against,
        )
    twice = sorted({judged for judged in onto.values() if list(onto.values()).count(judged) > 1})
    if twice:
        both = [one for one, judged in onto.items() if judged == twice[0]]
        raise UserError(f"{' and '.join(both)} are both mapped onto {twice[0]}; map one of them elsewhere", against)
    return onto


def _what(raters: Sequence[str], simulated: Sequence[str], onto: Mapping[str, str]) -> str:
    mapped = ", ".join(f"{one} is compared with {judged}" for one, judged in onto.items())
    if simulated:
        whose = f"SIMULATED raters ({len(simulated)} of {len(raters)}), not people: a trial, which proves nothing"
    elif len(raters) == 1:
        whose = "verdicts of one rater: how far raters agree is not known"
    else:
        whose = f"what more than half of {len(raters)} raters say, a tie where no side has more than half"
    return f"{whose}; {mapped}"


def _csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a table under our names of the columns."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror), path
        ) from error
    try:
        text = decode(data).text.lstrip("\ufeff")
    except ValueError as error:
        raise UserError("neither UTF-8 nor GB18030; save the table as CSV UTF-8", path) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = {heading: _named("columns", (heading or "").strip()) for heading in reader.fieldnames or ()}
    missing = [one for one in _REQUIRED if one not in names.values()]
    if missing:
        heads = ", ".join(heading for heading in names if heading) or "none"
        raise UserError(f"the column '{missing[0]}' is missing; the table has {heads}", f"{path}:1")
    for row in reader:
        yield reader.line_num, {name: (row[head] or "").strip() for head, name in names.items() if name}


def _verdict(row: Any, where: str) -> Verdict:
    if not isinstance(row, Mapping):
        raise UserError("expected a verdict: id, dimension, left, right, verdict, rater", where)
    for one in _REQUIRED:
        if not isinstance(row.get(one), str) or not row[one].strip():
            raise UserError(f"the field '{one}' of a verdict is missing or no text", where)
    word = _named("verdicts", row["verdict"].strip())
    if word is None:
        known = ", ".join(_names()["verdicts"])
        raise UserError(f"'{row['verdict']}' is no verdict; it is one of {known}", where)
    if row["left"].strip() == row["right"].strip():
        raise UserError("left and right are the same model", where)
    dimension = row["dimension"].strip()
    order = _number(row, "order", where)
    if order not in (0, 1):
        raise UserError("'order' is 0 (model A was shown first) or 1", where)
    texts = {one: row[one] for one in _OPTIONAL if isinstance(row.get(one), str) and row[one]}
    return Verdict(
        row["id"].strip(),
        _named("dimensions", dimension) or dimension,
        row["left"].strip(),
        row["right"].strip(),
        word,  # type: ignore[arg-type]  # one of the four by the table
        row["rater"].strip(),
        order,
        _number(row, "repeat", where),
        **texts,
    )


def _number(row: Mapping[str, Any], name: str, where: str) -> int:
    value = row.get(name)
    if value is None or value == "":
        return 0
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if number < 0 or isinstance(value, bool):
        raise UserError(f"'{name}' must be a whole number from 0, not {value!r}", where)
    return number


def _named(kind: str, word: str) -> str | None:
    """Our name of a column, verdict or dimension that may have a Chinese one."""
    return next((own for own, others in _names()[kind].items() if word.lower() in others), None)


@functools.cache
def _names() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(resources.files(__package__).joinpath("labels.yaml").read_bytes())
    return read
