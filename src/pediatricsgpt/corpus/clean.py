"""Cleaning: what is not text goes, what was said stays. No number, unit, drug or negation changes.

Dialogues leave in the shape that training needs: turns alternate, the first is the patient's and the last the doctor's.
Text inside code fences is left as it is. Most texts need nothing done: one expression finds those that do.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.corpus.settings import CleanSettings
from pediatricsgpt.corpus.wording import (
    is_classical,
    repair,
    simplify,
    traditional,
    without_furniture,
    without_greetings,
)
from pediatricsgpt.records import Message, Record, Reject, Step

STEP = Step("clean", 2)
MIN_HAN_SHARE = 0.1

_ATTRIBUTES = r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+))*"
_BLOCKS = r"br|p|div|table|tbody|thead|tr|td|th|ul|ol|li|h[1-6]|hr|center|blockquote|section|html|body|head|form"
_INLINE = r"span|b|i|u|s|strong|em|a|img|font|sub|small|big|strike|label|input|iframe|del|ins|tt"
_SCRIPT = re.compile(r"<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS}){_ATTRIBUTES}\s*/?>", re.IGNORECASE)
_INLINE_TAGS = re.compile(rf"(?:</?(?:{_INLINE}){_ATTRIBUTES}\s*/?>)+", re.IGNORECASE)
_RAISED = re.compile(r"(?<=\d)<sup\s*>(?=[+\-−]?\d)", re.IGNORECASE)  # 10<sup>9</sup> is 10^9, never 109
_RAISED_TAGS = re.compile(r"(?:</?sup\s*/?>)+", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{2,6}|#x[0-9a-fA-F]{2,6}|[A-Za-z]{2,8}\d{0,2});")
_FENCE = re.compile(r"(```.*?(?:```|$))", re.DOTALL)
_REPEATED = re.compile(r"([，。！？、；：!?～~])\1+")
_DOTS = re.compile(r"\.{3,}|…{3,}")
_BLANK_LINES = re.compile(r"\n\s*\n\s*")
_OPEN_END = re.compile(r"[\w）)】”]$")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_MARK_END = re.compile(r"[析议见导]\s*[：:]")
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
    sound = sound_texts([text for record in records for text in _texts(record)])
    for record in records:
        cleaned = _copy(record)
        reason = _CLEANERS[record.shape](cleaned, settings, sound)
        if reason:
            where = f"{record.source.file}, {record.source.locator}"
            rejects.append(Reject("clean", reason, where, cleaned.as_dict()))
        else:
            cleaned.steps = [*record.steps, STEP]
            kept.append(cleaned)
    return kept, rejects


def _texts(record: Record) -> Iterator[str]:
    yield record.text
    for side in (record.messages, record.chosen, record.rejected):
        yield from (turn["content"] for turn in side)


def clean_text(
    text: str, settings: CleanSettings = _DEFAULT, kind: str = "", sound: Container[str] = frozenset()
) -> str:
    """One text without markup, placeholders, repeated punctuation and page furniture; code between ``` is left alone.

    Args:
        text: what a person or a book says.
        settings: which repairs of wording are made.
        kind: of the source; some kinds may be exempt from simplification.
        sound: texts that are known to need nothing, see `sound_texts`.
    """
    if text in sound or is_clean(text):
        return text
    if "```" not in text:
        return _clean_prose(text, settings, kind)
    parts = _FENCE.split(text)
    cleaned = (part if part.startswith("```") else _clean_prose(part, settings, kind) for part in parts)
    return "\n".join(filter(None, cleaned))


def is_clean(text: str) -> bool:
    """Whether `_clean_prose` would leave a text as it is. It may say no of a text that is clean, never the reverse."""
    return (
        _is_normal(text)
        and not _marks()[1].search(text)
        and not _PAIRS.search(text)
        and not (("（" in text or "[" in text or "【" in text or "(" in text) and _BRACKETS.search(text))
    )


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


def sound_texts(texts: Sequence[str]) -> frozenset[str]:
    """Those of many texts that `clean_text` surely leaves as they are, found for all at once in a third of the time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        column = pa.array(texts, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair: looked at one by one
        return frozenset()
    touched = pc.match_substring_regex(column, _suspicion()).to_pylist()
    return frozenset(text for text, suspicious in zip(texts, touched, strict=True) if not suspicious)


@functools.cache
def _suspicion() -> str:
    """All that `is_clean` looks for in one expression; a little wider, since Arrow's engine has no look-around."""
    # What NFC would change, and what could join with the letter before it.
    unstable = (chr(code) for code in range(0x300, 0x10000) if not 0xD800 <= code < 0xE000)
    changed = "".join(re.escape(sign) for sign in unstable if unicodedata.normalize("NFC", sign) != sign)
    letters = traditional().pattern[1:-1] + _without_python_escapes(_LETTERS) + changed
    words = "|".join(re.escape(part) for part, _, _ in rules("clean")["repairs"])
    furniture = "|".join([*rules("clean")["furniture_words"], "语音回复"])
    pairs = "|".join(re.escape(mark) * 2 for mark in "，。！？、；：!?～~`") + r"|\.\.\.|………|#\|"
    spaces = rf" [ \n]|[{_HAN_OR_MARK}] [{_HAN_OR_MARK}]|\n\s|\A\s|\s\z"
    return "|".join([f"[{letters}{_RARE}]", words, furniture, pairs, spaces, _BRACKETS.pattern])


