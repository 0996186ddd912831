"""Numbers and handles of one person: by their shape and check digit, or by the cue word before them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.rules import rules

Found = tuple[int, int, str]
_SPELT = str.maketrans("零〇幺一二两三四五六七八九", "0011223456789")
_SPELT_RUN = re.compile(r"[\d零〇幺一二两三四五六七八九](?:[ \-，,]?[\d零〇幺一二两三四五六七八九]){6,}")
_WIDE = re.compile(r"[\uff10-\uff19\uff20-\uff5e]")
_HALF = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if chr(code) not in "，！？；"}
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
# Without five digits or letters in reach of each other there is neither number nor handle.
_ANY = r"[0-9A-Za-z@\uff10-\uff19\uff21-\uff3a\uff41-\uff5a零〇幺一二两三四五六七八九]"
CHECK = re.compile(_ANY + rf"[ \-—–.·，,_]{{0,2}}{_ANY}" * 4)


def half_width(text: str) -> str:
    """The text with full-width ASCII as ASCII and long runs of spelt-out digits as digits; same length."""
    if _WIDE.search(text):
        text = text.translate(_HALF)
    if not CHECK.search(text):
        return text
    return _SPELT_RUN.sub(lambda run: run.group().translate(_SPELT), text)


def numbers(shadow: str) -> Iterator[Found]:
    """(start, end, kind) of every number and handle in a text that `half_width` gave."""
    tables = _tables()
    for kind, shape in tables.shapes.items():
        for match in shape.finditer(shadow):
            if kind != "bank_card" or luhn(match.group()):
                yield match.start(), match.end(), "phone" if kind == "landline" else kind
    for match in tables.cued.finditer(shadow):
        kind = next(kind for kind in tables.kinds if match[kind])
        if kind == "record_number" and not tables.needs_link.search(match.group()):
            continue
        value = tables.value.match(shadow, match.end())
        if value and sum(map(str.isdigit, value.group())) >= tables.least:
            yield value.start(), value.end(), kind
    for match in tables.handle.finditer(shadow):
        yield match.start("x"), match.end("x"), "wechat"


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
        self.handle = re.compile(f"(?:{content['handle_cue']}){content['link']}(?P<x>{content['handle']})")


@functools.cache
def _tables() -> _Tables:
    return _Tables()
