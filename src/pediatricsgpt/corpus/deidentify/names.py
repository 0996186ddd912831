"""Names of patients, parents and doctors: after a cue word, before a title, and bare where the grammar allows it.

A surname alone proves little in Chinese (高热, 白带, 安静 begin with one), so every candidate is weighed: the
characters of the given name, what stands on both sides, and whether the dictionary knows another word there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

from pediatricsgpt.corpus.deidentify.lexicon import Lexicon, any_of, cue_pattern, is_han, lexicon
from pediatricsgpt.corpus.deidentify.starts import EVERY
from pediatricsgpt.corpus.rules import rules

STRONG, COPULA, WEAK = 3, 2, 1
Span = tuple[int, int]
_LINK = r"[：:\s（(，,【\[]{0,2}"
_NEAR = 12
_GREETING = re.compile(r"^(?:你好|您好|好|在吗|在么|说|讲|给|开|看|让|建议|[，,！!。？?\s]|$)")
_DOTTED = re.compile(r"[\u4e00-\u9fff]{2,6}[·•][\u4e00-\u9fff]{2,7}?(?=[^\u4e00-\u9fff]|$|今年|的|男|女|因|于)")
_DAYS = frozenset({"昨天", "今天", "前天", "明天", "上次", "这次", "刚才", "以前", "之前"})
# without a cue, what ends so is a river or an island
_WATERS = frozenset("河湖岛")
_NICKED = frozenset("姓小老烦谢")
_ADDRESSED = frozenset("听找问请谢烦姓小老让叫")


def searched() -> list[re.Pattern[str]]:
    """The patterns whose bits `names` takes."""
    tables = _tables()
    return [
        *(tables.strong, tables.weak, tables.titles, tables.bare),
        *(tables.noted, tables.bare_compound, tables.surname_only),
    ]


def names(text: str, may: int = EVERY) -> Iterator[Span]:
    """Where names stand; spans may overlap each other.

    Args:
        text: the text.
        may: bits of those of `searched` that may match in it.
    """
    tables = _tables()
    for match in tables.strong.finditer(text) if may & 1 else ():
        yield from _cued(text, match.end(), STRONG)
    for match in tables.weak.finditer(text) if may & 2 else ():
        stated = len(match.group()) > 2 and match.group()[-1] in "是：:（("
        yield from _cued(text, match.end(), COPULA if stated else WEAK)
    for match in tables.titles.finditer(text) if may & 4 else ():
        yield from _titled(text, match)
    for match in tables.bare.finditer(text) if may & 8 else ():
        yield from _bare(text, match.start())
    for match in tables.noted.finditer(text) if may & 16 else ():
        if _is_noted(text, match, lexicon()):
            yield match.span()
    for match in tables.bare_compound.finditer(text) if may & 32 else ():
        yield from _bare(text, match.start())
    for match in tables.surname_only.finditer(text) if may & 64 else ():
        yield match.start(1), match.end(1)


def isolated(text: str, beside: Iterable[Span]) -> Iterator[Span]:
    """Names that stand alone between punctuation marks, near another finding: 12床，王静，住院号0012345.

    Args:
        text: the whole text.
        beside: where numbers and places were found in it; a name is taken within `_NEAR` characters of one.
    """
    words, near = lexicon(), list(beside)
    for match in _tables().alone.finditer(text):
        start, end = match.span("x")
        close = any(start - _NEAR <= last and first <= end + _NEAR for first, last in near)
        own = any(first < end and start < last for first, last in near)
        barred = words.never_given & set(match["x"][1:]) or _is_word(text, start, end, words)
        barred = barred or match["x"][-1] in _tables().never_last
        if close and not own and not barred:
            yield start, end


class _Tables:
    """Compiled patterns of the word lists."""

    def __init__(self) -> None:
        content, words = rules("deidentify"), lexicon()
        single = "".join(sorted(words.surnames))
        compound = "|".join(sorted(words.compound))
        given = "".join(sorted(words.given))
        first = "".join(sorted(words.openers))
        self.strong = re.compile(cue_pattern(content["strong_cues"]) + _LINK)
        self.weak = re.compile(cue_pattern(content["weak_cues"]) + rf"[：:\s（(]?(?=[{first}])")
        titles = [title for group in content["titles"].values() for title in group]
        self.titles = any_of(titles)
        self.full_only = frozenset(content["titles"]["after_full_names"])
        bare = "".join(sorted(words.surnames - words.prepositions))
        after = rf"(?=[^\u4e00-\u9fff]|$|{words.follow.pattern})"
        self.bare = re.compile(f"[{bare}](?=[{given}]{{2}}{after})")
        # 王静，女，30岁: the head of a note needs no further proof
        told = (content["note_after"], content["note_subject"], content["note_head"])
        self.never_last = frozenset(rules("deidentify_learned")["never_last"])
        self.alone = re.compile(
            rf"(?:^|(?<=[^\u4e00-\u9fff]))(?P<x>(?:{compound}|[{single}])[\u4e00-\u9fff]{{1,2}})(?![\u4e00-\u9fff])"
        )
        self.told = re.compile("|".join(f"(?:{expression})" for expression in told))
        subject = f"[\u4e00-\u9fff]{{2}}(?={content['note_subject']})"
        usual = f"[{given}]{{1,2}}(?={content['note_after']})"
        self.noted = re.compile(f"[{bare}](?:{usual}|[\u4e00-\u9fff]{{1,2}}(?={content['note_head']})|{subject})")
        self.bare_compound = re.compile(compound)
        self.surname_only = re.compile(f"姓({compound}|[{single}])(?=的|[，。,.\\s]|$|医|大夫|主任|老师)")


@functools.cache
def _tables() -> _Tables:
    return _Tables()


def _surname_length(text: str, at: int, words: Lexicon) -> int:
    if text[at : at + 2] in words.compound:
        return 2
    return int(text[at : at + 1] in words.surnames)


def _cued(text: str, at: int, level: int) -> Iterator[Span]:
    dotted = _DOTTED.match(text, at)
    if dotted:
        yield dotted.span()
        return
    end = _name_end(text, at, level)
    if end:
        yield at, end


def _name_end(text: str, at: int, level: int) -> int:
    """Where the name that begins at `at` ends; 0 where none does."""
    words = lexicon()
    surname = _surname_length(text, at, words)
    if not surname:
        return _unusual_end(text, at, words) if level == STRONG else 0
    start = at + surname
    for length in (2, 1):
        if _accepts(text, at, start, length, level):
            return start + length
    if level == STRONG or surname == 2:
        return _open_end(text, start, words)
    return start + 2 if _runs_on(text, at, words) else 0


def _runs_on(text: str, at: int, words: Lexicon) -> bool:
    """Whether a usual full name of three characters begins at `at`, whatever follows it."""
    given, known = text[at + 1 : at + 3], words.words
    if len(given) < 2 or text[at] in words.prepositions or not all(map(words.given.__contains__, given)):
        return False
    joins = (text[at : at + 2], text[at : at + 3], text[at + 2 : at + 4], text[at + 2 : at + 5])
    return not any(join in known for join in joins) and (given not in known or text[at] not in words.function)


def _accepts(text: str, at: int, start: int, length: int, level: int) -> bool:
    """Whether the surname at `at` and the `length` characters from `start` are a whole name."""
    words, end = lexicon(), start + length
    given = text[start:end]
    if len(given) < length or not all(map(is_han, given)) or not _closes(text, end, words):
        return False
    ends = not is_han(text[end : end + 1])
    if start - at == 2 or level == STRONG:
        return not (words.never_given if ends else words.not_given) & set(given)
    if level == COPULA and ends:
        usual = all(character in words.given for character in given)
        return usual or (not words.never_given & set(given) and not _is_word(text, at, end, words))
    usual = all(character in words.given for character in given)
    if text[at] not in words.prepositions and _tables().told.match(text, end) and not _is_word(text, at, end, words):
        return usual or not words.never_given & set(given)
    return (usual or _is_rare(text, start, length, words)) and _is_sure(text, at, end, words)


def _open_end(text: str, start: int, words: Lexicon) -> int:
    """The end of a name that runs on into the sentence: as many usual characters as there are, two at the most."""
    first, second = text[start : start + 1], text[start + 1 : start + 2]
    if not first or first not in words.given:
        return 0
    runs_on = second in words.given and second and text[start + 1 : start + 3] not in words.words
    return start + (2 if runs_on else 1)


def _unusual_end(text: str, at: int, words: Lexicon) -> int:
    """After a strong cue, two or three Han characters up to a boundary are a name even with an unknown surname."""
    for length in (3, 2):
        name = text[at : at + length]
        after = text[at + length : at + length + 1]
        if len(name) == length and all(map(is_han, name)) and not is_han(after):
            usual = all(character not in words.not_given for character in name)
            return at + length if usual and name not in words.words and name[:2] not in words.words else 0
    return 0


def _is_rare(text: str, start: int, length: int, words: Lexicon, titled: bool = False) -> bool:
    """Two characters that are no usual given name, but part of no other word either."""
    given = text[start : start + length]
    ends = titled or not is_han(text[start + length : start + length + 1])
    barred = words.never_given if ends and text[start - 1] not in words.function else words.not_given
    if length != 2 or any(character in barred or not is_han(character) for character in given):
        return False
    return given not in words.words and text[start - 1 : start + 1] not in words.words


def _closes(text: str, at: int, words: Lexicon) -> bool:
    """Whether a name can end at `at`: the text ends, no Han character follows, or one that follows names."""
    return not is_han(text[at : at + 1]) or words.follow.match(text, at) is not None


def _is_sure(text: str, at: int, end: int, words: Lexicon) -> bool:
    """Whether a candidate with a surname of one character can be nothing else."""
    if end - at == 2 and text[at] in words.function:
        return False
    given = text[at + 1 : end]
    if text[at] in words.prepositions and (given in words.words or not all(map(words.given.__contains__, given))):
        return False
    return not _is_word(text, at, end, words)


def _is_word(text: str, start: int, end: int, words: Lexicon) -> bool:
    """Whether the dictionary knows the candidate, or its beginning, or its end with the next character, as a word."""
    if text[start:end] in words.words:
        return True
    if end - start == 2:
        return False
    beginning = text[start : start + 2]
    return beginning in words.ordinary or (beginning in words.words and text[start] in words.function)


def _bare(text: str, at: int) -> Iterator[Span]:
    """A full name without a cue: a left and a right neighbour that names have, and no other word in sight."""
    words = lexicon()
    before = text[at - 1 : at] if at else ""
    if is_han(before) and (before not in words.before or before + text[at] in words.words):
        return
    surname = _surname_length(text, at, words)
    start = at + surname
    for length in (2, 1) if surname == 2 else (2,):
        given = text[start : start + length]
        fits = len(given) == length and all(character in words.given for character in given)
        fits = fits and given[-1] not in _WATERS
        if fits and _closes(text, start + length, words) and (surname == 2 or _stands_bare(text, at, words)):
            yield at, start + length
            return


def _is_noted(text: str, match: re.Match[str], words: Lexicon) -> bool:
    """Whether the subject of a note is a name: usual characters, or a clause's first three that are no words."""
    name, start = match.group(), match.start()
    if name in words.words or (len(name) == 2 and name[0] in words.function):
        return False
    if all(character in words.given for character in name[1:]):
        return _opens(text, start, words)
    unknown = (
        len(name) == 3 and name[0] not in words.function and name[:2] not in words.words and name[1:] not in words.words
    )
    opens = start == 0 or not is_han(text[start - 1])
    return opens and unknown and not words.never_given & set(name)


