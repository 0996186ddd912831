from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.compare import answers_to_one_question, changes, compared, models_of, pairs
from pediatricsgpt.evaluation.metrics import score_pair
from pediatricsgpt.evaluation.statistics import paired_bootstrap_difference
from pediatricsgpt.records import write_json_lines

from .conftest import MODELS, PER_TASK, TASKS, SmallRun, write_evaluation


def lines(run: SmallRun, model: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.predictions(model).read_text(encoding="utf-8").splitlines()]


def test_models_come_in_the_order_in_which_they_are_made(whole: SmallRun) -> None:
    assert models_of(whole.folder) == list(MODELS)
    assert list(compared(whole.folder)[0].answers) == list(MODELS)


def test_items_are_aligned_by_id_and_not_by_line(whole: SmallRun) -> None:
    rows = lines(whole, "sft")
    write_json_lines(whole.predictions("sft"), reversed(rows))
    found = {item.id: item.answers["sft"] for item in compared(whole.folder)}
    assert found == {row["id"]: row["prediction"] for row in rows}


def test_only_items_that_every_model_answered_are_compared(whole: SmallRun) -> None:
    write_evaluation(whole, "base", "不同", per_task=3)
    assert len(compared(whole.folder)) == 3 * len(TASKS)


def test_an_id_that_stands_for_two_questions_is_refused(whole: SmallRun) -> None:
    rows = lines(whole, "cpt")
    rows[0]["reference"] = "另一个参考答案"
    write_json_lines(whole.predictions("cpt"), rows)
    with pytest.raises(UserError, match=r"cpt.*predictions\.jsonl.*'base'"):
        compared(whole.folder)


def test_pairs_are_neighbours_and_the_two_ends() -> None:
    assert pairs(["base"]) == []
    assert pairs(["base", "sft"]) == [("base", "sft")]
    assert pairs(["base", "cpt", "sft"]) == [("base", "cpt"), ("cpt", "sft"), ("base", "sft")]


def test_changes_are_the_paired_differences_of_the_scores(whole: SmallRun) -> None:
    items = compared(whole.folder)
    found = changes(items, "paper")
    assert len(found) == len(TASKS) * len(pairs(MODELS)) * 2
    change = next(one for one in found if (one.task, one.before, one.model) == ("medkqa", "base", "cpt"))
    own = [item for item in items if item.task == "medkqa"]
    after, before = (
        [100 * score_pair(item.answers[model], item.reference)["rouge-l"] for item in own] for model in ("cpt", "base")
    )
    assert (change.metric, change.difference) == ("rouge-l", paired_bootstrap_difference(after, before))
    assert (change.difference.verdict, change.difference.n) == ("better", PER_TASK)


def test_equal_models_get_no_verdict_and_few_items_too(whole: SmallRun) -> None:
    for model in MODELS:
        write_evaluation(whole, model, "一样")
    assert {change.difference.verdict for change in changes(compared(whole.folder), "char")} == {"no verdict"}
    write_evaluation(whole, "experts", "三个月以内的婴儿发热应当尽快就诊", per_task=5)
    few = [change for change in changes(compared(whole.folder), "char") if change.model == "experts"]
    assert {(change.difference.verdict, change.difference.n) for change in few} == {("no verdict", 5)}


def test_one_question_and_every_models_answer_to_it(whole: SmallRun) -> None:
    found = answers_to_one_question(whole.folder)
    assert [title for title, _ in found] == ["question", *MODELS]
    first = next(line for line in lines(whole, "base") if line["task"] == "trerecom")
    assert found[0][1] == first["messages"][0]["content"]
    assert dict(found)["dfpo"] == lines(whole, "dfpo")[0]["prediction"]


def test_the_question_for_the_terminal_has_one_turn_if_any_has(whole: SmallRun) -> None:
    for model in MODELS:
        rows = lines(whole, model)
        write_json_lines(whole.predictions(model), sorted(rows, key=lambda row: row["task"] != "evidiag"))
    assert len(compared(whole.folder)[0].messages) > 1
    assert "有没有发热" not in answers_to_one_question(whole.folder)[0][1]


def test_an_empty_answer_is_said_to_be_empty(whole: SmallRun) -> None:
    rows = lines(whole, "base")
    write_json_lines(whole.predictions("base"), [{**row, "prediction": " "} for row in rows])
    assert dict(answers_to_one_question(whole.folder))["base"] == "(empty answer)"


def test_a_run_without_evaluation_has_no_question(with_corpus: SmallRun) -> None:
    assert answers_to_one_question(with_corpus.folder) == []
    assert changes([], "paper") == []


def test_questions_of_one_case_are_resampled_together(whole: SmallRun) -> None:
    own = [item for item in compared(whole.folder) if item.task == "medkqa"]
    few = [replace(item, group=f"patient {place % 3}") for place, item in enumerate(own)]
    assert {one.difference.verdict for one in changes(own, "char") if one.model == "cpt"} == {"better"}
    found = [one for one in changes(few, "char") if one.model == "cpt"]
    assert {(one.difference.verdict, one.difference.n) for one in found} == {("no verdict", PER_TASK)}
    assert min(one.p for one in found) >= 2 / 2**3
    after, before = (
        [100 * score_pair(item.answers[model], item.reference, "char")["rouge-l"] for item in few]
        for model in ("cpt", "base")
    )
    assert found[0].difference == paired_bootstrap_difference(after, before, groups=[item.group for item in few])


def test_the_case_of_a_question_is_that_of_the_predictions(whole: SmallRun) -> None:
    rows = lines(whole, "sft")
    write_json_lines(whole.predictions("sft"), [{**row, "group": "patient"} for row in rows])
    assert {item.group for item in compared(whole.folder)} == {"patient"}


def test_scores_that_were_written_are_read_and_others_made_anew(whole: SmallRun) -> None:
    items = [item for item in compared(whole.folder) if item.task == "medkqa"]
    written = {item.id: {"rouge-l": 0.25, "bleu-4": 0.5} for item in items}
    scored = {"base": written, "cpt": {**written, items[0].id: {"rouge-l": 1.0, "bleu-4": 1.0}}}
    found = {(one.before, one.model, one.metric): one for one in changes(items, "char", scored=scored)}
    assert found["base", "cpt", "rouge-l"].difference.mean == pytest.approx(75 / len(items))
    anew = {(one.before, one.model, one.metric): one for one in changes(items, "char")}
    assert found["sft", "dfpo", "rouge-l"].difference == anew["sft", "dfpo", "rouge-l"].difference
    del scored["cpt"][items[0].id]  # one item that is not there, and the model is scored anew
    again = {(one.before, one.model, one.metric): one for one in changes(items, "char", scored=scored)}
    assert again["cpt", "sft", "rouge-l"].difference == anew["cpt", "sft", "rouge-l"].difference
