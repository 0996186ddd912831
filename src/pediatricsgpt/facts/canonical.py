"""Facts in one form: 0.5g is 500mg, 1岁半 is 18个月, 每8小时 is 一日三次, 美林 is 布洛芬."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from pediatricsgpt.facts.fact import Fact

Canonical = tuple[str, str, Fraction | None, Fraction | None, str]
"""Kind, what is counted, lower and upper value, and the bound: equal for facts that say the same."""

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_MONTHS = {"month": 1, "year": 12}
_PER_DAY = {
    "second": Fraction(86_400),
    "minute": Fraction(1440),
    "hour": Fraction(24),
    "day": Fraction(1),
    "week": Fraction(1, 7),
}
_SCALES = {
    "g": ("mg", Fraction(1000)), "μg": ("mg", Fraction(1, 1000)), "ng": ("mg", Fraction(1, 1_000_000)),
    "L": ("ml", Fraction(1000)),
    "cm": ("mm", Fraction(10)), "m": ("mm", Fraction(1000)), "μm": ("mm", Fraction(1, 1000)),
}  # fmt: skip
_BOUNDS = {"<=": "<", ">=": ">"}
_TIMED = {"age", "duration"}


def canonical(fact: Fact) -> Canonical:
    """The form in which equal facts are equal.

    Ages and durations are both times, because the words that make a time an age (18个月的宝宝, 宝宝1岁半) may be said
    otherwise. `<` and `<=` count as one bound, and so do `>` and `>=`: 3岁以下 is used for both.
    """
    if fact.kind in ("drug", "vaccine", "negation") or fact.value is None:
        return fact.kind, fact.name, None, None, "="
    low, high = Fraction(fact.value), None if fact.high is None else Fraction(fact.high)
    kind, unit, low, high = _converted(fact, low, high)
    return kind, unit, low, high, _BOUNDS.get(fact.relation, fact.relation)


def normalised(facts: Iterable[Fact]) -> Counter[Canonical]:
    """The multiset of facts in canonical form."""
    return Counter(map(canonical, facts))


def _converted(fact: Fact, low: Fraction, high: Fraction | None) -> tuple[str, str, Fraction, Fraction | None]:
    if fact.kind in _TIMED:
        base, table = ("month", _MONTHS) if fact.unit in _MONTHS else ("second", _SECONDS)
        return "time", base, low * table[fact.unit], _times(high, Fraction(table[fact.unit]))
    if fact.kind == "frequency":
        return _frequency(fact.unit, low, high)
    if fact.kind == "concentration" and fact.unit != "%":
        return _concentration(fact.unit, low, high)
    if fact.kind == "count":
        unit, _, parts = fact.unit.partition("/")
        if parts.isdigit():
            return "count", unit, low / int(parts), high
        return "count", fact.unit, low, high
    unit, *per = fact.unit.split("/")
    base, scale = (
        _SCALES.get(unit, (unit, Fraction(1))) if fact.kind in ("dose", "measurement") else (unit, Fraction(1))
    )
    if fact.kind == "measurement" and per:
        base, scale = unit, Fraction(1)  # 5 g/L stays grams per litre
    per = sorted(part for part in per if part != "dose")  # 10mg/kg/次 is 每次10mg/kg
    return fact.kind, "/".join([base, *per]), low * scale, _times(high, scale)


def _times(value: Fraction | None, scale: Fraction) -> Fraction | None:
    return None if value is None else value * scale


def _frequency(unit: str, low: Fraction, high: Fraction | None) -> tuple[str, str, Fraction, Fraction | None]:
    """Times a day; of an interval the reciprocal, its ends turned round."""
    if unit.startswith("every "):
        period = unit.removeprefix("every ")
        if period not in _PER_DAY:
            return "frequency", unit, low, high
        rates = sorted(_PER_DAY[period] / value for value in (low, high) if value)
        return "frequency", "/day", rates[0], rates[1] if len(rates) > 1 else None
    period = unit.removeprefix("/")
    scale = _PER_DAY.get(period)
    if scale is None:
        return "frequency", unit, low, high
    return "frequency", "/day", low * scale, _times(high, scale)


def _concentration(unit: str, low: Fraction, high: Fraction | None) -> tuple[str, str, Fraction, Fraction | None]:
    """Mass in one millilitre: 100mg/5ml and 20mg/ml are one strength."""
    mass, _, volume = unit.partition("/")
    base, scale = _SCALES.get(mass, (mass, Fraction(1)))
    amount = volume.removesuffix("ml")
    share = scale / Fraction(Decimal(amount)) if amount and Decimal(amount) else scale
    return "concentration", f"{base}/ml", low * share, _times(high, share)
