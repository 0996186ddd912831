"""Choices by likelihood against token log-probabilities computed one by one, and by letter against counts by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.evaluation.choices import (
    Choice,
    LetterLikelihood,
    choice_prompt,
    letter_log_probabilities,
    write_choices,
)
from pediatricsgpt.models.encode import encode_answer
from pediatricsgpt.records import Message

OPTIONS = {"A": "肺炎", "B": "哮喘", "C": "感冒"}


def item(
    name: str = "1",
    key: tuple[str, ...] = ("B",),
    kind: Any = "choice",
    question: str = "患儿咳嗽，诊断为",
    options: dict[str, str] = OPTIONS,
    **labels: Any,
) -> Item:
    messages = [Message(role="user", content=question)]
    return Item(name, messages, options=options, key=key, kind=kind, **labels)


def one_by_one(loaded: Any, prompt: list[Message], letter: str) -> float:
    """The same figure the slow and obvious way: a forward pass for each token of the letter, nothing shared."""
    import torch

    asked, told = encode_answer(loaded.tokenizer, prompt, Message(role="assistant", content=letter))
    total = 0.0
    for place, token in enumerate(told[:-1]):
        with torch.inference_mode():
            logits = loaded.model(input_ids=torch.tensor([asked + told[:place]])).logits[0, -1]
        total += float(torch.log_softmax(logits.double(), -1)[token])
    return total


def test_the_likelihood_of_a_letter_is_the_sum_over_its_tokens(loaded: Any) -> None:
    # the last "letter" has many tokens, so that more than one is summed
    questions = [item(question="短"), item(question="患儿三岁，咳嗽一周，夜间加重，双肺可闻及哮鸣音，最可能的诊断是")]
    prompts = [choice_prompt().messages(one) for one in questions]
    letters = [["A", "B", "C", "支气管哮喘"], ["A", "B", "正确"]]
    found = letter_log_probabilities(loaded, prompts, letters)
    for prompt, told in zip(prompts, found, strict=True):
        assert told == {letter: pytest.approx(one_by_one(loaded, prompt, letter), abs=1e-4) for letter in told}


@pytest.mark.parametrize("batch_tokens", [1, 200, 100_000])
def test_neither_the_batch_nor_the_order_of_items_matters(loaded: Any, batch_tokens: int) -> None:
    items = [item(str(number), question="咳嗽" * (number + 1)) for number in range(7)]
    prompts = [choice_prompt().messages(one) for one in items]
    letters = [list(OPTIONS)] * 7
    found = letter_log_probabilities(loaded, prompts, letters)
    again = letter_log_probabilities(loaded, prompts[::-1], letters, batch_tokens)[::-1]
    for first, second in zip(found, again, strict=True):
        assert first == pytest.approx(second, abs=1e-4)


def test_the_order_of_the_letters_does_not_matter(loaded: Any) -> None:
    prompt = choice_prompt().messages(item())
    (first,) = letter_log_probabilities(loaded, [prompt], [["A", "B", "C"]])
    (second,) = letter_log_probabilities(loaded, [prompt], [["C", "A", "B"]])
    assert first == pytest.approx(second, abs=1e-5)


def test_what_was_measured_before_a_kill_is_not_measured_again(loaded: Any) -> None:
    items = [item(str(number), question="咳嗽" * (number + 1)) for number in range(5)]
    prompts = [choice_prompt().messages(one) for one in items]
    whole = [pair for group in LetterLikelihood(loaded, items, group=2).answers(prompts) for pair in group]
    rest = [pair for group in LetterLikelihood(loaded, items, group=2).answers(prompts, done=[0, 1]) for pair in group]
    assert [index for index, _ in rest] == [2, 3, 4]
    assert rest == whole[2:]


def test_the_prompt_says_whether_one_or_several_are_right() -> None:
    prompt = choice_prompt()
    said = {
        kind: prompt.messages(one)[-1]["content"]
        for kind, one in {
            "one": item(),
            "several": item(key=("A", "C")),
            "true": item(kind="true_false", options={"对": "对", "错": "错"}, key=("错",)),
            "pairs": item(kind="pairing", key=("B", "A")),
        }.items()
    }
    assert "单项" in said["one"]
    assert "A. 肺炎\nB. 哮喘\nC. 感冒" in said["one"]
    assert "多项" in said["several"]
    assert "A. " not in said["true"]
    assert "“错”" in said["true"]
    assert "1-A；2-B" in said["pairs"]
    assert all("患儿咳嗽" in text for text in said.values())


def test_braces_in_a_question_are_text() -> None:
    assert "{x} {0}" in choice_prompt().messages(item(question="{x} {0}"))[-1]["content"]


def test_the_prompt_has_a_name_a_version_and_a_hash() -> None:
    about = choice_prompt().described()
    assert (about["name"], about["version"], len(about["sha256"])) == ("choice-zh", 1, 64)


@pytest.mark.parametrize(("answer", "points"), [("1-B；2-A；3-C", 3), ("1-B；2-C；3-A", 1), ("1-A", 0), ("不知道", 0)])
def test_a_pairing_has_three_points_when_whole_and_one_in_part(answer: str, points: float) -> None:
    choice = Choice(item(kind="pairing", key=("B", "A", "C")), None, answer)
    assert choice.points(choice.chosen) == points
    assert choice.worth == 3


def test_a_pairing_that_repeats_the_options_as_shown_has_no_points_but_when_it_is_right() -> None:
    assert Choice(item(kind="pairing", key=("A", "C", "B")), None, None).points(("A", "B", "C")) == 0
    assert Choice(item(kind="pairing", key=("A", "B", "C")), None, None).points(("A", "B", "C")) == 3


def test_several_right_options_count_where_exactly_these_are_named() -> None:
    right = [Choice(item(key=("A", "C")), None, answer) for answer in ("CA", "A", "ABC", "C")]
    assert [choice.points(choice.chosen) for choice in right] == [1, 0, 0, 0]


def test_of_equal_likelihoods_the_first_letter_is_the_choice() -> None:
    assert Choice(item(), {"C": -1.0, "B": -1.0, "A": -2.0}, None).likeliest == "B"


def choices() -> list[Choice]:
    likely = {"A": -3.0, "B": -1.0, "C": -2.0}
    unlikely = {"A": -1.0, "B": -3.0, "C": -2.0}
    return [
        Choice(item("1", department="儿科", age_band="infant"), likely, "B"),
        Choice(item("2", department="儿科"), unlikely, "答案：B"),
        Choice(item("3", department="内科"), unlikely, "无法回答"),
        Choice(item("4", key=("A", "C")), None, "AC"),
        Choice(item("5", kind="pairing", key=("B", "A")), None, "1-B；2-C"),
    ]


def test_both_ways_are_counted_with_n_and_intervals(tmp_path: Path) -> None:
    found = write_choices(tmp_path, choices(), "cmb", "base", choice_prompt())
    assert found == json.loads((tmp_path / "choices.json").read_text("utf-8"))
    assert found["n"] == 5
    likelihood, letter = found["by_likelihood"], found["by_letter"]
    assert (likelihood["accuracy"]["n"], likelihood["accuracy"]["mean"]) == (3, pytest.approx(1 / 3))
    assert (letter["accuracy"]["n"], letter["accuracy"]["mean"]) == (5, pytest.approx(3 / 5))
    assert letter["points"]["mean"] == pytest.approx((1 + 1 + 0 + 1 + 1) / (1 + 1 + 1 + 1 + 3))
    assert letter["unreadable"] == 1
    assert letter["accuracy"]["low"] <= letter["accuracy"]["mean"] <= letter["accuracy"]["high"]
    assert found["chance"] == pytest.approx(1 / 3)
    assert found["chosen"] == {"by_likelihood": {"A": 2, "B": 1}, "by_letter": {"B": 2}}
    assert found["why_no_likelihood"] is None


def test_strata_add_up_to_all(tmp_path: Path) -> None:
    strata = write_choices(tmp_path, choices(), "cmb", "base", choice_prompt())["strata"]
    assert {value: group["n"] for value, group in strata["department"].items()} == {"儿科": 2, "内科": 1, "unknown": 2}
    assert sum(group["n"] for group in strata["kind"].values()) == 5
    assert strata["kind"]["pairing"]["by_likelihood"] is None
    assert strata["department"]["儿科"]["by_likelihood"]["mean"] == 0.5
    assert "subject" not in strata


def test_without_likelihoods_the_file_says_why(tmp_path: Path) -> None:
    answered = [Choice(choice.item, None, choice.answer) for choice in choices()]
    found = write_choices(tmp_path, answered, "cmb", "api", None, "an endpoint")
    assert found["by_likelihood"] is None
    assert found["why_no_likelihood"] == "an endpoint"
    assert found["prompt"] is None


def test_rows_say_what_was_chosen_and_why(tmp_path: Path) -> None:
    write_choices(tmp_path, choices(), "cmb", "base", choice_prompt())
    rows = [json.loads(line) for line in (tmp_path / "choices.jsonl").read_text("utf-8").splitlines()]
    assert [row["right"] for row in rows] == [True, False, False, True, False]
    assert rows[2]["by_letter"] is None
    assert rows[4]["by_letter"] == ["B", "C"]
    assert rows[0]["log_probabilities"] == {"A": -3.0, "B": -1.0, "C": -2.0}
