"""Names of Tibetan, Mongolian, Uyghur, Kazakh and Yi persons in Chinese characters, names written 文 川, and names in
Latin letters (Zhang Zihan)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.deidentify.lexicon import lexicon
from pediatricsgpt.corpus.rules import rules

_HAN = "\u4e00-\u9fff"
_CAPITAL = re.compile("[A-Z][a-zA-Z]+[ ,-]+[A-Z]")
_SYLLABLE = (
    "(?:[zcs]h|[bpmfdtnlgkhjqxzcsryw])?(?:[iu]?ang|i?ong|[iu]?an|[eiu]ng?|uai|iao|[aeu]i|[ai]o|[io]u|[iuv]e|ia|u[ao]|"
    "er|[aoeiuv])"
)


def searched() -> list[re.Pattern[str]]:
    """The patterns of which one must match where `transcribed` finds something."""
    return [_spaced(), _dotted(), _joined(), _CAPITAL, _shaped()]


def transcribed(text: str) -> Iterator[tuple[int, int]]:
    """Where such names stand: parts with a dot between them (艾力江·吐尔逊), or two usual parts in a row (扎西顿珠);
    two or three characters with spaces between them, alone in their place, as forms space them out; and a surname and a
    given name in pinyin."""
    if " " in text or "\u3000" in text:
        for match in _spaced().finditer(text):
            yield match.span("x")
    if "·" in text or "•" in text:
        for match in _dotted().finditer(text):
            yield match.span()
    for pattern in (_joined(), _shaped()):
        for match in pattern.finditer(text):
            yield match.span()
    if _CAPITAL.search(text):
        for match in _pinyin().finditer(text):
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
def _shaped() -> re.Pattern[str]:
    return re.compile(rules("deidentify_learned")["transcribed_shapes"].strip())


@functools.cache
def _spaced() -> re.Pattern[str]:
    words = lexicon()
    surnames = "".join(sorted(words.surnames - words.prepositions - set("高热白水")))
    given = "".join(sorted(words.not_given))
    before = f"(?:^|(?<=[^{_HAN} 0-9])|(?<=名字|姓名|患儿|患者|病人))"
    one = rf"[ \u3000](?![{given}])[{_HAN}]"
    return re.compile(rf"{before}(?P<x>[{surnames}]{one}(?:{one})?)(?=[，,。；;\s0-9（(/]|$|的|和)")


@functools.cache
def _pinyin() -> re.Pattern[str]:
    """A surname in pinyin beside a given name of one or two syllables, both capitalised, in either order."""
    surnames = rules("deidentify_learned")["pinyin_surnames"].split()
    family = "|".join(sorted({form for name in surnames for form in (name, name.upper())}, key=lambda n: (-len(n), n)))
    given = f"(?=[A-Z])(?i:{_SYLLABLE}(?:[-']?{_SYLLABLE})?)"
    return re.compile(rf"(?<![A-Za-z])(?:(?:{family})[ ,]{{1,2}}{given}|{given} (?:{family}))(?![A-Za-z-])")
