"""Numbers as Chinese medical text writes them: digits, full-width digits, Chinese numerals, fractions, two in a row."""

from __future__ import annotations

from decimal import Decimal

NUMERALS = "零〇一二两俩三四五六七八九十百千万"
# One number. Ages have their own reading of it; this one knows 两百, 一万二, 十五六 and 半.
NUMBER = rf"(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+(?:\.\d+)?|[{NUMERALS}]+|半)"

_DIGITS = {character: value for value, character in enumerate("一二三四五六七八九", 1)} | {"两": 2, "俩": 2}
_POWERS = {"十": 10, "百": 100, "千": 1000}
_WIDE = str.maketrans("０１２３４５６７８９％．／：（）＋＜＞＝", "0123456789%./:()+<>=")


def half_width(text: str) -> str:
    """The text with full-width digits and signs as ASCII, character by character, so that places stay the same."""
    return text.translate(_WIDE) if any("％" <= character <= "＞" for character in text) else text


def number(text: str) -> tuple[Decimal, Decimal | None] | None:
    """The value of one written number, and the upper one where two digits stand side by side (两三 -> 2, 3).

    None where the characters do not make a number (万万, 十百).
    """
    if text[0].isdigit():
        return Decimal(text.replace(",", "")), None
    if text == "半":
        return Decimal("0.5"), None
    if all(character in "零〇" or character in _DIGITS for character in text):
        return _side_by_side(text)
    return _with_powers(text)


def _side_by_side(text: str) -> tuple[Decimal, Decimal | None] | None:
    """三四 is three to four, 二〇二三 a row of digits."""
    values = [_DIGITS.get(character, 0) for character in text]
    if len(values) == 2 and values[1] == values[0] + 1 and values[0]:
        return Decimal(values[0]), Decimal(values[1])
    return Decimal("".join(map(str, values))), None


def _with_powers(text: str) -> tuple[Decimal, Decimal | None] | None:
    """十五, 两百, 一千零五十, 三万; 十五六 is a range, and so is 二三十."""
    head, mark, tail = text.partition("万")
    if mark:
        upper, lower = number(head or "一"), number(tail.lstrip("零〇")) if tail.strip("零〇") else (Decimal(0), None)
        if upper is None or lower is None:
            return None
        scale = 1000 if len(tail) == 1 and tail in _DIGITS else 1  # 一万二 is twelve thousand
        return upper[0] * 10_000 + lower[0] * scale, None
    total, step, pending, limit = 0, 0, [0], 10_000
    for character in text:
        if character in _POWERS:
            if _POWERS[character] >= limit:
                return None
            limit = _POWERS[character]
            total += (pending[0] or 1) * limit
            step = (pending[1] - pending[0]) * limit if len(pending) > 1 else 0
            pending = [0]
        elif character in _DIGITS:
            pending = [_DIGITS[character]] if not pending[0] else [pending[0], _DIGITS[character]]
    step = pending[1] - pending[0] if len(pending) > 1 else step
    low = Decimal(total + pending[0])
    return low, (low + step if step > 0 else None)
