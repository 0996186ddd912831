"""Pet names of children: 糖糖, 壮壮, 涵宝, 小宇, and whatever follows 小名 or 乳名."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.deidentify.lexicon import any_of, cue_pattern, is_han, lexicon
from pediatricsgpt.corpus.deidentify.starts import EVERY
from pediatricsgpt.corpus.rules import rules

Span = tuple[int, int]
_DOUBLED = re.compile(r"([\u4e00-\u9fff])\1(?!\1)")
_LINK = r"[：:\s“\"（(]{0,2}"
_CALLING = re.compile("[叫喊唤名称号咱俺]|我[家们]")
_CALLED = frozenset({"叫他", "叫她", "喊他", "喊她", "唤他", "唤她"})
_POSSESSIVE = re.compile(r"(?:我家|我们家|咱家|俺家|我们|咱们)(?:的)?$")
_FREE = r"[\u4e00-\u9fff]{2,3}"


def may_repeat(name: str) -> bool:
    """Whether a nickname that was found once is sure to be the same elsewhere: 多多 is not, 壮壮 is."""
    return name not in _tables().ambiguous and name not in lexicon().words


class _Tables:
    """Compiled patterns and sets of the word lists."""

    def __init__(self) -> None:
        content, words = rules("deidentify"), lexicon()
        nicknames = content["nicknames"]
        with_grammar = set(nicknames["with_grammar"].split())
        never = set(nicknames["never"].split())
        self.never_cued = never - set(nicknames["with_cue"].split()) - with_grammar
        self.never = never - with_grammar
        self.doubled = frozenset("".join(nicknames["doubled"].split()))
        self.with_grammar = with_grammar
        self.ambiguous = never | with_grammar
        self.named = re.compile(f"{cue_pattern([nicknames['named']])}{_LINK}(?={_FREE})")
        self.cued = re.compile(cue_pattern([nicknames["cues"]]) + _LINK)
        self.words = any_of([*nicknames["words"].split(), *nicknames["foods"].split()])
        self.child_only = re.compile(nicknames["child_only"])
        self.child_after = re.compile(nicknames["child_after"])
        self.no_child = frozenset(nicknames["no_child"].split())
        self.perhaps = frozenset(nicknames["with_cue"].split()) - self.no_child
        self.cared_for = re.compile(nicknames["cared_for"])
        self.possessive_never = frozenset(nicknames["possessive_never"].split())
        self.particles = frozenset(nicknames["particles"])
        self.handed = frozenset(nicknames["handed"])
        self.small_never = frozenset(nicknames["small_never"].split()) - set(nicknames["small_with_grammar"].split())
        self.person_after = any_of(nicknames["person_after"].split())
        self.person_before = frozenset("".join(nicknames["person_before"].split()))
        given = "".join(sorted(words.given | self.doubled))
        self.small = re.compile(f"[小阿][{given}](?=.|$)")
        self.baby = re.compile(f"宝(?<=[{given}]宝)(?!宝|贝|石|藏|珠)")
        self.baby_never = frozenset("".join(nicknames["baby_never"].split()))


@functools.cache
def _tables() -> _Tables:
    return _Tables()


def searched() -> list[re.Pattern[str]]:
    """The patterns whose bits `nicknames` takes."""
    tables = _tables()
    return [tables.cued, tables.named, _DOUBLED, tables.cared_for, tables.small, tables.baby]


def nicknames(text: str, may: int = EVERY) -> Iterator[Span]:
    """Where nicknames stand; spans may overlap each other.

    Args:
        text: the text.
        may: bits of those of `searched` that may match in it.
    """
    tables = _tables()
    if may & 3 and _CALLING.search(text):
        for match in tables.cued.finditer(text):
            yield from _cued(text, match.end(), tables)
        for match in tables.named.finditer(text):
            yield from _named(text, match.end(), tables)
    for match in _DOUBLED.finditer(text) if may & 4 else ():
        if _is_doubled_name(text, match, tables):
            yield match.span()
    for match in tables.cared_for.finditer(text) if may & 8 else ():
        if match["x"] not in tables.never and not _is_kin(match["x"], tables):
            yield match.span("x")
    for match in tables.small.finditer(text) if may & 16 else ():
        never = match.group() in tables.small_never or match.group() in tables.no_child
        if (_is_child if never else _is_person)(text, match.start(), match.end(), tables):
            yield match.span()
    for match in tables.baby.finditer(text) if may & 32 else ():
        start = match.start() - 1
        if text[start] not in tables.baby_never and _is_person(text, start, match.end(), tables):
            yield start, match.end()


def _cued(text: str, at: int, tables: _Tables) -> Iterator[Span]:
    doubled = _DOUBLED.match(text, at)
    if doubled and doubled.group() not in tables.never_cued and _may_end(text, doubled.end()):
        yield doubled.span()
        return
    word, possessive = tables.words.match(text, at), _POSSESSIVE.search(text[max(0, at - 5) : at])
    if word and (tables.child_only.match(text, word.end()) or (not possessive and _may_end(text, word.end()))):
        yield word.span()
    elif possessive:
        yield from _of_ours(text, at, tables)
    elif text[at - 2 : at] in _CALLED or text[at - 1 : at] == "叫":
        yield from _called(text, at)


def _called(text: str, at: int) -> Iterator[Span]:
    """都喊他铁锤: two or three characters up to the clause's end that are no ordinary word."""
    for length in (2, 3):
        name = text[at : at + length]
        if len(name) == length and all(map(is_han, name)) and not is_han(text[at + length : at + length + 1]):
            if name not in lexicon().words and name[:2] not in lexicon().words and not lexicon().not_given & set(name):
                yield at, at + length
            return


