"""Names of Tibetan, Mongolian, Uyghur, Kazakh and Yi persons in Chinese characters, and names written 文 川."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.deidentify.lexicon import lexicon
from pediatricsgpt.corpus.rules import rules

_HAN = "\u4e00-\u9fff"


def transcribed(text: str) -> Iterator[tuple[int, int]]:
    """Where such names stand: parts with a dot between them (艾力江·吐尔逊), or two usual parts in a row (扎西顿珠);
    and two characters with a space between them, alone in their place, as forms space them out."""
    if " " in text or "\u3000" in text:
        for match in _spaced().finditer(text):
            yield match.span("x")
    if "·" in text or "•" in text:
        for match in _dotted().finditer(text):
            yield match.span()
    for match in _joined().finditer(text):
        yield match.span()


@functools.cache
def _dotted() -> re.Pattern[str]:
    signs = "".join(sorted(set(rules("deidentify_learned")["transcribing"]) - {" "}))
    return re.compile(f"[{signs}]{{2,6}}[·•][{signs}]{{2,7}}")


@functools.cache
def _joined() -> re.Pattern[str]:
    content = rules("deidentify_learned")
    parts = sorted(content["transcribed"].split(), key=lambda part: (-len(part), part))
    whole = sorted(content["transcribed_whole"].split(), key=lambda part: (-len(part), part))
    part = "|".join(parts)
    first, second = ("".join(sorted({name[i] for name in [*parts, *whole]})) for i in (0, 1))
    return re.compile(f"(?=[{first}][{second}])(?:(?:{part}){{2,4}}|(?:{part})?(?:{'|'.join(whole)}))")


@functools.cache
def _spaced() -> re.Pattern[str]:
    words = lexicon()
    surnames = "".join(sorted(words.surnames - words.prepositions - set("高热白水")))
    given = "".join(sorted(words.not_given))
    before = f"(?:^|(?<=[^{_HAN} 0-9])|(?<=名字|姓名|患儿|患者|病人))"
    return re.compile(rf"{before}(?P<x>[{surnames}][ \u3000](?![{given}])[{_HAN}])(?=[，,。；;\s0-9（(/]|$|的|和)")
