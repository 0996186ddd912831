"""What a fact of a text is: its place, its exact value, and whether the text denies or forbids it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

KINDS = (
    "age",
    "weight",
    "temperature",
    "duration",
    "frequency",
    "count",
    "dose",
    "concentration",
    "measurement",
    "number",
    "drug",
    "vaccine",
    "negation",
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: `text[start:end]` of the extracted text is the field `text`.

    `value` is exact and counted in `unit`; a range (5～10ml) has its upper end in `high`. `name` is the generic of a
    drug, the vaccine, or the cue of a negation, and empty elsewhere. `negated` says that the fact stands inside a
    negation or a prohibition (未用布洛芬, 禁用阿司匹林). `relation` is that of the text to the value: `=`, or one of
    `<`, `<=`, `>`, `>=` for bounds (≥38.5℃, 3岁以下).
    """

    kind: str
    start: int
    end: int
    text: str
    value: Decimal | None = None
    high: Decimal | None = None
    unit: str = ""
    name: str = ""
    negated: bool = False
    relation: str = "="
