"""Cleaning: what is not text goes, what was said stays. No number, unit, drug or negation changes.

Dialogues leave in the shape that training needs: turns alternate, the first is the patient's and the last the doctor's.
Text inside code fences is left as it is. Most texts need nothing done: one expression finds those that do.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.corpus.settings import CleanSettings
from pediatricsgpt.corpus.wording import (
    is_classical,
    remove,
    repair,
    repaired,
    simplify,
    traditional,
    without_answer_marks,
    without_furniture,
    without_greetings,
    without_tags,
)
from pediatricsgpt.records import Message, Record, Reject, Step

if TYPE_CHECKING:
    import pyarrow as pa

STEP = Step("clean", 2)
MIN_HAN_SHARE = 0.1

_Changed = tuple[Mapping[str, str], Mapping[str, str]]
"""Texts that cleaning changes and what they become: as anyone says them, as a doctor does"""

_ENTITY = re.compile(r"&(?:#\d{2,6}|#x[0-9a-fA-F]{2,6}|[A-Za-z]{2,8}\d{0,2});")
_FENCE = re.compile(r"(```.*?(?:```|$))", re.DOTALL)
_REPEATED = re.compile(r"([，。！？、；：!?～~])(?=\1)")
_DOTS = re.compile(r"\.{3,}|…{3,}")
_BLANK_LINES = re.compile(r"\n\s*\n\s*")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_DEFAULT = CleanSettings()

# What `_clean_prose` reacts to, a little wider than it does (any bracket with 图片, any character of a tag).
# Apart, each of these is searched at one table look-up a character; as one expression they take ten times as long.
_LETTERS = (
    r"<&\\\t\r\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xa0\u2000-\u200f\u2028-\u202e\u2060\u3000\ufeff\ufffd"
    r"\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff05\uff0e\ue000-\uf8ff\U000f0000-\U0010ffff"
)
# Rare spaces, Hangul letters that join, musical signs and compatibility forms beyond the basic plane, all marks.
_RARE = r"\x{1680}\x{202f}\x{205f}\x{1100}-\x{11ff}\x{1d15e}-\x{1d1c0}\x{2f800}-\x{2fa1f}\p{M}"
_BRACKETS = re.compile(r"[\[【（(](?:图片|照片|语音|视频|表情|动画表情|链接|文件|红包|编辑)")
_HAN_OR_MARK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff，。；：？！、（）《》【】“”‘’…—"
_SPACE = re.compile(rf" (?:[ \n]|(?<=[{_HAN_OR_MARK}] )[{_HAN_OR_MARK}])|\n\s")
_PAIRS = re.compile(
    r"[，。！？、；：!?～~.…#|`](?=[，。！？、；：!?～~.…#|`])"
    r"(?:(?<=，)，|(?<=。)。|(?<=！)！|(?<=？)？|(?<=、)、|(?<=；)；|(?<=：)：|(?<=!)!|(?<=\?)\?|(?<=～)～|(?<=~)~"
    r"|(?<=\.)\.\.|(?<=…)……|(?<=#)\||(?<=`)`)"
)


def clean(records: Iterable[Record], settings: CleanSettings) -> tuple[list[Record], list[Reject]]:
    """Clean every record; those with nothing left to learn from are rejected with the reason.

    Ids stay those of reading. Of a dialogue, empty turns go, turns of one speaker that follow each other are joined, an
    opening by the doctor (a platform's greeting) goes because training starts from what a patient asks, and what comes
    after the doctor's last turn goes. Each record's result is independent of the others.

    Returns:
        Kept records and rejects, together as many as were read.
    """
    kept: list[Record] = []
    rejects: list[Reject] = []
    records = list(records)
    changed = _changed_texts(records, settings)
    for record in records:
        kind = record.source.kind
        cleaned = _copy(record)
        reason = _CLEANERS[record.shape](cleaned, settings, (changed[kind, False], changed[kind, True]))
        if reason:
            where = f"{record.source.file}, {record.source.locator}"
            rejects.append(Reject("clean", reason, where, cleaned.as_dict()))
        else:
            cleaned.steps = [*record.steps, STEP]
            kept.append(cleaned)
    return kept, rejects


def _changed_texts(records: Sequence[Record], settings: CleanSettings) -> Mapping[tuple[str, bool], Mapping[str, str]]:
    """The texts that cleaning changes and what they become, by the kind of source and whether a doctor says them."""
    texts: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for record in records:
        kind = record.source.kind
        texts[kind, False].append(record.text)
        for side in (record.messages, record.chosen, record.rejected):
            for turn in side:
                texts[kind, turn["role"] == "assistant"].append(turn["content"])
    changed: dict[tuple[str, bool], dict[str, str]] = defaultdict(dict)
    for (kind, is_doctor), some in texts.items():
        found = _changes_of(some, "assistant" if is_doctor else "user", settings, kind)
        changed[kind, is_doctor] = {some[place]: text for place, text in found.items()}
    return changed


def _changes_of(texts: Sequence[str], role: str, settings: CleanSettings, kind: str) -> dict[int, str]:
    import pyarrow as pa

    try:
        return changes(pa.array(texts, pa.string()), role, settings, kind)
    except UnicodeEncodeError:  # half a surrogate pair, which Arrow's strings cannot hold: looked at one by one
        return _cleaned(enumerate(texts), role, settings, kind)


def changes(column: pa.StringArray, role: str, settings: CleanSettings = _DEFAULT, kind: str = "") -> dict[int, str]:
    """What cleaning changes in a column of texts of one role: place -> new text. The fastest way to clean many texts.

    One search by Arrow's engine over the whole column, in a fraction of the time of Python's, finds the texts that may
    need something; `clean_turn` sees no other, and only these become Python's.
    """
    import pyarrow.compute as pc

    if role == "assistant" and settings.greetings == "remove":  # every answer is looked at
        return _cleaned(enumerate(column.to_pylist()), role, settings, kind)
    places = pc.indices_nonzero(pc.match_substring_regex(column, _suspicion(role == "assistant")))
    texts = zip(places.to_pylist(), column.take(places).to_pylist(), strict=True)
    return _cleaned(texts, role, settings, kind)


def _cleaned(texts: Iterable[tuple[int, str]], role: str, settings: CleanSettings, kind: str) -> dict[int, str]:
    found = ((place, text, clean_turn(text, role, settings, kind)) for place, text in texts)
    return {place: new for place, text, new in found if new != text}


def clean_text(text: str, settings: CleanSettings = _DEFAULT, kind: str = "") -> str:
    """One text without markup, placeholders, repeated punctuation and page furniture; code between ``` is left alone.

    Args:
        text: what a person or a book says.
        settings: which repairs of wording are made.
        kind: of the source; some kinds may be exempt from simplification.
    """
    needs = _needs(text) if _is_normal(text) else None
    if needs is not None and not any(needs):
        return text
    if "```" not in text:
        return _clean_prose(text, settings, kind) if needs is None else _clean_normal(text, needs, settings, kind)
    parts = _FENCE.split(text)
    cleaned = (part if part.startswith("```") else _clean_prose(part, settings, kind) for part in parts)
    return "\n".join(filter(None, cleaned))


def is_clean(text: str) -> bool:
    """Whether `_clean_prose` would leave a text as it is. It may say no of a text that is clean, never the reverse."""
    return _is_normal(text) and not any(_needs(text))


def _needs(text: str) -> tuple[object, object, object]:
    """What a normal text has that may have to go, none where it has nothing: placeholders, repeated signs, words."""
    return _bracketed(text), _PAIRS.search(text), _marks()[1].search(text)


def _bracketed(text: str) -> object:
    return ("（" in text or "[" in text or "【" in text or "(" in text) and _BRACKETS.search(text)


def _is_normal(text: str) -> bool:
    """Whether `text.normalise` would leave a text as it is; in the same cautious sense."""
    return not (
        _marks()[0].search(text)
        or ((" " in text or "\n" in text) and _SPACE.search(text))
        or text != text.strip()
        or not unicodedata.is_normalized("NFC", text)
    )


@functools.cache
def _marks() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Letters that ask for work, and words that do."""
    # Where an expression begins with a letter, it is searched itself; where it looks back, its letters are.
    repairs = (found if found[0] == part[0] else re.escape(part) for part, found, _ in rules("clean")["repairs"])
    words = [*rules("clean")["furniture_words"], "语音回复"]
    letters = traditional().pattern.removesuffix("]")
    return re.compile(f"{letters}{_LETTERS}]"), re.compile("|".join([*repairs, *words]))


@functools.cache
def _suspicion(of_doctor: bool) -> str:
    """All that `clean_turn` reacts to in one expression; a little wider, since Arrow's engine has no look-around."""
    # What NFC would change, and what could join with the letter before it.
    unstable = (chr(code) for code in range(0x300, 0x10000) if not 0xD800 <= code < 0xE000)
    changed = "".join(re.escape(sign) for sign in unstable if unicodedata.normalize("NFC", sign) != sign)
    letters = traditional().pattern[1:-1] + _without_python_escapes(_LETTERS) + changed
    # Any space that only Python's \s knows is one of the letters.
    marks = rules("clean")["answer_marks"] if of_doctor else ()
    pairs = "|".join(re.escape(mark) * 2 for mark in "，。！？、；：!?～~`") + r"|\.\.\.|………|#\|"
    spaces = rf" [ \n]|[{_HAN_OR_MARK}] [{_HAN_OR_MARK}]|\n\s|\A\s|\s\z"
    parts = [*repaired(), *rules("clean")["furniture_words"], "语音回复", *marks, pairs, spaces, _BRACKETS.pattern]
    return "|".join([f"[{letters}{_RARE}]", *parts])


def _without_python_escapes(pattern_: str) -> str:
    return re.sub(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8}))", lambda found: rf"\x{{{found[1] or found[2]}}}", pattern_)


