import itertools
import json
import random
import re

import pytest

from pediatricsgpt.corpus.deidentify.find import _finders, find, find_all
from pediatricsgpt.corpus.deidentify.measure import TEST_SET
from pediatricsgpt.corpus.deidentify.starts import EVERY, Starts

ALPHABET = "ab\n张小1 \0"
PATTERNS = [
    *("a", "ab|b张", "[^a]b", "a?b", "a*张", "(?:ab){2}", "(a|小)张", "a(?=b|$)", "a(?=$)", "(?=ab).{2}", "a(?!b)"),
    *("(?<=张)a", "[a小](?:(?<=1a)|(?<=b小)b)", "(?<=ab)张|1", r"\d\s", r"[^\d\n]\D", "a{2,3}?b", "a(?:|b)1", ".张$"),
    *(r"(a)\1", r"([a张])\1(?!\1)", "(?i:A)b", "^a", "(?:a|b张)?小(?=1|$)", "小(?=a?)(?=b)", "1(?:a(?=b))?张"),
    *("a(?=b)b?", r"\S\W", "[ab]|张(?<=小张)", "(?:(?<=a)|b)1", "(?P<x>a|b)(?P=x)", "(?>a|b)1", "a++b", "\0"),
]


def texts_of_the_test_set() -> list[str]:
    rows = [json.loads(line) for line in TEST_SET.read_text(encoding="utf-8").splitlines()[::3]]
    return [row["text"] for row in rows]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_match_is_missed(pattern: str) -> None:
    """Every text of up to four characters of an alphabet that has something of everything."""
    texts = ["".join(text) for length in range(5) for text in itertools.product(ALPHABET, repeat=length)]
    searched = re.compile(pattern)
    may = Starts([searched])(texts)
    assert [text for text, bits in zip(texts, may, strict=True) if not bits and searched.search(text)] == []
    assert [text for text, bits in zip(texts, may, strict=True) if not bits and searched.search(f"\n{text}")] == []


def test_what_cannot_match_is_told() -> None:
    patterns = [re.compile(each) for each in ("医生|大夫", "叫(?<=我叫)", r"([\u4e00-\u9fff])\1", "床(?=号|$)")]
    texts = ["看医生", "医大夫生", "不叫", "我叫", "糖糖", "糖果", "床位", "3床", "大医", "夫生"]
    assert Starts(patterns)(texts) == [0b0001, 0b0001, 0, 0b0010, 0b0100, 0, 0, 0b1000, 0, 0]


def test_patterns_beyond_one_word_of_bits_are_told_apart() -> None:
    letters = [chr(0x4E00 + number) for number in range(150)]
    starts = Starts([re.compile(letter) for letter in letters])
    assert starts(letters) == [1 << number for number in range(150)]


def test_characters_beyond_the_basic_plane_are_seen() -> None:
    assert Starts([re.compile("[^a]b"), re.compile("[\U00020000-\U0002ffff]")])(["\U00020001b", "ab"]) == [0b11, 0]


def test_a_pattern_with_flags_is_refused() -> None:
    with pytest.raises(ValueError, match="flags"):
        Starts([re.compile("a", re.IGNORECASE)])


def test_no_finder_misses_anything_for_the_bits() -> None:
    """Each finder finds with the bits of its patterns what it finds when it searches for all of them."""
    texts = texts_of_the_test_set()
    for finder, patterns in _finders():
        found = 0
        for text, bits in zip(texts, Starts(patterns)(texts), strict=True):
            everything = list(finder(text, EVERY))
            assert list(finder(text, bits) if bits else []) == everything
            found += len(everything)
        assert found


def test_findings_depend_on_no_other_text() -> None:
    texts = [*texts_of_the_test_set()[:600], "", "\n", "王\0", "\ud800张三", "张三丰" * 400]
    alone = [find(text) for text in texts[::7]]
    random.Random(5).shuffle(order := list(range(len(texts))))
    mixed = dict(zip(order, find_all([texts[number] for number in order]), strict=True))
    assert [mixed[number] for number in range(len(texts))][::7] == alone
    assert any(alone)
