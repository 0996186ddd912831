"""What was chosen, read out of an answer in free words: `B`, `答案：Ｂ。因为……`, 「……故选B」, `1-B；2-A`, 对.

An answer that names nothing, refuses, or wavers between options is unreadable: None. Nothing is guessed.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence

_THOUGHTS = re.compile(r"^.*</think(?:ing)?>", re.DOTALL)
_ORNAMENTS = re.compile(r"[*_`#$~「」『』“”\"'《》【】\[\]{}]|\\(?:boxed|text|mathrm)")
_LINE_ENDS = re.compile(r"\s*\n\s*")
_SPACES = re.compile(r"[ \t\u3000]+")
_BETWEEN = r"[ 、,，;/&和与及+.()]*"
_APART = r"[\s、,，;/&和与及+.()]*"
_IS = r"\s*(?:应该|应当|应|就|也|也就)?(?:是|为|选择?|:)*\s*(?:选项)?\s*:?\s*"
_NOT = r"(?<![不非除])"
# What comes before the letters, in the order in which it is believed. Of one kind the last counts: it comes after the
# reasoning.
_MARKS = (
    rf"{_NOT}(?:正确|最终|标准|参考|最佳)?(?:答案|(?:正确|最佳|合适|恰当|符合题意)的?(?:选项|答案|一项)?){_IS}",
    rf"(?:故|因此|所以|应该?|综上)[^。;\n]{{0,6}}?{_NOT}选择?{_IS}",
    rf"(?:^|[,。;:!\n我])\s*选择?{_IS}",
    r"(?:认为|觉得|应该|应当)(?:是|为)\s*(?:选项)?",
    r"[Aa]nswer\s*(?:is|:)?\s*(?:option)?\s*:?\s*",
)
_WAVERS = re.compile(r"^\s*(?:或|还是|也可能|或者)")
_NO = r"(?:不对|不正确|不是|错误|错|否|假|×|✗|✘|false)"
_YES = r"(?:正确|对|是|真|√|✓|✔|true)"
_VERDICT = re.compile(
    rf"(?:答案|判断|结论|结果|说法|陈述|表述|叙述|描述|做法|观点|这句话|此题|本题)(?:结果|应该|应|在医学上)?(?:是|为|:|\s)*({_NO}|{_YES})(?!吗|与否)",
    re.IGNORECASE,
)
_VERDICT_FIRST = re.compile(rf"^({_NO}|{_YES})(?![不否]|吗|与否|于)", re.IGNORECASE)
_PAIR = re.compile(r"(\d+)\s?[题.)、:]?[-—–→=>:.、)\s对应选是]+\(?([A-Z])(?![A-Za-z])")


def read_letters(answer: str, options: Mapping[str, str]) -> tuple[str, ...] | None:
    """The letters that an answer chooses, in alphabetical order; None where it chooses none that can be read.

    Believed in this order: an answer that is letters, or lines of options, and nothing else; letters after 答案 and the
    like; after 故选 and the like; a first line or a first word that is a letter; an answer that is one option's text.

    Args:
        options: letter -> text; other letters are not read.
    """
    text = _clean(answer)
    listed, alone = _listed(text, options)
    # The question's own options, said again before, or instead of, a choice.
    repeated = len(listed) == len(options) or (not alone and len(listed) >= max(3, len(options) - 1))
    if alone and not repeated and len(listed) > 1:
        return listed
    found = _marked(text, "".join(sorted(options)), first=not repeated)
    if found is None:
        same = [letter for letter, option in options.items() if _bare(option) == _bare(text)]
        return (same[0],) if len(same) == 1 else None
    return tuple(sorted(set(re.findall("[A-Z]", found)))) or None


def read_true_false(answer: str) -> tuple[str, ...] | None:
    """(对,) or (错,): what an answer says at its beginning, else the last after 答案, 判断, 说法 and the like."""
    text = _clean(answer)
    said = _VERDICT_FIRST.match(text)
    marked = list(_VERDICT.finditer(text))
    word = said[1] if said else marked[-1][1] if marked else None
    if word is None:
        return None
    return ("错",) if re.fullmatch(_NO, word, re.IGNORECASE) else ("对",)


def read_pairing(answer: str, questions: int, options: Sequence[str]) -> tuple[str | None, ...] | None:
    """The letter for each question, None for one that is left open; None in all where no pair can be read.

    Read are `1-B`, `问题1：B`, `（1）B`, or exactly as many letters as questions and nothing else. A letter beyond the
    options leaves its question open.
    """
    text = _clean(answer)
    found: dict[int, str] = {int(number): letter for number, letter in _PAIR.findall(text)}
    if not found and re.fullmatch(rf"[A-Z](?:{_BETWEEN}[A-Z]){{{questions - 1}}}[。.]?", text):
        found = dict(enumerate(re.findall("[A-Z]", text), 1))
    known = {place: letter for place, letter in found.items() if letter in options}
    chosen = tuple(known.get(place) for place in range(1, questions + 1))
    return chosen if any(chosen) else None


@functools.cache
def _patterns(letters: str) -> tuple[list[re.Pattern[str]], ...]:
    """Letters and nothing else; letters behind each mark; letters at the beginning. Only these letters are read."""
    run = rf"\(?([{letters}](?:{_BETWEEN}[{letters}])*)(?![A-Za-z])\)?"
    bare = re.compile(rf"^(?:选项)?\(?([{letters}](?:{_APART}[{letters}])*)\)?\s*[。.]?$")
    first_line = re.compile(rf"^{run}\s*[。.:]?\s*\n")
    first_word = re.compile(rf"^\(?([{letters}])\)?\s*(?:[.、:,;)。]|\n|\s)")
    return [bare], [re.compile(mark + run) for mark in _MARKS], [first_line, first_word]


def _clean(answer: str) -> str:
    """The answer without its thoughts, in half-width letters and signs, without ornaments."""
    text = unicodedata.normalize("NFKC", _THOUGHTS.sub("", answer))
    return _LINE_ENDS.sub("\n", _SPACES.sub(" ", _ORNAMENTS.sub("", text))).strip()


def _marked(text: str, letters: str, first: bool) -> str | None:
    """The letters at the place that is to be believed; empty where the answer wavers there.

    Args:
        first: whether a letter at the beginning may be the choice.
    """
    bare, marks, beginnings = _patterns(letters)
    if whole := bare[0].match(text):
        return whole[1]
    for mark in marks:
        found = list(mark.finditer(text))
        if found:
            return "" if _WAVERS.match(text[found[-1].end() :]) else found[-1][1]
    begun = next(filter(None, (pattern.match(text) for pattern in beginnings)), None) if first else None
    return begun[1] if begun else None


def _listed(text: str, options: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """Letters of the options that have a line of their own with their text; whether the answer has no other line."""
    lines = [re.match(r"\(?([A-Z])\)?\s*[.、:,)]?\s*(.+)", line.strip()) for line in text.split("\n") if line.strip()]
    named = [line[1] for line in lines if line and _bare(options.get(line[1], "")) == _bare(line[2])]
    return tuple(sorted(set(named))), len(named) == len(lines)


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text)).lower()
