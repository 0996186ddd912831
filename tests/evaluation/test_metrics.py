from __future__ import annotations

import hashlib
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jieba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.translate.gleu_score import sentence_gleu
from rouge import Rouge

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import METRICS, monotonicity_warnings, score, score_pair

PROFILES = ("paper", "char")
BLEU_WEIGHTS = ((1,), (0.5, 0.5), (0.33, 0.33, 0.33), (0.25, 0.25, 0.25, 0.25))

LONG = "宝宝发热三十八度五，精神尚可，建议多饮水，必要时口服布洛芬混悬液，" * 12
NASTY = [
    ("", ""),
    ("", "宝宝发热"),
    ("宝宝发热", ""),
    (" \n\t\u3000", "宝宝发热"),
    ("热", "热"),
    ("热", "冷"),
    ("热", "宝宝发热了怎么办"),
    ("宝宝发热了怎么办", "热"),
    ("。。，，！？", "。，！？"),
    (".", "."),
    ("...", "..."),
    (". .", ". ."),
    ("。.。", "."),
    ("体温38.5度。用药5.5ml.", "体温38.5℃. 用药5.5ml"),
    ("1. 多喝水\n2. 休息\n3. 复诊", "1.多喝水\r\n2.休息\r\n\r\n3.及时复诊"),
    ("a b a c a", "b a c x c a b"),
    ("a.b.c.a.b", "c.b.a. .b"),
    ("The quick brown fox.", "the quick  brown dog. Fox"),
    ("好好好好好好好好", "好好好"),
    ("发热发热发热发热", "发热咳嗽发热咳嗽"),
    ("多喝水", "多喝水"),
    ("  多 喝  水 ", "多喝水"),
    ("\ufeff宝宝\u200b发热", "宝宝发热"),
    ("😀👶🏻宝宝", "👶宝宝😀"),
    ("<b>发热</b> http://a.b/c?d=1", "发热 http://a.b/c"),
    ("發熱、咳嗽的兒童應該儘快就醫檢查", "发热、咳嗽的儿童应该尽快就医检查"),
    ("\ud800宝宝\udfff", "宝宝\udfff"),
    ("a\x00b\x00宝宝", "宝宝\x00a"),
    ("发热\x1c咳嗽\x85腹泻\u2028呕吐", "发热 咳嗽\u3000腹泻\xa0呕吐"),
    ("5ml/kg, 0.5mg×3次/d, 37.5-38.5℃, A+B", "5 ml/kg×3次，38.5℃，A-B"),
    (". 。 . . 是", "是 . . ."),
    (LONG, LONG),
    (LONG, LONG[5:] + "复诊。"),
    ("".join(random.Random(3).sample(LONG, len(LONG))), LONG),
]


def reference_scores(prediction: str, reference: str, profile: str = "paper") -> dict[str, float]:
    """The definition, with the packages that the paper's code uses; slow."""
    if not prediction.strip() or not reference.strip():
        return dict.fromkeys(METRICS, 0.0)
    if profile == "paper":
        said, wanted = list(jieba.cut(prediction)), list(jieba.cut(reference))
    else:
        said, wanted = ([c for c in text if not c.isspace()] for text in (prediction, reference))
    try:
        rouge = Rouge().get_scores(" ".join(said), " ".join(wanted))[0]
        values = [rouge[name]["f"] for name in ("rouge-1", "rouge-2", "rouge-l")]
    except ValueError:  # a side without any sentence, such as "."
        values = [0.0, 0.0, 0.0]
    smoothing = SmoothingFunction().method3
    values += [sentence_bleu([wanted], said, weights=w, smoothing_function=smoothing) for w in BLEU_WEIGHTS]
    values.append(sentence_gleu([wanted], said))
    for order in (1, 2):
        grams = [tuple(said[i : i + order]) for i in range(len(said) - order + 1)]
        values.append(len(set(grams)) / len(grams) if grams else 0.0)
    return {name: round(value, 4) for name, value in zip(METRICS, values, strict=True)}


@pytest.fixture(autouse=True)
def _quiet_reference_with_deep_recursion():
    """The rouge package recurses once per word, and jieba logs."""
    jieba.setLogLevel("ERROR")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    yield
    sys.setrecursionlimit(limit)


def assert_equal_to_reference(prediction: str, reference: str) -> None:
    for profile in PROFILES:
        expected = reference_scores(prediction, reference, profile)
        assert score_pair(prediction, reference, profile) == pytest.approx(expected, abs=1e-9), profile


@pytest.mark.parametrize(("prediction", "reference"), NASTY)
def test_nasty_texts_score_as_the_reference_stack_does(prediction, reference):
    assert_equal_to_reference(prediction, reference)


# Few different pieces, so that the two sides share many words and repeat them.
PIECES = ["宝宝", "发热", "咳嗽", "不", "38.5", "℃", ".", "..", "。", "，", " ", "\n", "\u3000", "a", "mg", "A-1", "的"]
TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x4E40), max_size=20),
    st.text(max_size=20),
)