def _clean_normal(text: str, needs: tuple[object, object, object], settings: CleanSettings, kind: str) -> str:
    """As `_clean_prose`, of a text that is normal: it has no tags, entities, traditional characters or blank lines."""
    bracketed, repeated, words = needs
    cleaned = text
    if bracketed or "语音回复" in text:
        cleaned = _without_marks_of_platforms(text)
    elif repeated:
        cleaned = _without_repeats(text)
    if words or (cleaned is not text and _marks()[1].search(cleaned)):
        cleaned = _reworded(cleaned, settings)
    return cleaned if cleaned is text or _is_normal(cleaned) else _simplified(cleaned, text, settings, kind)


def _clean_prose(text: str, settings: CleanSettings, kind: str) -> str:
    if "<" in text or "&" in text:
        text = without_tags(_ENTITY.sub(lambda entity: html.unescape(entity.group()), without_tags(text)))
    normal = text if _is_normal(text) else chinese.normalise(text)
    text = _without_marks_of_platforms(normal)
    if _marks()[1].search(text):
        text = _reworded(text, settings)
    if text is not normal and _is_normal(text):
        return text
    return _simplified(text, normal, settings, kind)


def _reworded(text: str, settings: CleanSettings) -> str:
    text = without_furniture(text)
    return repair(text) if settings.repair_synonyms else text


