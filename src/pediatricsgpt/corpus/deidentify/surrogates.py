"""What stands in the place of what was found: the same for the same person through a whole dialogue."""

from __future__ import annotations

import datetime
import functools
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal

from pediatricsgpt.corpus.deidentify.dates import Date, dates, months_between, shifted
from pediatricsgpt.corpus.deidentify.find import Finding
from pediatricsgpt.corpus.deidentify.lexicon import lexicon
from pediatricsgpt.corpus.deidentify.numbers import half_width
from pediatricsgpt.corpus.deidentify.traditional import simplified
from pediatricsgpt.corpus.rules import rules

Style = Literal["realistic", "placeholder"]


@dataclass(slots=True)
class Surrogates:
    """The surrogates of one record.

    With a key they come from a keyed hash (HMAC-SHA-256) of `secret`, the record's group and the original, so that the
    same name gives the same surrogate in every record of a patient; only where two persons of one record would get the
    same one does the later one move on. Without a key everybody knows the secret, and who guesses a name could try
    whether it gives the surrogate: then they come from the text around the names (`around`) and their order instead.
    Dates of one group move by one constant number of days.
    """

    secret: bytes
    group: str
    style: Style = "realistic"
    max_shift_days: int = 60
    content: str = ""
    """The record's whole text: no surrogate may occur in it already"""
    visit: datetime.date | None = None
    """When the patient was seen, where the record says so: a date of birth then becomes an age"""
    year: int | None = None
    around: str | None = None
    """The text without what was found, where there is no key"""
    _given: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def days(self) -> int:
        """The constant shift of this group, in days; never 0."""
        span = 2 * self.max_shift_days
        days = self._hash("days", "") % span - self.max_shift_days
        return days if days < 0 else days + 1

    def replace(self, finding: Finding) -> str:
        """The surrogate of one finding."""
        if finding.kind in ("date", "birth_date"):
            return self._date(finding)
        if self.style == "realistic" and finding.kind == "name":
            return self._name(finding.text)
        if self.style == "realistic" and finding.kind == "nickname":
            return self._draw("nicknames", finding.text)
        return self._placeholder(finding.kind, half_width(finding.text))

    def _name(self, name: str) -> str:
        compound = simplified(name[:2]) in lexicon().compound
        surname, given = (name[:2], name[2:]) if compound else (name[:1], name[1:])
        return self._draw("surnames", surname) + (self._draw("given", given) if given else "")

    def _draw(self, pool: str, original: str) -> str:
        """An invented part of a name that is not yet another person's and not in the text already."""
        known = self._given.get((pool, original))
        if known:
            return known
        subject = original if self.around is None else f"{self.around}\0{len(self._given)}"
        names, at = _pool(pool), self._hash(pool, subject)
        taken = {value for (kind, _), value in self._given.items() if kind == pool}
        order = [names[(at + step) % len(names)] for step in range(len(names))]
        free = [name for name in order if name not in taken and name != original]
        unseen = [name for name in free if len(name) == 1 or name not in self.content]
        self._given[pool, original] = (unseen or free or order)[0]
        return self._given[pool, original]

    def _placeholder(self, kind: str, original: str) -> str:
        """`[电话]`; a second, different one of the same kind is `[电话2]`."""
        if (kind, original) not in self._given:
            number = 1 + sum(known == kind for known, _ in self._given)
            label = rules("deidentify_surrogates")["placeholders"][kind]
            self._given[kind, original] = f"[{label}{number if number > 1 else ''}]"
        return self._given[kind, original]

    def _date(self, finding: Finding) -> str:
        shadow = half_width(simplified(finding.text))
        date = next(iter(dates(f"生日{shadow}")), None)
        if date is None or date.end != len(shadow) + 2:
            return self._placeholder(finding.kind, shadow)
        if finding.kind == "birth_date" and date.full and self.visit and date.full <= self.visit:
            return f"（就诊时月龄{months_between(date.full, self.visit)}个月）"
        return shifted(date, self.days, self.year)

    def _hash(self, kind: str, original: str) -> int:
        message = "\0".join((self.group, kind, original)).encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.new(self.secret, message, hashlib.sha256).digest()[:8], "big")


def visit_of(found: list[Date]) -> tuple[datetime.date | None, int | None]:
    """The day of the visit, and the year that dates without one belong to, from all dates of a record."""
    visits = [date.full for date in found if date.visit and date.full]
    years = [date.year for date in found if date.year and not date.birth]
    return (visits[0] if visits else None), (max(years) if years else None)


@functools.cache
def _pool(name: str) -> tuple[str, ...]:
    return tuple(rules("deidentify_surrogates")[name].split())