@settings(max_examples=100)
@given(TEXTS, TEXTS)
def test_generated_texts_score_as_the_reference_stack_does(prediction, reference):
    assert_equal_to_reference(prediction, reference)


def real_pairs(shared: Path) -> list[tuple[str, str]]:
    """Neighbours among real answers and turns, of all lengths, in a seeded order."""
    texts = set()
    for name in ("distilled/huatuo26m_test.json", "dialogues/cmtmedqa_test.json"):
        texts |= set(strings(json.loads((shared / "data" / name).read_text("utf-8"))))
    chosen = sorted(text for text in texts if len(text) > 10)
    random.Random(5).shuffle(chosen)
    return list(zip(chosen[::2], chosen[1::2], strict=False))


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from strings(each)


def assert_real_pairs_equal(pairs: list[tuple[str, str]], profile: str) -> None:
    found = score(pairs, profile, resamples=1).per_sample
    assert len(found) == len(pairs)
    for (prediction, reference), scores in zip(pairs, found, strict=True):
        expected = reference_scores(prediction, reference, profile)
        assert all(abs(scores[name] - expected[name]) <= 1e-9 for name in METRICS), (prediction, reference)


def test_real_texts_score_as_the_reference_stack_does(shared):
    pairs = real_pairs(shared)
    assert_real_pairs_equal(pairs[:150], "paper")
    assert_real_pairs_equal(pairs[150:200], "char")


@pytest.mark.check
@pytest.mark.parametrize("profile", PROFILES)
def test_five_thousand_real_pairs_score_as_the_reference_stack_does(shared, profile):
    pairs = real_pairs(shared)
    assert len(pairs) >= 5000
    assert_real_pairs_equal(pairs[:5000], profile)


def test_a_text_beyond_the_block_of_the_longest_subsequence_scores_as_the_reference_stack_does():
    rng = random.Random(6)
    said, wanted = ("".join(rng.choices("宝宝发热咳嗽腹泻的了不是", k=size)) for size in (1500, 2300))
    assert score_pair(said, wanted, "char") == pytest.approx(reference_scores(said, wanted, "char"), abs=1e-9)


@settings(max_examples=50)
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=6))
def test_scores_do_not_depend_on_what_is_scored_beside_them(pairs):
    found = [score(pairs or [("", "")], "paper", resamples=1).per_sample]
    assert found[0][: len(pairs)] == [score_pair(*pair) for pair in pairs]


def test_scores_do_not_depend_on_the_number_of_threads():
    pairs = [(f"{LONG * 3}{index}", LONG * 2) for index in range(400)]
    told: list[tuple[int, int]] = []
    one = score(pairs, workers=1, resamples=50, progress=lambda done, total: told.append((done, total)))
    assert one == score(pairs, workers=3, resamples=50)
    assert len(told) > 3, "one part only: nothing was run side by side"
    assert told == sorted(set(told))
    assert told[-1] == (400, 400)


def test_scores_computed_by_hand():
    # 5 of 5 characters, 3 of 4 pairs, 1 of 3 triples match; no quadruple does, which counts as half a match of 2.
    scores = score_pair("发热多喝水", "发热要多喝水", "char")
    brevity = math.exp(1 - 6 / 5)
    assert list(scores) == list(METRICS)
    assert scores == pytest.approx(
        {
            "rouge-1": 10 / 11,
            "rouge-2": 2 / 3,
            "rouge-l": 10 / 11,
            "bleu-1": brevity,
            "bleu-2": brevity * (3 / 4) ** 0.5,
            "bleu-3": brevity * (3 / 4 * 1 / 3) ** 0.33,
            "bleu-4": brevity * (3 / 4 * 1 / 3 * 1 / 4) ** 0.25,
            "gleu": 9 / 18,
            "distinct-1": 1.0,
            "distinct-2": 1.0,
        },
        abs=5.1e-5,
    )


def test_long_texts_are_quick_and_complete():
    text = "".join(random.Random(5).choices("宝宝发热咳嗽腹泻的了不是", k=8_000))
    scores = score_pair(text, text, "char")
    assert scores["rouge-l"] == scores["bleu-4"] == scores["gleu"] == 1.0


@pytest.mark.parametrize("profile", PROFILES)
def test_an_empty_side_scores_zero_everywhere_and_is_counted(profile):
    scores = score([("", "发热"), ("发热", " \n"), ("发热", "发热")], profile)
    assert [set(sample.values()) for sample in scores.per_sample[:2]] == [{0.0}, {0.0}]
    assert (scores.n, scores.empty) == (3, 2)
    assert scores.summary["rouge-1"].n == 3
    assert scores.summary["bleu-1"].mean == pytest.approx(100 / 3)
    assert scores.warnings[0] == "2 of 3 items have an empty prediction or reference and score 0"


def test_corpus_score_is_the_mean_over_samples_with_an_interval_around_it():
    pairs = [(prediction, reference) for prediction, reference in NASTY if reference]
    scores = score(pairs)
    for name in METRICS:
        values = [reference_scores(*pair)[name] for pair in pairs]
        found = scores.summary[name]
        assert found.mean == pytest.approx(100 * sum(values) / len(values), abs=1e-9)
        assert found.low <= found.mean <= found.high
        assert found.n == len(pairs)


