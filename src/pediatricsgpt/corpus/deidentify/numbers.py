"""Numbers and handles of one person: by their shape and check digit, or by the cue word before them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.deidentify.births import birth_dates
from pediatricsgpt.corpus.deidentify.windows import windows
from pediatricsgpt.corpus.rules import rules

Found = tuple[int, int, str]
_SPELT = str.maketrans("零〇洞幺一二两三四五六七拐八九勾", "0001122345677899")
_DIGIT = r"[\d零〇洞幺一二两三四五六七拐八九勾]"
_SPELT_RUN = re.compile(
    rf"{_DIGIT}(?:[ \-，,]?{_DIGIT}){{6,}}(?![个岁月天年次点周])"
    r"|[零〇洞幺一二两三四五六七拐八九勾]{5,6}(?![\d个岁月天年次点周])"
)
_ONLY_DASHES = re.compile(r"[\d \-，,]+一[\d \-，,]+")
_WIDE = re.compile(r"[\uff10-\uff19\uff20-\uff5e]")
_HALF = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "，！？；"}
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
# Without five digits or letters in reach of each other there is neither number nor handle.
_ANY = r"[0-9A-Za-z@\uff10-\uff19\uff21-\uff3a\uff41-\uff5a零〇洞幺一二两三四五六七拐八九勾]"
_RUN = re.compile(_ANY + rf"[ \-—–.·，,_/、]{{0,2}}{_ANY}" * 4)
# The middle of a date, and the words before the last digits of a number.
_DATED = re.compile(
    r"[.\-/、年月尾末后](?:(?<=\d[.\-/、])\d{1,2}[.\-/、]\d|(?<=[\d\s零〇一二三四五六七八九]年)的?\s?[\d一二三四五六七八九十初正冬腊农阴元春清端国中除]"
    r"|(?<=[\d\s一二三四五六七八九十正冬腊]月)\s?[\d一二三四五六七八九十初廿]"
    r"|(?<=[冬腊]月)|(?<=[尾末后])[号数四六])"
)
_TOKEN = re.compile(r"[A-Za-z0-9@_](?:[ \-—–.·，,/（()）:]{0,2}[A-Za-z0-9@_]){3,}|" + _DATED.pattern)
_BEFORE, _AFTER = 28, 32


class _Check:
    """Whether a text can hold a number, a handle or a date of birth at all; searched like a pattern."""

    @staticmethod
    def search(text: str) -> bool:
        return _RUN.search(text) is not None or _DATED.search(text) is not None


CHECK = _Check()


def searched() -> list[re.Pattern[str]]:
    """Of which one must match in a text that `half_width` changes or `CHECK` finds."""
    return [_WIDE, _RUN, _DATED]


def half_width(text: str) -> str:
    """The text with full-width ASCII as ASCII and long runs of spelt-out digits as digits; same length."""
    if _WIDE.search(text):
        text = text.translate(_HALF)
    if not _RUN.search(text):
        return text
    return _SPELT_RUN.sub(_digits, text)


def _digits(run: re.Match[str]) -> str:
    """A spelt-out run as digits; 100一120 is a range, whose 一 stands for a dash."""
    spelt = run.group()
    return spelt if _ONLY_DASHES.fullmatch(spelt) else spelt.translate(_SPELT)


def numbers(shadow: str) -> Iterator[Found]:
    """(start, end, kind) of every number and handle in a text that `half_width` gave."""
    for start, end in windows(_TOKEN, shadow, _BEFORE, _AFTER):
        yield from _numbers(shadow, start, end)
        yield from birth_dates(shadow, start, end)


def _numbers(shadow: str, at: int, to: int) -> Iterator[Found]:
    """Those between `at` and `to`."""
    tables = _tables()
    for kind, shape in tables.shapes.items():
        for match in shape.finditer(shadow, at, to):
            if kind != "bank_card" or luhn(match.group()):
                yield match.start(), match.end(), "phone" if kind == "landline" else kind
    yield from _cued(shadow, at, to, tables)
    for match in tables.handle.finditer(shadow, at, to):
        yield match.start("x"), match.end("x"), "wechat"
    for match in tables.handle_alone.finditer(shadow, at, to):
        yield *match.span(), "wechat"
    for match in tables.generic.finditer(shadow, at, to):
        if not tables.is_quantity(shadow, match.start(), match.end()):
            yield *match.span(), "record_number"
    for match in tables.tail_number.finditer(shadow, at, to):
        yield match.start("x"), match.end("x"), "record_number"
    yield from _near(shadow, at, to, tables)


def _cued(shadow: str, at: int, to: int, tables: _Tables) -> Iterator[Found]:
    """Numbers right behind a cue."""
    for match in tables.cued.finditer(shadow, at, to):
        kind = next(kind for kind in tables.kinds if match[kind])
        if kind == "record_number" and not tables.needs_link.search(match.group()):
            continue
        value = tables.value.match(shadow, match.end())
        if value and sum(map(str.isdigit, value.group())) >= tables.least and not tables.is_public(value.group()):
            yield value.start(), value.end(), kind


def _near(shadow: str, at: int, to: int, tables: _Tables) -> Iterator[Found]:
    """Short numbers and handles that have their cue in reach, before or behind them."""
    for kind, pattern in tables.near:
        for match in pattern.finditer(shadow, at, to):
            if not tables.is_unit(shadow, match.start("x"), match.end("x")):
                yield match.start("x"), match.end("x"), kind


def id_checksum(number: str) -> bool:
    """Whether an 18-digit resident number has its right check digit (GB 11643, ISO 7064 MOD 11-2)."""
    digits = re.sub(r"[ \-]", "", number).upper()
    if not re.fullmatch(r"\d{17}[\dX]", digits):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits, _ID_WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == digits[-1]


def luhn(number: str) -> bool:
    """Whether a card number has its right check digit (ISO/IEC 7812)."""
    digits = [int(character) for character in reversed(number) if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


class _Tables:
    """Compiled patterns of `rules/deidentify_numbers.yaml`."""

    def __init__(self) -> None:
        content = rules("deidentify_numbers")
        self.shapes = {kind: re.compile(shape) for kind, shape in content["shapes"].items()}
        self.kinds = tuple(content["cued"])
        cues = "|".join(f"(?P<{kind}>{cue})" for kind, cue in content["cued"].items())
        self.cued = re.compile(f"(?:{cues})(?P<link>{content['link']})")
        self.value = re.compile(content["value"])
        self.least: int = content["least_digits"]
        self.needs_link = re.compile(content["record_needs_link"])
        self.generic = re.compile(content["generic"])
        self.handle_alone = re.compile(content["handle_alone"])
        self.tail_number = re.compile(content["tail_number"])
        self.near = [(kind, pattern) for kind, entry in content["near"].items() for pattern in _near_patterns(**entry)]
        self._after = re.compile(content["quantity_after"])
        self._before = re.compile(content["quantity_before"])
        self._regular = re.compile(content["regular"])
        self._public = re.compile(content["not_personal"])
        self.handle = re.compile(f"(?:{content['handle_cue']}){content['link']}(?P<x>{content['handle']})")

    def is_public(self, number: str) -> bool:
        """Whether everybody may call it (120, 12320, 400-…), or its digits are a day."""
        return self._public.match(number) is not None

    def is_unit(self, shadow: str, start: int, end: int) -> bool:
        """Whether a number beside a cue is a quantity, or a number that everybody may call."""
        return bool(self._after.match(shadow, end) or self.is_public(shadow[start:end]))

    def is_quantity(self, shadow: str, start: int, end: int) -> bool:
        """Whether a long number without a cue is a quantity, a date, a registry's or a public number."""
        digits = next((place for place in range(start, end) if shadow[place].isdigit()), end)
        if self._regular.match(shadow[start:end]):
            return True
        return self.is_unit(shadow, start, end) or bool(self._before.search(shadow[max(0, start - 12) : digits]))


def _near_patterns(before: str, value: str, after: str | None = None) -> Iterator[re.Pattern[str]]:
    """The patterns of a kind: cue and value, and value and cue."""
    edge = r"(?:(?<![0-9A-Za-z])|(?<=[vVwW][xX]))(?<!\d\.)"
    yield re.compile(f"(?:{before}){edge}(?P<x>{value})")
    if after:
        yield re.compile(f"{edge}(?P<x>{value}){after}")


@functools.cache
def _tables() -> _Tables:
    return _Tables()
