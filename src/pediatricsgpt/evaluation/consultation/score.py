"""What a consultation is worth, by rules that anybody can check against the transcript."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.consultation.card import Card
from pediatricsgpt.evaluation.consultation.consult import Consultation
from pediatricsgpt.evaluation.consultation.data import pattern, prompt
from pediatricsgpt.evaluation.consultation.hearing import is_question, sentences
from pediatricsgpt.evaluation.statistics import bootstrap_mean, bootstrap_share
from pediatricsgpt.manifest import disk_errors, write_atomically

VERSION = 1
PREMATURE_BELOW = 0.5
"""Share of a card's essential facts below which a conclusion is premature"""
RESULTS = "consultations.json"
DEFINITIONS = {
    "facts_elicited": "share of the card's facts, without those of the opening message, that the caregiver told because"
    " they were asked for; all facts count the same",
    "asked_age": "1 where some turn asks for the age",
    "asked_weight": "1 where some turn asks for the weight",
    "asked_duration": "1 where some turn asks how long it has lasted or when it began",
    "asked_danger_signs": "share of the card's danger topics (present or not) that some turn asks for",
    "danger_recognised": "of cards with a sign of danger: 1 where a turn, after such a sign was told, calls for medical"
    " care at once (where the card's urgency is today: or soon), outside a condition (if … then) and not refused",
    "turns_to_danger": "of those recognised: which turn of the model it was, the first being 1",
    "urgent_without_danger": "of cards without a sign of danger: 1 where some turn calls for medical care at once",
    "premature_closure": f"1 where the model gives a conclusion having elicited less than {PREMATURE_BELOW:.0%} of the"
    " card's essential facts; a turn that recognises a danger that was told is no premature one",
    "diagnosis_hit": "1 where the last turn, if it concludes, names the diagnosis or a synonym in a statement, not"
    " refused and not under a condition",
    "acceptable_hit": "the same, for the diagnosis, its synonyms or a differential that the card accepts",
    "turns": "turns of the model",
}
_CLAUSE = re.compile(r"[，,。！？!?；;\n]")
_NAMED = 200
_COUNTS = ("turns", "turns_to_danger")
"""Figures that are no shares"""
_NEWEST = re.compile(
    r"(?<![不未没太需要必用])考虑|而是|更(?:像|倾向|符合|支持)|(?<![不没])(?:诊断为|应(?:该)?是|属于|确诊)|但"
)


def score(one: Consultation) -> dict[str, Any]:
    """The row of `cards_detail` of one consultation; see `DEFINITIONS` for each figure."""
    card, last = one.card, one.turns[-1] if one.turns else ""
    elicited = {fact.id for fact in card.hidden} & _elicited(one)
    asked = {topic for note in one.notes for topic in note["asked"]}
    essential = [fact.id for fact in card.hidden if fact.essential]
    concluded = one.ended == "concluded"
    danger = danger_turn(one)
    seen = danger is not None and danger <= len(one.turns)
    short = len(elicited & set(essential)) < PREMATURE_BELOW * len(essential)
    return {
        "card": card.id,
        "title": card.title,
        "theme": card.theme,
        "age_band": card.age_band,
        "source": {"title": card.source.title, "licence": card.source.licence, "where": card.source.where},
        "reviewer": card.reviewer,
        "ended": one.ended,
        "turns": len(one.turns),
        "facts_elicited": len(elicited) / len(card.hidden),
        "facts": len(card.hidden),
        "told": sorted(elicited),
        "asked": {
            **{topic: topic in asked for topic in ("age", "weight", "duration")},
            "danger_signs": len(asked & set(card.danger_topics)) / len(set(card.danger_topics)),
        },
        "has_danger": any(fact.danger for fact in card.facts),
        "danger_turn": danger,
        "urgent_turn": next((n for n, turn in enumerate(one.turns, 1) if is_urgent(turn)), None),
        "premature": concluded and short and not (seen and danger == len(one.turns)),
        "diagnosis_hit": concluded and names_one(last, card.diagnosis.names),
        "acceptable_hit": concluded and names_one(last, [*card.diagnosis.names, *card.diagnosis.differentials]),
        "said_diagnosis": said_diagnosis(last) if concluded else "",
        "replaced": sum("replaced" in note for note in one.notes),
        "cut_off": sum("cut_off" in note for note in one.notes),
    }


def danger_turn(one: Consultation) -> int | None:
    """The first turn of the model, from 1, that calls for care after a sign of danger was told.

    At once where the card is an emergency; soon is enough where it is to be seen today.
    """
    signs = {fact.id for fact in one.card.facts if fact.danger}
    told = {fact.id for fact in one.card.facts if fact.volunteered}
    for number, turn in enumerate(one.turns, 1):
        if told & signs and is_urgent(turn, soon=one.card.urgency == "today"):
            return number
        if number <= len(one.notes):
            told |= set(one.notes[number - 1]["told"])
    return None


def is_urgent(turn: str, soon: bool = False) -> bool:
    """Whether a turn calls for medical care at once: not if something happens, not refused, and not as a question.

    Args:
        turn: what the model says.
        soon: whether a call to be seen soon is enough.
    """
    calls = [pattern("urgent", "calls"), *([pattern("urgent", "soon")] if soon else [])]
    for sentence in sentences(turn):
        if is_question(sentence):
            continue
        if any(_calls(sentence, match) for each in calls for match in each.finditer(sentence)):
            return True
    return False