def test_scores_are_the_same_for_the_same_seed_only():
    pairs = NASTY[3:]
    assert score(pairs) == score(pairs)
    assert score(pairs, seed=1).summary["gleu"] != score(pairs, seed=2).summary["gleu"]


def test_signature_says_everything_that_a_score_depends_on():
    dictionary = hashlib.sha256((Path(jieba.__file__).parent / "dict.txt").read_bytes()).hexdigest()[:12]
    paper = score([("热", "热"), ("热", "冷")]).signature
    assert paper == (
        f"pedgpt-metrics:1|profile:paper|cut:jieba-{jieba.__version__},dict:{dictionary}"
        "|bleu:nltk,cumulative,method3,weights3:0.33|gleu:nltk,1-4|rouge:rouge-1.0.1,f|distinct:within|empty:score-0"
        "|round:4|n:2"
        "|interval:percentile,0.95,resamples:2000,seed:17"
    )
    char = score([("热", "热")], "char", seed=3, resamples=50).signature
    assert "|profile:char|cut:char|" in char
    assert char.endswith("resamples:50,seed:3")
    assert score([("热", "热")] * 3, "char", groups=["a", "b", "a"]).signature.endswith("|cases:2")
    corpus = score([("热", "热")], "char-corpus").signature
    for part in ("|profile:char-corpus|", "|distinct:corpus|", "|empty:other-side-counts|", "distinct:jackknife"):
        assert part in corpus


def test_cases_widen_the_interval_of_items_that_repeat_them():
    pairs = [pair for pair in NASTY if pair[1]]
    alone, repeated = score(pairs), score(pairs * 3, groups=list(range(len(pairs))) * 3)
    for name in METRICS:
        assert repeated.summary[name].low == pytest.approx(alone.summary[name].low)
        assert repeated.summary[name].high == pytest.approx(alone.summary[name].high)


def test_unknown_profile_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown metric profile 'papr'.*did you mean 'paper'"):
        score_pair("热", "热", "papr")


def test_nothing_to_score_is_the_users_error():
    with pytest.raises(UserError, match="nothing to score"):
        score([])


def test_published_row_with_bleu_2_above_bleu_1_is_warned_of():
    warnings = monotonicity_warnings({"bleu-1": 61.65, "bleu-2": 63.17, "bleu-3": 58.96, "bleu-4": 59.34})
    assert [warning.split(":")[0] for warning in warnings] == [
        "BLEU-2 (63.17) is above BLEU-1 (61.65)",
        "BLEU-4 (59.34) is above BLEU-3 (58.96)",
    ]


def test_monotone_row_is_not_warned_of():
    assert monotonicity_warnings({"bleu-1": 59.4, "bleu-2": 59.4, "bleu-3": 40.0}) == []


def test_repeated_words_can_raise_bleu_2_above_bleu_1_and_are_warned_of():
    # The reference has every pair of the answer, but "a" only twice where the answer has it three times.
    scores = score([("abaca", "bacxcab")], "char")
    assert scores.summary["bleu-2"].mean > scores.summary["bleu-1"].mean
    assert scores.warnings[0].startswith("BLEU-2")


WORDS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=9)


@settings(max_examples=100)
@given(WORDS, WORDS)
def test_smoothing_alone_never_breaks_the_order_of_bleu(said, wanted):
    """What the warning tells the user: only repeated words can, or the weights of BLEU-3, and only by a little."""
    scores = score_pair("".join(said), "".join(wanted), "char")
    ones, twos, threes, fours = (scores[f"bleu-{order}"] for order in (1, 2, 3, 4))
    assert fours <= threes or len(set(said)) < len(said)
    assert twos <= ones or len(set(said)) < len(said)
    assert twos <= ones * (len(said) / max(1, len(said) - 1)) ** 0.5 + 1e-4
    if len(set(said)) == len(said):
        assert threes ** (1 / 0.99) <= twos + 2e-4


SCRIPT = """
import os, sys, tempfile
from pediatricsgpt.evaluation.metrics import score_pair
assert not {"jieba", "nltk", "rouge", "rich", "numba"} & set(sys.modules), "the import is heavy"
score_pair("热", "热", "char")
before = score_pair("小儿豉翘清热颗粒", "小儿豉翘")
assert not os.listdir(tempfile.gettempdir()), "something was written"
assert "jieba" not in sys.modules
import jieba
jieba.setLogLevel("ERROR")
jieba.add_word("小儿豉翘")
assert jieba.lcut("小儿豉翘") == ["小儿豉翘"]
assert score_pair("小儿豉翘清热颗粒", "小儿豉翘") == before, "the user's dictionary changed a score"
assert not {"nltk", "rouge"} & set(sys.modules)
"""


def test_import_is_light_and_scoring_is_silent_writes_nothing_and_ignores_the_users_dictionary(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
