"""The patterns that read one quantity: numbers, units and rates, compiled from the unit list."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from pediatricsgpt.facts.data import load
from pediatricsgpt.facts.numbers import NUMBER, number

_LISTS = load("units")
FAMILIES: dict[str, tuple[str, str]] = {}
"""How a unit is written -> its family and its symbol."""
PER: dict[str, str] = {}
"""How the lower part of a rate is written -> its symbol."""
for _family, _units in _LISTS.items():
    for _symbol, _spellings in _units.items() if _family != "not_before" else ():
        for _spelling in _spellings:
            if _family == "per":
                PER[_spelling] = _symbol
            else:
                FAMILIES[_spelling] = (_family, _symbol)
_LOWER_FAMILIES = {spelling.lower(): unit for spelling, unit in reversed(FAMILIES.items())}
_LOWER_PER = {spelling.lower(): symbol for spelling, symbol in PER.items()}


def _alternatives(spellings: list[str]) -> str:
    """One alternation, longest first; a unit in letters ends where its letters end."""
    exceptions = _LISTS["not_before"]
    parts = []
    for spelling in sorted(spellings, key=len, reverse=True):
        end = r"(?![A-WYZa-wyz])" if spelling[-1].isascii() and spelling[-1].isalpha() else ""
        if spelling in exceptions:
            end = f"(?!{exceptions[spelling]})"
        parts.append(re.escape(spelling) + end)
    return "|".join(parts)


_TIMES = [spelling for spelling, (family, _) in FAMILIES.items() if family == "time"]
_OTHERS = [spelling for spelling, (family, _) in FAMILIES.items() if family != "time"]
TIME = rf"(?:个[半多余来]?)?(?:{_alternatives(_TIMES)})"
UNIT = rf"(?:{TIME}|个?(?:{_alternatives(_OTHERS)}))"
_PERS = _alternatives(list(PER))
RATE = (
    rf"(?:(?:\s?[/／]|(?<!次)每(?=公斤|千克|kg))\s?"
    rf"(?:[(（]\s?(?:{_PERS})(?:\s?[·•.*/⋅・×]\s?(?:{_PERS}))?\s?[)）]|\d{{0,4}}(?:{_PERS})(?:\s?[·•./⋅・×]\s?(?:{_PERS}))?))"
)
N = rf"(?:{NUMBER}(?:万(?=[国单IUi]))?)"
TO = r"\s?(?:[-~～—–－―─至到]|—{1,2})\s?"

QUANTITY = re.compile(
    rf"(?P<low>{N})(?P<few>[多余来几])?\s?"
    rf"(?:(?P<unit1>{UNIT})?(?P<rate1>{RATE})?{TO}(?P<high>{N})(?P<few2>[多余来几])?\s?(?P<unit2>{UNIT})|(?P<unit>{UNIT}))"
    rf"(?P<half>半(?![个年天月小夜片粒袋包支瓶丸勺颗]))?(?P<more>多)?(?P<rate>{RATE})?",
    re.IGNORECASE,
)


def family_of(written: str) -> tuple[str, str]:
    """Family and symbol of a unit as it is written; ("", "") for none."""
    bare = written.strip()
    if bare.startswith("个"):
        bare = bare[1:].lstrip("半多余来")
    return FAMILIES.get(bare) or _LOWER_FAMILIES.get(bare.lower(), ("", ""))


def rate_of(written: str | None) -> list[str]:
    """The symbols below the stroke of a rate: ["kg", "day"] of /（kg·d）."""
    if not written:
        return []
    parts = re.split(r"[/／·•.*⋅・×()（）每\s]+", written)
    return [_LOWER_PER[key] for part in parts if (key := part.lower().lstrip("0123456789")) in _LOWER_PER]


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with its unit as read, before it is known what it counts."""

    low: Decimal
    high: Decimal | None
    more: bool
    family: str
    symbol: str
    rate: tuple[str, ...]


def value(text: str) -> tuple[Decimal, Decimal | None] | None:
    """A number as `number` reads it, also in 万 before an activity (50万单位)."""
    if text[0].isdigit() and text.endswith("万"):
        return Decimal(text[:-1]) * 10_000, None
    return number(text)


def amount(match: re.Match[str]) -> Amount | None:
    """What a match of QUANTITY says; None where its number is none or its two units differ in kind."""
    low = value(match["low"])
    if low is None:
        return None
    unit = match["unit2"] or match["unit"]
    family, symbol = family_of(unit)
    lowest, highest = low
    if match["high"]:
        upper = value(match["high"])
        if upper is None or (match["unit1"] and family_of(match["unit1"]) != (family, symbol)):
            return None
        highest = upper[1] or upper[0]
        if highest <= lowest:
            return None
    middle = unit[1:2] if unit.startswith("个") else ""
    if match["half"] or middle == "半":
        lowest += Decimal("0.5")
    more = bool(match["few"] or match["few2"] or match["more"]) or (middle != "" and middle in "多余来")
    return Amount(lowest, highest, more, family, symbol, tuple(rate_of(match["rate"])))