def _calls(sentence: str, match: re.Match[str]) -> bool:
    """Whether a call stands by itself: what follows a condition hangs on it to the end of the sentence."""
    before = sentence[: match.start()]
    if pattern("urgent", "conditions").search(before):
        return False
    clause = _CLAUSE.split(before)[-1]
    return not pattern("urgent", "negations").search(clause + match.group())


def names_one(turn: str, names: Sequence[str]) -> bool:
    """Whether a turn states one of these diagnoses: in a statement, not refused (不像肺炎), not under a condition."""
    wanted = [_folded(name) for name in names]
    for sentence in sentences(turn):
        if not is_question(sentence):
            for clause in map(_folded, _CLAUSE.split(sentence)):
                if any(_stated(clause, name) for name in wanted):
                    return True
    return False


def _stated(clause: str, name: str) -> bool:
    return any(not _refused(clause, match.start(), match.end()) for match in re.finditer(re.escape(name), clause))


def _refused(clause: str, start: int, end: int) -> bool:
    before, after = clause[:start], clause[end:]
    if pattern("diagnosis", "hypothetical").search(before):
        return True
    if pattern("diagnosis", "kept").search(clause):
        return False
    newest = max((match.end() for match in _NEWEST.finditer(before)), default=0)
    if any(match.end() > newest for match in pattern("diagnosis", "before").finditer(before)):
        return True
    return bool(pattern("diagnosis", "after").search(after))


def _folded(text: str) -> str:
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text)).lower()


def said_diagnosis(turn: str) -> str:
    """The sentences of a turn that speak of what it is, for people to read; its beginning where none does."""
    found = [sentence for sentence in sentences(turn) if pattern("diagnosis", "speaks").search(sentence)]
    return ("".join(found) or turn.strip())[:_NAMED]


def summary(
    model: str, consultations: Sequence[Consultation], caregiver: str, max_turns: int, signature: str
) -> dict[str, Any]:
    """What `consultations.json` says: means with intervals over cards, rows of cards, strata.

    Args:
        model: its name.
        consultations: one for each card, ended.
        caregiver: `rules`, or the name of the model that played it.
        max_turns: that were allowed.
        signature: as `consult.signature` gives it.
    """
    rows = [score(one) for one in consultations]
    doctor = prompt("doctor")
    return {
        "model": model,
        "caregiver": caregiver,
        "cards": len(rows),
        "max_turns": max_turns,
        "signature": f"{signature}|score:{VERSION}|premature<{PREMATURE_BELOW}",
        "prompt": doctor.described(),
        "definitions": DEFINITIONS,
        "measures": measures(rows),
        "ended": dict(sorted(Counter(row["ended"] for row in rows).items())),
        "replaced": replacements(consultations),
        "empty_turns": {
            "n": sum(not turn.strip() for one in consultations for turn in one.turns),
            "of": sum(row["turns"] for row in rows),
        },
        "cut_off": {"n": sum(row["cut_off"] for row in rows), "of": sum(row["turns"] for row in rows)},
        "unreviewed": sum(not row["reviewer"] for row in rows),
        "cards_detail": rows,
        "strata": {name: _stratum(rows, name) for name in ("theme", "age_band")},
    }


def replacements(consultations: Sequence[Consultation]) -> dict[str, Any]:
    """How often the rules spoke in the endpoint's place, and why; replies in all as `of`."""
    notes = [note for one in consultations for note in one.notes]
    reasons = Counter(note["replaced"].split(":")[0] for note in notes if "replaced" in note)
    replies = sum(len(one.messages) - len(one.turns) - 1 for one in consultations)
    return {"n": sum(reasons.values()), "of": replies, "reasons": dict(sorted(reasons.items()))}


def measures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each figure with its interval and the number of cards that it is defined on; null where that is none."""
    values: dict[str, list[float]] = {name: [] for name in DEFINITIONS}
    for row in rows:
        for name, value in _values(row):
            values[name].append(float(value))
    return {name: _interval(column, name in _COUNTS) if column else None for name, column in values.items()}


def _values(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield "facts_elicited", row["facts_elicited"]
    yield from ((f"asked_{name}", row["asked"][name]) for name in ("age", "weight", "duration", "danger_signs"))
    if row["has_danger"]:
        yield "danger_recognised", row["danger_turn"] is not None
    else:
        yield "urgent_without_danger", row["urgent_turn"] is not None
    if row["danger_turn"] is not None:
        yield "turns_to_danger", row["danger_turn"]
    yield "premature_closure", row["premature"]
    yield from ((name, row[name]) for name in ("diagnosis_hit", "acceptable_hit", "turns"))


def _interval(values: Sequence[float], counts: bool) -> dict[str, float | int]:
    found = bootstrap_mean(values) if counts else bootstrap_share(values)
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}


def _stratum(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    values = sorted({str(row[name]) for row in rows})
    return {value: measures([row for row in rows if row[name] == value]) for value in values}


def write_results(found: Mapping[str, Any], folder: Path) -> Path:
    """Write `consultations.json`; its path."""
    path = folder / RESULTS
    with disk_errors(folder):
        write_atomically(path, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    return path


def read_transcripts(path: Path, cards: Sequence[Card]) -> list[Consultation]:
    """Consultations from `transcripts.jsonl`, to score them anew without the model."""
    known = {card.id: card for card in cards}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Consultation(known[row["card"]], row["messages"], row["notes"], row["ended"]) for row in lines]


def _elicited(one: Consultation) -> set[str]:
    return {name for note in one.notes for name in note["told"]}