def _stands_bare(text: str, at: int, words: Lexicon) -> bool:
    whole = text[at : at + 3]
    if whole in words.words or whole[:2] in words.words or whole[0] in words.prepositions:
        return False
    joined = text[at + 2 : at + 4] in words.words and not words.follow.match(text, at + 3)
    return not joined and (whole[1:] not in words.words or whole[0] not in words.function)


def _titled(text: str, title: re.Match[str]) -> Iterator[Span]:
    """The name before a title: a full one, a compound surname, or one surname in a context that allows it."""
    words, end = lexicon(), title.start()
    if words.openers.isdisjoint(text[max(0, end - 4) : end]):
        return
    for length in (4, 3, 2):
        start = end - length
        if start >= 0 and _is_full_name(text, start, end, words):
            yield start, end
            return
    if text[max(end - 2, 0) : end] in words.compound:
        yield end - 2, end
    elif end and text[end - 1] in words.surnames and _is_lone_surname(text, end - 1, title, words):
        yield end - 1, end


def _is_full_name(text: str, start: int, end: int, words: Lexicon) -> bool:
    surname = _surname_length(text, start, words)
    given = text[start + surname : end]
    if not surname or not 1 <= len(given) <= 2 or {text[start:end], text[start : start + 2], given} & words.ordinary:
        return False
    usual = all(character in words.given for character in given)
    if surname == 2:
        return usual or not words.never_given & set(given)
    opens = _opens(text, start, words)
    if len(given) == 1:
        if text[start] in words.prepositions and given in words.surnames:
            return False  # 和高医生: the first character is the conjunction
        return usual and opens and text[start:end] not in words.words
    if text[start] in words.prepositions:
        return usual and opens and given not in words.words and not _is_word(text, start, end, words)
    if text[max(0, start - 1) : start + 1] in words.words and not opens:
        return False  # 如何正常
    return usual or (opens and _is_rare(text, start + surname, 2, words, titled=True))


def _opens(text: str, start: int, words: Lexicon) -> bool:
    before = text[start - 1 : start] if start else ""
    return not is_han(before) or (before in words.before_title and before + text[start] not in words.words)


def _is_lone_surname(text: str, at: int, title: re.Match[str], words: Lexicon) -> bool:
    before = text[at - 1 : at] if at else ""
    days = text[max(0, at - 2) : at] in _DAYS
    if (before != "是" and not days and before + text[at] in words.words) or title.group() in _tables().full_only:
        return False
    if is_han(before) and before not in words.before_title and before not in _ADDRESSED:
        return False
    if text[at] in words.hard_prepositions:
        return before in _NICKED  # 那医生, 从医生
    if text[at] in words.prepositions:
        stated = before == "是"
        return (
            before in _ADDRESSED or stated or (not is_han(before) and _GREETING.match(text[title.end() :]) is not None)
        )
    return True
