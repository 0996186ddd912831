"""Simulated consultations: what the model found out from a caregiver who holds a hidden case card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pediatricsgpt.evaluation.report import models, words
from pediatricsgpt.evaluation.report.files import RunFiles, expected
from pediatricsgpt.evaluation.report.paired_table import paired
from pediatricsgpt.evaluation.report.tables import Column, Table, interval

FOLDER = "evaluation/consultations"
_MEASURES = {
    "facts_elicited": ("facts elicited 问出的病情要点", "share"),
    "asked_age": ("asked for the age 问年龄", "share"),
    "asked_weight": ("asked for the weight 问体重", "share"),
    "asked_duration": ("asked for how long 问病程", "share"),
    "asked_danger_signs": ("danger signs asked 问危险信号", "share"),
    "danger_recognised": ("danger recognised 识别危险", "share"),
    "turns_to_danger": ("turns until a danger is recognised 识别危险所用轮数", "value"),
    "premature_closure": ("premature closure 过早下结论", "share"),
    "urgent_without_danger": ("urgent without danger 无危险却按急症处理", "share"),
    "diagnosis_hit": ("diagnosis hit 诊断命中", "share"),
    "acceptable_hit": ("diagnosis or differential hit 命中诊断或鉴别诊断", "share"),
    "turns": ("turns 轮数", "value"),
}
_COMPARED = ("facts elicited", "danger recognised", "diagnosis hit")
_CHANGES = "Change on the same cards (paired), in percentage points 配对差值（百分点）"
_ENDED = {
    "concluded": "with a conclusion 给出结论",
    "max_turns": "at the limit of turns 到达轮数上限",
    "window": "with a full window 上下文已满",
}
_OPEN = 1
_LONGEST = 1200


@dataclass(frozen=True, slots=True)
class Transcript:
    """One consultation, turn by turn."""

    title: str
    turns: Sequence[tuple[str, str, str]]
    """(who, text, what the caregiver told or was asked in it)"""
    open: bool


@dataclass(frozen=True, slots=True)
class Consultation:
    """The consultations of one model."""

    model: str
    caregiver: str
    cards: int
    max_turns: int
    unreviewed: int
    """Cards that no doctor has checked"""
    ended: str
    """How often which way consultations ended"""
    notes: Sequence[str]
    """What must be known of the figures: replies that the rules gave in the endpoint's place, turns that were cut"""
    signature: str
    detail: Table
    transcripts: Sequence[Transcript]


@dataclass(frozen=True, slots=True)
class Consultations:
    """Those of all models."""

    measures: Table
    changes: Table | None
    """Paired differences on the same cards, in percentage points"""
    themes: Table | None
    definitions: Sequence[tuple[str, str]]
    """(measure, what it counts)"""
    models: Sequence[Consultation]


def consultations(run: RunFiles) -> Consultations | None:
    """What was measured; None where nobody was consulted.

    Raises:
        UserError: a file is damaged.
    """
    found = models.results(run, FOLDER, "consultations.json")
    if not found:
        return None
    values: dict[str, list[Any]] = {}
    shown = []
    for place, (model, one) in enumerate(found.items()):
        with expected(run.folder / FOLDER / model / "consultations.json"):
            for name, value in one["measures"].items():
                values.setdefault(name, [None] * len(found))[place] = interval(value)
            shown.append(_consultation(run, model, one))
    cards = {model: _cards(run, model, one) for model, one in found.items()}
    return Consultations(
        _measures(list(found), values),
        paired("consultations-changes", _CHANGES, cards, models.against(found), _COMPARED),
        _themes(run, found),
        _definitions(found),
        shown,
    )


