"""Which texts of a batch a pattern cannot match in, found for all of them at once.

Python's engine tries every alternative at every place. RE2, which comes with Arrow, goes once over a text whatever the
number of alternatives, but lacks lookaround and knows other classes. So a pattern is widened to one that RE2
understands and that matches wherever the pattern does; only where it matches is the pattern itself asked.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

FEW_TEXTS = 32
"""Below this number of texts compiling costs more than it saves"""

_BEYOND = r"\x{80}-\x{10ffff}"  # Python's classes hold letters, digits and spaces of all scripts, RE2's those of ASCII
_WIDE = {
    "d": f"[0-9{_BEYOND}]",
    "w": f"[0-9A-Za-z_{_BEYOND}]",
    "s": rf"[\s\x0b\x1c-\x1f{_BEYOND}]",
    "S": r"\S",
    "D": "[^0-9]",
    "W": "[^0-9A-Za-z_]",
}
_IN_CLASS = {"d": f"0-9{_BEYOND}", "w": f"0-9A-Za-z_{_BEYOND}", "s": rf"\s\x0b\x1c-\x1f{_BEYOND}"}
_IN_NEGATED = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\s"}
_TOKEN = re.compile(
    r"(?P<look>\(\?<?[=!])|(?P<open>\((?:\?:|\?P<\w+>|(?!\?)))|(?P<close>\))"
    r"|(?P<times>(?:\{\d*,?\d*\}|[*+?])\??)|(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])"
    r"|\\(?:u(?P<point>[0-9A-Fa-f]{4})|x(?P<byte>[0-9A-Fa-f]{2})|(?P<anchor>[bBAZ])|(?P<escape>.))"
    r"|(?P<edge>[\^$])|(?P<plain>[^()\[\]\\*+?])",
    re.DOTALL,
)


def impossible(texts: Sequence[str], patterns: Sequence[re.Pattern[str]]) -> list[int]:
    """For each text the patterns that match nowhere in it: bit `i` of its number is set for `patterns[i]`.

    A bit that is not set says nothing, and for few texts none is.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(texts) < FEW_TEXTS:
        return [0] * len(texts)
    try:
        column = pa.array(texts, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair
        return [0] * len(texts)
    absent = np.zeros(len(texts), np.int64)
    for bit, pattern in enumerate(patterns):
        found = pc.match_substring_regex(column, widened(pattern.pattern))
        absent |= (~found.to_numpy(zero_copy_only=False)).astype(np.int64) << bit
    return absent.tolist()


@functools.cache
def widened(expression: str) -> str:
    """An expression in RE2's syntax that matches wherever a Python one without flags does, and maybe elsewhere.

    Lookaround and anchors are left out, bounded repetition becomes unbounded (it would need very many states).

    Raises:
        ValueError: it holds what cannot be widened: flags, a reference to a group, `\\S` in brackets, another escape.
    """
    parts: list[str] = []
    place, inside = 0, 0  # `inside` counts the open groups of a lookaround that is left out
    dropped = False  # what the next repetition would repeat is left out
    while place < len(expression):
        token = _TOKEN.match(expression, place)
        if token is None:
            raise ValueError(f"cannot be widened at {place}: {expression[place : place + 20]}")
        place = token.end()
        kind, text = token.lastgroup, token.group()
        if inside or kind == "look":
            inside += (kind in ("look", "open")) - (kind == "close")
            dropped = True
        elif kind != "times":
            part = _widened(kind, token)
            dropped = not part
            parts.append(part)
        elif not dropped:
            parts.append(_unbounded(text))
    return "".join(parts)


def _widened(kind: str | None, token: re.Match[str]) -> str:
    text = token.group()
    if kind == "open":
        return "(?:"
    if kind in ("anchor", "edge"):
        return ""
    if kind in ("point", "byte"):
        return rf"\x{{{token['point'] or token['byte']}}}"
    if kind == "class":
        return _class(text)
    if kind != "escape":
        return text
    if token["escape"] in _WIDE:
        return _WIDE[token["escape"]]
    if token["escape"].isalnum() and token["escape"] not in "ntrfv":
        raise ValueError(f"cannot be widened: {text}")
    return text


def _class(text: str) -> str:
    """A class in brackets: wider for a positive one, and for a negated one no less than what Python leaves out."""
    classes = _IN_NEGATED if text.startswith("[^") else _IN_CLASS

    def changed(match: re.Match[str]) -> str:
        if match["point"]:
            return rf"\x{{{match['point']}}}"
        if match["escape"] in classes:
            return classes[match["escape"]]
        if match["escape"] and match["escape"].isalnum() and match["escape"] not in "ntrfv":
            raise ValueError(f"cannot be widened: {match.group()} in {text}")
        return r"\[" if match.group() == "[" else match.group()

    return text[0] + re.sub(r"\\(?:u(?P<point>[0-9A-Fa-f]{4})|(?P<escape>.))|\[", changed, text[1:])


def _unbounded(times: str) -> str:
    if times[0] != "{":
        return times[0]
    return "*" if times.startswith(("{0", "{,")) else "+"
