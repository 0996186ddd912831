"""The pediatric lexicon pass: medical homophones become terms, everything else stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import recordings

from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.sources.lexicon import Correction, correct, load_lexicon, make_lexicon, near, syllables
from pediatricsgpt.errors import UserError


@pytest.mark.parametrize(
    ("heard", "meant"),
    [
        ("宝宝有黄胆怎么办", "宝宝有黄疸怎么办"),
        ("孩子得了手祖口病", "孩子得了手足口病"),
        ("需要查学常规", "需要查血常规"),
        ("口服对以先安基分", "口服对乙酰氨基酚"),
        ("有没有护吸急醋", "有没有呼吸急促"),
    ],
)
def test_a_medical_homophone_becomes_the_term(heard: str, meant: str) -> None:
    assert correct(heard, load_lexicon())[0] == meant


def test_what_was_replaced_is_told_with_its_place() -> None:
    text, found = correct("你好，宝宝黄胆两周了，还是有黄胆。", load_lexicon())
    assert text == "你好，宝宝黄疸两周了，还是有黄疸。"
    assert found == [Correction(5, "黄胆", "黄疸"), Correction(14, "黄胆", "黄疸")]


@pytest.mark.parametrize(
    "text",
    [
        "发烧是因为感冒",
        "时间长了就会便秘",
        "宝宝呕吐黄胆水",
        "吐出黄胆汁",
        "这样的话对身体并不好",
        "多喝水，注意休息，三天后复查。",
        "孩子在幼儿园玩了一天",
        "家人应多关心病让他安心",
        "胚胎在子宫内膜上着床",
        "左侧甲状腺中份有结节",
        "",
        "ok 38.5",
    ],
)
def test_right_sentences_stay(text: str) -> None:
    assert correct(text, load_lexicon()) == (text, [])


def test_every_term_stays_as_it_is_and_so_does_what_real_texts_say() -> None:
    lexicon = load_lexicon()
    wrong = [term for term in lexicon.sounds if correct(term, lexicon)[1]]
    assert not wrong
    assert not [span for span in sorted(lexicon.right) if correct(span, lexicon)[0] != span and len(span) == 2]


def test_what_the_recogniser_was_sure_of_stays() -> None:
    lexicon, text = load_lexicon(), "宝宝有黄胆"
    assert correct(text, lexicon, [0.99] * 5)[0] == text
    assert correct(text, lexicon, [0.99] * 3 + [0.8, 0.7])[0] == "宝宝有黄疸"


def test_a_near_sound_of_two_characters_needs_a_recogniser_that_is_unsure() -> None:
    lexicon = make_lexicon(["嗜睡"])
    assert correct("还有丝睡", lexicon, [0.9, 0.9, 0.7, 0.7])[0] == "还有丝睡"
    assert correct("还有丝睡", lexicon, [0.9, 0.9, 0.4, 0.5])[0] == "还有嗜睡"


def test_a_span_that_stands_in_real_texts_stays() -> None:
    assert correct("枝体无力", make_lexicon(["肢体"]), [0.5] * 4)[0] == "肢体无力"
    assert correct("枝体无力", make_lexicon(["肢体"], ["枝体"]), [0.5] * 4)[0] == "枝体无力"


@pytest.mark.parametrize(
    ("one", "other"), [("zhang", "zan"), ("ning", "lin"), ("shi", "si"), ("hu", "fu"), ("cheng", "cen")]
)
def test_sounds_that_are_taken_for_each_other_are_near(one: str, other: str) -> None:
    assert near(one) == near(other)
    assert near("ban") != near("dan")


def test_pinyin_follows_the_words_around() -> None:
    assert syllables("银行") == ("yin", "hang")
    assert syllables("行走") == ("xing", "zou")


def test_own_terms_and_pairs_are_applied(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("terms: [小青龙合剂]\npairs: {一声: 医生}\n", encoding="utf-8")
    lexicon = load_lexicon(own)
    assert correct("一声您好，喝了小轻龙合计", lexicon)[0] == "医生您好，喝了小青龙合剂"
    assert correct("一声您好", load_lexicon())[0] == "一声您好"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "terms"),
        ("words: [黄疸]\n", "terms"),
        ("pairs: [黄疸]\n", "mapping"),
        ("terms: [1]\n", "quotation marks"),
        ("pairs: {a: b\n", "not YAML"),
    ],
)
def test_a_lexicon_that_is_none_is_refused(tmp_path: Path, content: str, message: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        load_lexicon(own)
    assert "\n" not in str(error.value)
    assert str(own) in str(error.value)


def test_a_missing_lexicon_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.yaml: cannot be read"):
        load_lexicon(tmp_path / "gone.yaml")


def test_the_lists_are_of_chinese_words_without_repetition() -> None:
    for name, key in (("lexicon", "terms"), ("lexicon_right", "right")):
        words = rules(name)[key].split()
        assert len(words) == len(set(words)) > 100
        assert all("\u4e00" <= character <= "\u9fff" for word in words for character in word)


def test_two_thousand_right_sentences_of_real_files_stay(shared: Path) -> None:
    figures = recordings.on_sentences(shared / "data", number=2000)
    for name in ("right sentences, held out", "right sentences of files never seen"):
        assert figures[name]["sentences"] == 2000
        assert figures[name]["changed"] <= 4, figures[name]["changes"]
    for name, least in (("same sound, 2 characters", 0.85), ("same sound, 3+ characters", 0.85)):
        count = figures["homophones, unsure"][name]
        assert count["right"] >= least * count["n"]
        assert count.get("wrong", 0) <= 0.03 * count["n"]
