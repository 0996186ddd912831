"""What is read out of answers in free words, and what is not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.evaluation.letters import read_letters, read_pairing, read_true_false

OPTIONS = {"A": "肺炎", "B": "支气管炎", "C": "哮喘", "D": "感冒", "E": "麻疹"}


@pytest.mark.parametrize(
    ("answer", "letters"),
    [
        ("B", "B"),
        ("Ｂ。", "B"),
        ("(B)", "B"),
        ("**B**", "B"),
        ("$\\boxed{B}$", "B"),
        ("选项B", "B"),
        ("「答案：B」", "B"),
        ("正确答案：\nB", "B"),
        ("答案是 A. 肺炎", "A"),
        ("本题答案为选项C", "C"),
        ("最佳答案为 E 。", "E"),
        ("正确的选项是B", "B"),
        ("我选择C。", "C"),
        ("选B", "B"),
        ("这道题应选B", "B"),
        ("故答案选D", "D"),
        ("患儿咳嗽，A不符合，因此选D。", "D"),
        ("首先分析A选项……综上所述，正确答案是C。", "C"),
        ("A选项错误。B选项正确，故选B", "B"),
        ("<think>答案是A吧</think>答案是B", "B"),
        ("答案不是A，答案是B", "B"),
        ("不选A，选B", "B"),
        ("B. 支气管炎", "B"),
        ("B\n解析：若选A则错误", "B"),
        ("答案：B\n解析：A选项不正确，因此不选A。", "B"),
        ("支气管炎", "B"),
        ("AC", "AC"),
        ("A、C、D", "ACD"),
        ("答案：ACD。", "ACD"),
        ("正确选项为A和C", "AC"),
        ("答案：A，CT检查可以确诊", "A"),
        ("答案：A\nB选项错误，C选项也错误", "A"),
        ("答案：(A)(C)", "AC"),
        ("A\nC\nD", "ACD"),
        ("A. 肺炎\nC. 哮喘", "AC"),
        ("A. 肺炎\nB. 支气管炎\nC. 哮喘\nD. 感冒", "ABCD"),
        ("A. 肺炎\nB. 支气管炎\nC. 哮喘\nD. 感冒\nE. 麻疹\n答案：B", "B"),
        ("我认为是B", "B"),
        ("应该是B。", "B"),
        ("The answer is B.", "B"),
        ("Answer: C", "C"),
    ],
)
def test_the_chosen_letters_are_read(answer: str, letters: str) -> None:
    assert read_letters(answer, OPTIONS) == tuple(letters)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "抱歉，我无法回答这个问题。",
        "可能是A或B",
        "答案：A或B",
        "CT检查可以确诊",
        "B超检查",
        "维生素A和维生素D缺乏",
        "不正确的是A",
        "所以排除选A",
        "F",
        "答案：F",
        "选项A和选项C都正确",
        "肺炎或者哮喘",
        "A. 肺炎\nB. 支气管炎\nC. 哮喘\nD. 感冒\nE. 麻疹，都有可能",
    ],
)
def test_an_answer_that_names_none_is_unreadable(answer: str) -> None:
    assert read_letters(answer, OPTIONS) is None


@pytest.mark.parametrize(
    "around", ["{}", "答案：{}", "答案是{}。", "经过分析，患儿有咳嗽，故选{}", "**{}**", "正确答案为（{}）"]
)
@given(letters=st.sets(st.sampled_from("ABCDE"), min_size=1))
def test_every_subset_in_every_usual_form(around: str, letters: set[str]) -> None:
    for sign in ("", "、", "，", " "):
        assert read_letters(around.format(sign.join(sorted(letters))), OPTIONS) == tuple(sorted(letters))


@given(st.text(alphabet="肺炎发热的是不可能，。ABCT1 \n", max_size=40))
def test_only_options_are_ever_read(answer: str) -> None:
    assert set(read_letters(answer, OPTIONS) or ()) <= set(OPTIONS)
    assert read_true_false(answer) in (None, ("对",), ("错",))
    assert set(read_pairing(answer, 3, "ABC") or ()) <= {"A", "B", "C", None}


@pytest.mark.parametrize(
    "answer",
    [
        "1" + "-" * 20_000,
        "答案" + "\n" * 20_000,
        "A、" * 10_000 + "！",
        "(" * 20_000,
        "答案是" * 8_000,
        "1 " * 10_000,
        "不对吗" * 8_000,
        "故" * 20_000,
        "A. 肺炎\n" * 5_000,
        " \n" * 10_000 + "选",
        "综上" * 9_000,
    ],
)
def test_an_answer_that_repeats_itself_is_read_in_no_time(answer: str) -> None:
    begun = time.process_time()
    read_letters(answer, OPTIONS)
    read_true_false(answer)
    read_pairing(answer, 4, "ABCD")
    assert time.process_time() - begun < 1.0


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("对", "对"),
        ("正确。", "对"),
        ("是的", "对"),
        ("True", "对"),
        ("这句话正确", "对"),
        ("这个表述或做法是正确的。", "对"),
        ("答案：对", "对"),
        ("错", "错"),
        ("错误。因为早产儿少见", "错"),
        ("不正确", "错"),
        ("不对", "错"),
        ("这个说法是错误的", "错"),
        ("该说法不正确，正确的是足月儿", "错"),
        ("对于这个问题，答案是错", "错"),
        ("判断：错", "错"),
        ("我不知道", None),
        ("是否正确要看情况", None),
        ("这句话对吗？", None),
        ("", None),
    ],
)
def test_true_or_false_is_read(answer: str, verdict: str | None) -> None:
    assert read_true_false(answer) == (None if verdict is None else (verdict,))


@pytest.mark.parametrize(
    ("answer", "letters"),
    [
        ("1-B；2-A；3-C", ("B", "A", "C")),
        ("1. B\n2. A\n3. C", ("B", "A", "C")),
        ("（1）B（2）A（3）C", ("B", "A", "C")),
        ("第1题选B，第2题选A，第3题选C", ("B", "A", "C")),
        ("１→Ｂ，２→Ａ，３→Ｃ", ("B", "A", "C")),
        ("BAC", ("B", "A", "C")),
        ("B、A、C。", ("B", "A", "C")),
        ("问题1：B，问题2：A", ("B", "A", None)),
        ("1-B；2-Z；3-C", ("B", None, "C")),
        ("1-A，不，1-B；2-A；3-C", ("B", "A", "C")),
        ("BA", None),
        ("1.维生素D缺乏", None),
        ("不知道", None),
    ],
)
def test_pairs_are_read(answer: str, letters: tuple[str | None, ...] | None) -> None:
    assert read_pairing(answer, 3, "ABC") == letters
