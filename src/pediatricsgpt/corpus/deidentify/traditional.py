"""Traditional characters as simplified ones, one for one, so that every finder reads both and places stay the same."""

from __future__ import annotations

import functools
import re

_HAN = range(0x3400, 0xA000)
# OpenCC keeps what simplified Chinese has too, though in these sentences it is the traditional form
_MORE = {"妳": "你", "麽": "么", "瞭": "了", "彷": "仿", "甦": "苏", "鍾": "钟", "祂": "他"}


@functools.cache
def pairs() -> dict[str, str]:
    """Each traditional character with its simplified one, both of the basic plane (OpenCC's table, Apache-2.0)."""
    from opencc import OpenCC

    every = [chr(code) for code in _HAN]
    simple = OpenCC("t2s").convert("\n".join(every)).split("\n")
    found = {
        old: new for old, new in zip(every, simple, strict=True) if new != old and len(new) == 1 and new < "\uffff"
    }
    return found | _MORE


def simplified(text: str) -> str:
    """The text in simplified characters, of the same length."""
    return text.translate(_table()) if _any().search(text) else text


@functools.cache
def _any() -> re.Pattern[str]:
    return re.compile(f"[{''.join(pairs())}]")


@functools.cache
def _table() -> dict[int, str]:
    return str.maketrans(pairs())