def _without_python_escapes(pattern_: str) -> str:
    return re.sub(r"\\(?:u([0-9a-f]{4})|U([0-9a-f]{8}))", lambda found: rf"\x{{{found[1] or found[2]}}}", pattern_)


def _clean_prose(text: str, settings: CleanSettings, kind: str) -> str:
    if "<" in text or "&" in text:
        text = _without_tags(_ENTITY.sub(lambda entity: html.unescape(entity.group()), _without_tags(text)))
    normal = text if _is_normal(text) else chinese.normalise(text)
    text = _without_marks_of_platforms(normal)
    if _marks()[1].search(text):
        text = without_furniture(text)
        text = repair(text) if settings.repair_synonyms else text
    if text is not normal and _is_normal(text):
        return text
    if settings.simplify and kind not in settings.simplify_exempt and traditional().search(text):
        text = text if is_classical(text) and not settings.simplify_classical else simplify(text)
    return text if text == normal else chinese.normalise(text)


def _without_marks_of_platforms(text: str) -> str:
    """Without placeholders, separators, repeated punctuation and blank lines."""
    if _BRACKETS.search(text) or "\\" in text or "语音回复" in text or "&65533;" in text:
        text = _remove(_placeholders(), text)
    if "#|" in text:
        text = pattern("clean", "separators").sub("\n", text)
    if _PAIRS.search(text):
        text = _DOTS.sub("……", _REPEATED.sub(r"\1", text))
    return _BLANK_LINES.sub("\n", text) if "\n" in text else text


@functools.cache
def _placeholders() -> re.Pattern[str]:
    return re.compile(f"(?:{pattern('clean', 'placeholders').pattern})+")


def _remove(marks: re.Pattern[str], text: str) -> str:
    """Cut marks out; a space keeps two numbers apart that would become one."""
    return marks.sub(lambda mark: " " if _between_digits(mark) else "", text)


def _between_digits(mark: re.Match[str]) -> bool:
    before, after = mark.string[: mark.start()][-1:], mark.string[mark.end() :][:1]
    return before.isdigit() and after.isdigit()


def _without_tags(text: str) -> str:
    if "<" not in text:
        return text
    text = _BLOCK_TAG.sub("\n", _SCRIPT.sub(" ", text))
    return _remove(_RAISED_TAGS, _remove(_INLINE_TAGS, _RAISED.sub("^", text)))


def clean_turn(
    text: str,
    role: str,
    settings: CleanSettings = _DEFAULT,
    kind: str = "",
    sound: Container[str] = frozenset(),
) -> str:
    """One turn of a dialogue; a doctor's also without the marks of a form (病情分析：) and, by setting, its greetings.

    A full stop closes what stood before a mark.
    """
    text = clean_text(text, settings, kind, sound)
    if role != "assistant":
        return text
    if ("：" in text or ":" in text) and _MARK_END.search(text):
        text = _without_marks(text)
    return without_greetings(text) if settings.greetings == "remove" else text


def _without_marks(text: str) -> str:
    first, *others = pattern("clean", "answer_marks").split(text)
    if not others:
        return text
    joined = first.rstrip()
    for part in others:
        part = part.strip()
        if part and _OPEN_END.search(joined):
            joined += "。"
        elif joined.endswith(".") and part[:1].isdigit():
            joined += " "  # a full stop and the number of a list item are no decimal
        joined += part
    return joined.strip()


def _copy(record: Record) -> Record:
    """A record that shares everything with another; faster than `dataclasses.replace`, which goes through __init__."""
    new = object.__new__(Record)
    for name in _FIELDS:
        setattr(new, name, getattr(record, name))
    return new


def _clean_section(record: Record, settings: CleanSettings, sound: Container[str]) -> str:
    """Clean a section in place; the reason to reject it. A fact of a graph is measured with its entity and relation."""
    kind = record.source.kind
    record.text = clean_text(record.text, settings, kind, sound)
    record.title = [heading if is_clean(heading) else chinese.normalise(heading) for heading in record.title]
    whole = "".join([*record.title, record.text]) if kind == "knowledge_graph" else record.text
    if not record.text or _length(whole) < settings.min_characters:
        return f"too short: {_length(whole)} characters"
    return _check_chinese(whole)


def _clean_dialogue(record: Record, settings: CleanSettings, sound: Container[str]) -> str:
    turns = _turns(record.messages, settings, record.source.kind, sound)
    system, turns = turns[: _systems(turns)], turns[_systems(turns) :]
    while turns and turns[0]["role"] == "assistant":
        turns = turns[1:]
    while turns and turns[-1]["role"] == "user":
        turns = turns[:-1]
    record.messages = [*system, *turns] if turns else []
    return _check_dialogue(record.messages, settings)


def _clean_preference(record: Record, settings: CleanSettings, sound: Container[str]) -> str:
    kind = record.source.kind
    record.messages, record.chosen, record.rejected = (
        _turns(side, settings, kind, sound) for side in (record.messages, record.chosen, record.rejected)
    )
    return _check_preference(record, settings)


def _turns(messages: Sequence[Message], settings: CleanSettings, kind: str, sound: Container[str]) -> list[Message]:
    """Cleaned turns, without empty ones, and with neighbours of the same speaker joined."""
    turns: list[Message] = []
    for message in messages:
        role = message["role"]
        content = clean_turn(message["content"], role, settings, kind, sound)
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