def _of_ours(text: str, at: int, tables: _Tables) -> Iterator[Span]:
    """我家皮蛋今天没发烧: whoever in the house does what only a child does, and is called by no ordinary word."""
    for length in (2, 3):
        name = text[at : at + length]
        ends = not is_han(text[at + length : at + length + 1])
        known = len(name) == length and all(map(is_han, name)) and not _is_ordinary(name, tables)
        stated = len(name) == length and not _is_kin(name, tables) and tables.child_only.match(text, at + length)
        if stated or (known and (ends or _acts(text, at + length, tables))):
            yield at, at + length
            return


def _is_kin(name: str, tables: _Tables) -> bool:
    """Whether somebody of the family is meant by what he or she is, not by a name."""
    parts = {name, name[:2], name[-2:]}
    words = lexicon()
    joined = len(name) == 3 and name[1:] in words.words and name not in words.words
    known = parts & tables.possessive_never or words.not_given & set(name)
    return bool(known) or joined or not all(map(is_han, name))


def _is_ordinary(name: str, tables: _Tables) -> bool:
    """Whether a name, or a part of it, is a word of the dictionary or belongs to what is never called a name."""
    words = lexicon()
    parts = {name, name[:2], name[1:]}
    return bool(parts & words.words or parts & tables.possessive_never or words.not_given & set(name))


def _acts(text: str, at: int, tables: _Tables) -> bool:
    return tables.child_after.match(text, at) is not None


def _named(text: str, at: int, tables: _Tables) -> Iterator[Span]:
    """After 小名 any two or three characters up to a boundary are one."""
    for length in (2, 3):
        name = text[at : at + length]
        if len(name) < length or not all(map(is_han, name)) or not _may_end(text, at + length):
            continue
        if name[0] not in tables.particles and name[-1] not in tables.particles and name not in tables.possessive_never:
            yield at, at + length
            return


def _may_end(text: str, at: int) -> bool:
    return not is_han(text[at : at + 1]) or lexicon().follow.match(text, at) is not None


def _is_doubled_name(text: str, match: re.Match[str], tables: _Tables) -> bool:
    name = match.group()
    if name in tables.never:
        return name in tables.perhaps and _is_child(text, *match.span(), tables)
    return _is_person(text, match.start(), match.end(), tables)


def _is_child(text: str, start: int, end: int, tables: _Tables) -> bool:
    """Whether a word that is a thing as often as a name does at a clause's start what only a child does."""
    before, name = text[start - 1 : start] if start else "", text[start:end]
    if is_han(before) or name in tables.no_child or _is_kin(name, tables):
        return False
    return tables.child_only.match(text, end) is not None


def _is_person(text: str, start: int, end: int, tables: _Tables) -> bool:
    """Whether the grammar around a candidate says that somebody is meant.

    Either side may say so, as long as the other does not speak against it.
    """
    before = text[start - 1 : start] if start else ""
    held = text[max(0, start - 2) : start] == "抱着"
    left_open = held or not is_han(before) or before in lexicon().before or before in tables.person_before
    if not left_open:
        return False
    if tables.person_after.match(text, end) or _acts(text, end, tables):
        return True
    if text[start] == text[start + 1] and (held or before in tables.handed):
        return True
    return before in tables.person_before and _may_end(text, end)
