"""Calendar dates: found, told apart from birth dates, and shifted by whole days."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pediatricsgpt.corpus.rules import rules

DATE = re.compile(
    r"(?<![\d.\-/])(?P<year>(?:19|20)\d{2})\s?(?:"
    r"(?P<sep>[年.\-/])\s?(?P<month>1[0-2]|0?[1-9])\s?(?P<sep2>月|(?<=[\d])[.\-/])\s?(?P<day>3[01]|[12]\d|0?[1-9])(?![\d.]\d|\d)(?P<end>[日号]?)"
    r"|年\s?(?P<only_month>1[0-2]|0?[1-9])\s?月(?!\s?\d)"
    r"|(?P<month8>1[0-2]|0[1-9])(?P<day8>3[01]|[12]\d|0[1-9])(?!\d))"
    r"|(?<!\d)(?P<short>[012]\d)年\s?(?P<s_month>1[0-2]|0?[1-9])月(?P<s_day>3[01]|[12]\d|0?[1-9])(?P<s_end>[日号]?)"
    r"|(?<![\d.年\-/])(?P<md_month>1[0-2]|0?[1-9])月(?P<md_day>3[01]|[12]\d|0?[1-9])(?P<md_end>[日号])"
)
_CHINESE = re.compile(
    r"(?P<year>[一二][〇零○九][〇零○一二三四五六七八九]{2})年(?P<month>十[一二]?|[一二三四五六七八九])月"
    r"(?P<day>[一二三]?十[一二三四五六七八九]?|[一二三四五六七八九])(?P<end>[日号])"
)
_DIGIT = str.maketrans("〇零○一二三四五六七八九", "000123456789")
_REFERENCE_YEAR = 2023
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Date:
    """A calendar date in a text; `text` is how it is written, in Arabic digits.

    `day` is None where only a month is said, `year` where only month and day are.
    """

    start: int
    end: int
    text: str
    year: int | None
    month: int
    day: int | None
    birth: bool
    visit: bool

    @property
    def full(self) -> datetime.date | None:
        """The day, where year, month and day are said."""
        return datetime.date(self.year, self.month, self.day) if self.year and self.day else None


def dates(text: str) -> Iterator[Date]:
    """All real calendar dates of a text (31 February is none), with what their neighbours say about them."""
    before, after, visit = _context()
    for match in _CHINESE.finditer(text) if "年" in text else ():
        spelt = int(match["year"].translate(_DIGIT)), _number(match["month"]), _number(match["day"])
        left = text[max(0, match.start() - 12) : match.start()]
        birth = bool(before.search(left) or after.match(text, match.end()))
        if _exists(spelt[0], spelt[1], str(spelt[2])):
            written = "{}年{}月{}".format(*spelt) + match["end"]
            yield Date(*match.span(), written, *spelt, birth, bool(visit.search(left)))
    for match in DATE.finditer(text):
        year = int(match["year"]) if match["year"] else 2000 + int(match["short"]) if match["short"] else None
        month = int(match["month"] or match["only_month"] or match["month8"] or match["s_month"] or match["md_month"])
        day = match["day"] or match["day8"] or match["s_day"] or match["md_day"]
        left = text[max(0, match.start() - 12) : match.start()]
        birth = bool(before.search(left) or after.match(text, match.end()))
        if _exists(year, month, day) and (birth or not match["month8"]):
            yield Date(
                *match.span(), match.group(), year, month, int(day) if day else None, birth, bool(visit.search(left))
            )


def _number(spelt: str) -> int:
    """一 to 三十一 as a number."""
    tens, ten, ones = spelt.rpartition("十")
    return (int(tens.translate(_DIGIT) or 1) * 10 if ten else 0) + int(ones.translate(_DIGIT) or 0)


def _exists(year: int | None, month: int, day: str | None) -> bool:
    try:
        datetime.date(year or 2024, month, int(day or 1))
    except ValueError:
        return False
    return True


def shifted(date: Date, days: int, year: int | None = None) -> str:
    """The date moved by `days`, written as it was written.

    Where no year is said, `year` (one said beside it) or an ordinary year is assumed; where no day is said, the middle
    of the month is moved.
    """
    assumed = date.year or year or _REFERENCE_YEAR
    try:
        moved = datetime.date(assumed, date.month, date.day or 15) + datetime.timedelta(days)
    except ValueError:  # 29 February without a year
        moved = datetime.date(assumed, date.month, 28) + datetime.timedelta(days)
    years = _NUMBER.findall(date.text)[0]
    values = [
        *([moved.year if len(years) == 4 else moved.year % 100] if date.year else []),
        moved.month,
        *([moved.day] if date.day else []),
    ]
    if re.fullmatch(r"\d{8}", date.text):
        return f"{moved:%Y%m%d}"
    remaining = iter(values)
    return _NUMBER.sub(lambda number: _as_wide(next(remaining), number.group()), date.text)


def _as_wide(value: int, written: str) -> str:
    """`value` with a leading zero where the original had one (and so for all two-digit values)."""
    return f"{value:02}" if written.startswith("0") else str(value)


def months_between(birth: datetime.date, visit: datetime.date) -> int:
    """Age in completed months."""
    return (visit.year - birth.year) * 12 + visit.month - birth.month - (visit.day < birth.day)


@functools.cache
def _context() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    content = rules("deidentify_numbers")
    return (
        re.compile(content["birth_before"]),
        re.compile(content["birth_after"].removeprefix("^")),
        re.compile(content["visit_before"]),
    )