def _cards(run: RunFiles, model: str, one: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Card -> what is compared, 0..1."""
    cards = {}
    with expected(run.folder / FOLDER / model / "consultations.json"):
        for card in one["cards_detail"]:
            values = {
                "facts elicited": _number(card["facts_elicited"]),
                "diagnosis hit": _number(card["diagnosis_hit"]),
            }
            if card.get("has_danger"):
                values["danger recognised"] = float(card["danger_turn"] is not None)
            cards[str(card["card"])] = {name: value for name, value in values.items() if value is not None}
    return cards


def _definitions(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    said: dict[str, str] = {}
    for one in found.values():
        said |= {str(name): str(text) for name, text in (one.get("definitions") or {}).items()}
    return [(_MEASURES.get(name, (name.replace("_", " "), ""))[0], text) for name, text in said.items()]


def costs(run: RunFiles) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(what for, counts) of every model whose caregiver was a language model."""
    for model, one in models.results(run, FOLDER, "consultations.json").items():
        if one.get("costs"):
            with expected(run.folder / FOLDER / model / "consultations.json"):
                yield f"caregiver 模拟家长: {model}", dict(one["costs"])


def _measures(names: Sequence[str], values: Mapping[str, Sequence[Any]]) -> Table:
    order = [name for name in _MEASURES if name in values] + sorted(set(values) - set(_MEASURES))
    columns = [Column("model", "head"), Column("n", "count")]
    columns += [_column(name) for name in order]
    rows = []
    for place, model in enumerate(names):
        cells = [values[name][place] for name in order]
        rows.append([model, max((cell.n for cell in cells if cell), default=0), *cells])
    note = (
        "Mean over cards with 95 % interval; turns as counted. A card on which something cannot be asked or recognised "
        "does not count there: the data give the n of each measure."
    )
    return Table("consultations", "What the model found out 问诊指标", columns, rows, note)


def _column(measure: str) -> Column:
    title, kind = _MEASURES.get(measure, (measure.replace("_", " "), "value"))
    return Column(title, "share" if kind == "share" else "value")


def _themes(run: RunFiles, found: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """Facts elicited, danger recognised and diagnosis hit by theme; whatever of them the files hold."""
    picked = ("facts_elicited", "danger_recognised", "diagnosis_hit")
    rows = []
    for model, one in found.items():
        with expected(run.folder / FOLDER / model / "consultations.json"):
            for theme, group in sorted(((one.get("strata") or {}).get("theme") or {}).items()):
                measures = group.get("measures", group)
                cells = [interval(measures.get(name)) for name in picked]
                rows.append([theme, model, max((cell.n for cell in cells if cell), default=0), *cells])
    if not rows:
        return None
    # Weakest first by what was found out; a theme without that value comes last.
    rows.sort(key=lambda row: (row[3] is None, row[3].mean if row[3] else 0.0, row[0], row[1]))
    columns = [Column("theme", "head"), Column("model"), Column("n", "count"), *(_column(name) for name in picked)]
    return Table("consultations-themes", "By theme, weakest first 按主题，最弱者在前", columns, rows)


def _consultation(run: RunFiles, model: str, one: Mapping[str, Any]) -> Consultation:
    cards = one["cards_detail"]
    titles = {str(card["card"]): str(card["title"]) for card in cards}
    return Consultation(
        model=model,
        caregiver="rules 规则" if one["caregiver"] == "rules" else str(one["caregiver"]),
        cards=int(one["cards"]),
        max_turns=int(one["max_turns"]),
        unreviewed=int(one.get("unreviewed", 0)),
        ended=", ".join(f"{_ENDED.get(way, way)} {int(n):,}" for way, n in (one.get("ended") or {}).items()),
        notes=_notes(one),
        signature=str(one["signature"]),
        detail=_detail(model, cards),
        transcripts=_transcripts(run, model, titles),
    )


def _notes(one: Mapping[str, Any]) -> list[str]:
    notes = []
    replaced, cut = one.get("replaced") or {}, one.get("cut_off") or {}
    if replaced.get("n"):
        why = ", ".join(f"{reason} {number:,}" for reason, number in (replaced.get("reasons") or {}).items())
        notes.append(
            f"{replaced['n']:,} of {replaced['of']:,} replies of the caregiver were given by the rules in the "
            f"endpoint's place ({why}) 由规则代答"
        )
    if cut.get("n"):
        notes.append(f"{cut['n']:,} of {cut['of']:,} turns of the model were cut at max_new_tokens 回答被截断")
    return notes


def _detail(model: str, cards: Sequence[Mapping[str, Any]]) -> Table:
    columns = [
        Column("card", "head"),
        Column("title", "wrap"),
        Column("source", "wrap"),
        Column("turns", "count"),
        Column("facts elicited", "share"),
        Column("facts", "count"),
        Column("asked for"),
        Column("danger signs asked", "share"),
        Column("danger at turn", "count"),
        Column("premature"),
        Column("diagnosis"),
        Column("said", "wrap"),
    ]
    rows = []
    for card in cards:
        asked, source = card["asked"], card["source"]
        asks = [name for name in ("age", "weight", "duration") if asked.get(name)]
        rows.append(
            [
                str(card["card"]),
                str(card["title"]),
                " · ".join(str(source[key]) for key in ("title", "licence", "where") if source.get(key)),
                int(card["turns"]),
                _number(card["facts_elicited"]),
                int(card["facts"]),
                ", ".join(asks) or "–",
                _number(asked.get("danger_signs")),
                card["danger_turn"],
                "yes" if card["premature"] else "no",
                "hit" if card["diagnosis_hit"] else "missed",
                str(card["said_diagnosis"]),
            ]
        )
    return Table(f"consultations-{model}", f"{words.model(model)}: card by card 逐例", columns, rows)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _transcripts(run: RunFiles, model: str, titles: Mapping[str, str]) -> list[Transcript]:
    name = f"{FOLDER}/{model}/transcripts.jsonl"
    found = []
    for place, line in enumerate(run.stream(name)):
        with expected(run.folder / name):
            notes = {int(note["turn"]): note for note in line.get("notes", [])}
            turns, turn = [], 0
            for message in line["messages"]:
                who = str(message["role"])
                turn += who == "assistant"
                said = _said(notes.get(turn), who)
                turns.append((words.ROLES.get(who, who), words.shortened(str(message["content"]), _LONGEST), said))
            title = titles.get(str(line["card"]), str(line["card"]))
            found.append(Transcript(title, turns, place < _OPEN))
    return found


def _said(note: Mapping[str, Any] | None, who: str) -> str:
    """What a doctor's turn asked, and what the caregiver's turn after it told."""
    if not note or who == "system":
        return ""
    key, title = ("asked", "asks 询问") if who == "assistant" else ("told", "tells 告知")
    values = note.get(key) or []
    return f"{title}: {', '.join(map(str, values))}" if values else ""