def _simplified(text: str, normal: str, settings: CleanSettings, kind: str) -> str:
    """The last steps, on what has become of a normal text."""
    if settings.simplify and kind not in settings.simplify_exempt and traditional().search(text):
        text = text if is_classical(text) and not settings.simplify_classical else simplify(text)
    return text if text == normal else chinese.normalise(text)


def _without_marks_of_platforms(text: str) -> str:
    """Without placeholders, separators, repeated punctuation and blank lines."""
    if "\\" in text or "语音回复" in text or "&65533;" in text or _bracketed(text):
        text = remove(_placeholders(), text)
    if _PAIRS.search(text):
        return _without_repeats(text)
    return _BLANK_LINES.sub("\n", text) if "\n" in text else text


def _without_repeats(text: str) -> str:
    """Without separators, repeated punctuation and blank lines, where one of the first two is known to be there."""
    if "#|" in text:
        text = pattern("clean", "separators").sub("\n", text)
    text = _REPEATED.sub("", text)
    if "..." in text or "………" in text:
        text = _DOTS.sub("……", text)
    return _BLANK_LINES.sub("\n", text) if "\n" in text else text


@functools.cache
def _placeholders() -> re.Pattern[str]:
    return re.compile(f"(?:{pattern('clean', 'placeholders').pattern})+")


def clean_turn(text: str, role: str, settings: CleanSettings = _DEFAULT, kind: str = "") -> str:
    """One turn of a dialogue; a doctor's also without the marks of a form (病情分析：) and, by setting, its greetings.

    A full stop closes what stood before a mark.
    """
    text = clean_text(text, settings, kind)
    if role != "assistant":
        return text
    text = without_answer_marks(text)
    return without_greetings(text) if settings.greetings == "remove" else text


