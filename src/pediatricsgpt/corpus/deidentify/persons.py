"""Names by their place in the sentence: who stands beside a role or a relative, or does what only a person does.

The detectors of `names` and `nicknames` ask what a name looks like; this one asks where it stands, and so finds rare
surnames and given names, and children who are called after food, toys or animals (土豆昨晚发烧, 米粒妈妈).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pediatricsgpt.corpus.deidentify.lexicon import Lexicon, any_of, is_han, lexicon
from pediatricsgpt.corpus.deidentify.starts import EVERY
from pediatricsgpt.corpus.rules import rules

Found = tuple[int, int, str]
_H = r"\u4e00-\u9fff"
_END = rf"(?:[^{_H}]|$)"
_KIN = frozenset("妈爸爷奶爹娘婆")
_CALLED = re.compile("[叫喊唤名称号]")


def searched() -> list[re.Pattern[str]]:
    """The patterns whose bits `persons` takes."""
    tables = _tables()
    return [tables.titles, *(pattern for pattern, _ in (*tables.names, *tables.pets))]


def persons(text: str, may: int = EVERY) -> Iterator[Found]:
    """(start, end, kind) of names and nicknames; spans may overlap each other.

    Args:
        text: the text.
        may: bits of those of `searched` that may match in it behind a line break.
    """
    tables, words, padded = _tables(), lexicon(), f"\n{text}"
    called = _CALLED.search(text) is not None
    for bit, (pattern, needs_call) in enumerate(tables.names, 1):
        for match in pattern.finditer(padded) if may >> bit & 1 and (called or not needs_call) else ():
            # before anything but a Chinese character, and after 叫, hardly anything else can stand
            sure = needs_call or not is_han(padded[match.end("x") : match.end("x") + 1])
            if tables.is_name(match["x"], words, sure):
                yield match.start("x") - 1, match.end("x") - 1, "name"
    for title in tables.titles.finditer(padded, 2) if may & 1 else ():
        start = _titled(padded, title.start(), title.group(), tables, words)
        if start:
            yield start - 1, title.start() - 1, "name"
    for bit, (pattern, needs_call) in enumerate(tables.pets, 1 + len(tables.names)):
        for match in pattern.finditer(padded) if may >> bit & 1 and (called or not needs_call) else ():
            if tables.is_pet(padded, match, words):
                yield match.start("x") - 1, match.end("x") - 1, "nickname"


def _titled(text: str, end: int, title: str, tables: _Tables, words: Lexicon) -> int:
    """Where the name before a title begins, 0 if none stands there: 咨询过时芳院长, 小范护士, 祝教授也看过."""
    if words.openers.isdisjoint(text[max(0, end - 4) : end]):
        return 0
    lead = text[max(0, end - 10) : end]
    if lead[-1] in words.surnames:
        if lead[-2:-1] in ("小", "老") and tables.little.search(lead) and title not in tables.social:
            return end - 1
        if lead[-1] in tables.soft and not is_han(lead[-2:-1]) and tables.speaks.match(text, end + len(title)):
            return end - 1
    for pattern, sure in tables.before_title:
        match = pattern.search(lead)
        if match and (not sure or title not in tables.social) and tables.is_name(match["x"], words, sure):
            return end - len(match["x"])
    return 0


class _Tables:
    """Compiled patterns of `rules/deidentify_persons.yaml`."""

    def __init__(self) -> None:
        content = {key: _joined(value) for key, value in rules("deidentify_persons").items()}
        words = lexicon()
        surnames, compound = "".join(sorted(words.surnames)), "|".join(sorted(words.compound))
        # the look at the first character spares one at every compound surname
        name = rf"(?=[{''.join(sorted(words.openers))}])(?P<x>(?:{compound})[{_H}]{{1,2}}?|[{surnames}][{_H}]{{1,2}}?)"
        pet = rf"(?P<x>[{_H}]{{2,3}}?)"
        acts = f"(?=[{_first(content)}])(?:{content['when']}{{0,3}}{content['how']}{{0,3}}(?:{content['suffers']}))"
        self.never_in_pet = frozenset(content["never_in_pet"])
        never = rules("deidentify")["nicknames"]
        self.never_pet = frozenset(content["never_pet"].split()) | frozenset(never["possessive_never"].split())
        self.doubled_never = frozenset(never["never"].split()) - frozenset(never["with_cue"].split())
        self.never_pet |= frozenset(never["no_child"].split())
        people = rules("deidentify")["titles"]
        self.adverbs, self.rarely = frozenset(content["adverbs"]), frozenset(content["rarely_adverbs"])
        self.known = any_of([*never["words"].split(), *never["foods"].split()])
        self.titles = any_of(people["medical"] + people["social"])
        self.social = frozenset(people["social"])
        self.little = re.compile(rf"(?:[^{_H}\d]|{content['little_before']})[小老][^时]$")
        self.soft = frozenset(content["soft_surnames"])
        self.speaks = re.compile(content["speaks"])
        behind = name.replace("?)", ")")
        self.before_title = (
            (re.compile(rf"(?:{content['consulted']}){behind}$"), True),
            (re.compile(rf"(?:[^{_H}]|{content['doctor_before']}){behind}$"), False),
        )
        doctor = rf"(?:是|叫|为)?[\s：:]?{name}(?={_END})"
        # (expression, whether 叫 or the like is part of it); all begin with literals, so that the search is quick
        self.names = tuple(
            (re.compile(expression), needs_call)
            for expression, needs_call in (
                (rf"(?:{content['roles']})(?:是|叫|为)?[\s：:]?{name}(?={_END}|{content['role_after']})", False),
                (rf"[^{_H}]{name}(?={content['kin_after']}|{content['note_head']})", False),
                (rf"(?:{content['kin_before']}){name}(?={content['kin_after']})", False),
                (rf"[叫喊]{name}(?=来|去|拿|过来)", False),
                (rf"叫(?<!这叫){name}(?={content['so_called']})", True),
                (rf"下一[个位]{name}(?={_END}|家长|小朋友|到|来)", False),
                (rf"[给帮替为]{name}(?={content['served']})", False),
                (rf"(?:{content['attending']})(?:医师|医生|大夫|护士){doctor}", False),
                (rf"(?:{content['doctors']}){doctor}", False),
            )
        )
        self.pets = tuple(
            (re.compile(expression), needs_call)
            for expression, needs_call in (
                (rf"{content['pet_handled']}{pet}(?={content['pet_handling']})", False),
                (rf"{content['child_called']}{pet}(?={_END})", True),
                (rf"{content['all_call']}{pet}(?={_END}|吧)", True),
                (rf"{content['call_him']}{pet}(?={_END}|吧)", True),
                (rf"{content['labelled']}{pet}(?={_END}|今年|[，,]|\d)", True),
                (rf"[^{_H}]{pet}(?={content['pet_kin']}{content['pet_kin_after']}|{content['pet_has']}|{acts})", False),
                (rf"(?:{content['pet_before']}|{content['pet_when']}){pet}(?={acts})", False),
            )
        )
        # 尘螨过敏, 风寒咳嗽: a noun may belong to these, so that more must speak for a name
        self.joined = re.compile(content["joined"])

    def is_name(self, name: str, words: Lexicon, sure: bool) -> bool:
        """Whether a candidate in the place of a full name can be one; `sure` where little else can stand."""
        surname = 2 if name[:2] in words.compound and len(name) > 2 else 1
        given = name[surname:]
        titled = self.titles.fullmatch(given) is not None  # 王医生您好
        if titled or (words.never_given | _KIN) & set(given) or name in words.words or name[:2] in words.ordinary:
            return False
        usual = all(character in words.given for character in given)
        fits = given not in words.words and (usual or _is_rare(given, words))
        if name[0] in self.adverbs:
            return sure and fits and name[0] in self.rarely and name[:2] not in words.words
        if name[0] in words.prepositions:
            known = (sure or name[0] in self.soft) and len(given) == 2 and given in words.given_words
            return (fits and (sure or len(given) == 2) and name[:2] not in words.words) or (
                known and name[:2] not in words.words
            )
        if given in words.given_words or surname == 2 or (usual and (len(given) == 2 or name[0] not in words.function)):
            return True
        if words.not_given & set(given) or name[:2] in words.words:
            return False
        if name[0] in words.function:
            return fits
        return given not in words.words or given in words.nouns

    def is_pet(self, text: str, match: re.Match[str], words: Lexicon) -> bool:
        """Whether a candidate in the place of a child can be a nickname."""
        name = match["x"]
        if self.never_pet & {name, name[:2], name[1:]} or name in self.doubled_never:
            return False
        if len(name) == 3 and self.known.fullmatch(name, 1):
            return True  # 小年糕, 胡萝卜
        if self.never_in_pet & set(name) and name[0] != name[1]:
            return False
        looks = name[0] == name[1] or name[0] in "小阿" or name[-1] in "宝仔妞儿" or self.known.fullmatch(name)
        if not looks and self.joined.match(text, match.end()):
            return False
        if name in words.words:
            return name in words.nouns or bool(looks)
        if len(name) == 2:
            return True
        parted = name[:2] not in words.words and name[1:] not in words.words
        return name[0] in "小阿大" or parted or (name[-1] in "宝仔妞儿糖豆")


def _first(content: dict[str, str]) -> str:
    """The characters that an act can begin with: a cheap look that most places of a text fail."""
    expression = "|".join((content["when"], content["how"], content["suffers"]))
    return "".join(sorted(set(re.findall(r"[\u4e00-\u9fff\d]", expression)) | set("0123456789")))


def _is_rare(given: str, words: Lexicon) -> bool:
    return not any(character in words.common for character in given)


def _joined(value: str) -> str:
    return value if " " in value and "|" not in value else "".join(value.split())


@functools.cache
def _tables() -> _Tables:
    return _Tables()