def _copy(record: Record) -> Record:
    """A record that shares everything with another; faster than `dataclasses.replace`, which goes through __init__."""
    new = object.__new__(Record)
    for name in _FIELDS:
        setattr(new, name, getattr(record, name))
    return new


def _clean_section(record: Record, settings: CleanSettings, changed: _Changed) -> str:
    """Clean a section in place; the reason to reject it. A fact of a graph is measured with its entity and relation."""
    kind = record.source.kind
    record.text = changed[0].get(record.text, record.text)
    record.title = [heading if is_clean(heading) else chinese.normalise(heading) for heading in record.title]
    whole = "".join([*record.title, record.text]) if kind == "knowledge_graph" else record.text
    if not record.text or _length(whole) < settings.min_characters:
        return f"too short: {_length(whole)} characters"
    return _check_chinese(whole)


def _clean_dialogue(record: Record, settings: CleanSettings, changed: _Changed) -> str:
    turns = _turns(record.messages, changed)
    system, turns = turns[: _systems(turns)], turns[_systems(turns) :]
    while turns and turns[0]["role"] == "assistant":
        turns = turns[1:]
    while turns and turns[-1]["role"] == "user":
        turns = turns[:-1]
    record.messages = [*system, *turns] if turns else []
    return _check_dialogue(record.messages, settings)


def _clean_preference(record: Record, settings: CleanSettings, changed: _Changed) -> str:
    record.messages, record.chosen, record.rejected = (
        _turns(side, changed) for side in (record.messages, record.chosen, record.rejected)
    )
    return _check_preference(record, settings)


def _turns(messages: Sequence[Message], changed: _Changed) -> list[Message]:
    """Cleaned turns, without empty ones, and with neighbours of the same speaker joined."""
    turns: list[Message] = []
    for message in messages:
        role = message["role"]
        content = message["content"]
        content = changed[role == "assistant"].get(content, content)
        if turns and content and turns[-1]["role"] == role:
            turns[-1] = {"role": role, "content": f"{turns[-1]['content']}\n{content}"}
        elif content:
            turns.append({"role": role, "content": content})
    return turns


def _systems(turns: Sequence[Message]) -> int:
    return int(bool(turns) and turns[0]["role"] == "system")


def _check_dialogue(messages: Sequence[Message], settings: CleanSettings) -> str:
    answers = "".join(turn["content"] for turn in messages if turn["role"] == "assistant")
    questions = "".join(turn["content"] for turn in messages if turn["role"] == "user")
    if not questions or not answers:
        return "no question followed by an answer"
    if any(turn["role"] == "system" for turn in messages[1:]):
        return "system turn inside the dialogue"
    if _length(answers) < settings.min_answer_characters:
        return f"answer too short: {_length(answers)} characters"
    if _same(questions, answers):
        return "answer equals question"
    return _check_chinese(questions + answers)


def _check_preference(record: Record, settings: CleanSettings) -> str:
    if not record.messages or record.messages[-1]["role"] != "user":
        return "prompt does not end with a question"
    chosen, rejected = ("".join(turn["content"] for turn in side) for side in (record.chosen, record.rejected))
    if not chosen or not rejected:
        return "one side is empty"
    if _length(chosen) < settings.min_answer_characters:
        return f"answer too short: {_length(chosen)} characters"
    if _same(chosen, rejected):
        return "both sides are the same"
    return _check_chinese(record.messages[-1]["content"] + chosen)


def _same(one: str, other: str) -> bool:
    """Whether two texts have the same key. Keys of their beginnings settle it for almost all pairs."""
    begin, start = chinese.key(one[:12])[:-1], chinese.key(other[:12])[:-1]
    shared = min(len(begin), len(start))  # the last letter may still join with what follows it
    return begin[:shared] == start[:shared] and chinese.key(one) == chinese.key(other)


def _check_chinese(text: str) -> str:
    han = len(_HAN.findall(text, 0, max(40, len(text) // 4)))
    if han < MIN_HAN_SHARE * len(text) and chinese.han_share(text) < MIN_HAN_SHARE:
        return "no Chinese text"
    return ""


def _length(text: str) -> int:
    return len("".join(text.split()))


_CLEANERS = {"text": _clean_section, "messages": _clean_dialogue, "preference": _clean_preference}
_FIELDS = tuple(Record.__slots__)
