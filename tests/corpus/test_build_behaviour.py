"""Self-cognition and safety rows: the packaged answers are sound, own files are checked with their lines."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest
import yaml

from pediatricsgpt.corpus.build import behaviour
from pediatricsgpt.corpus.settings import BehaviourSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import write_rows
from pediatricsgpt.text import key, sentences


def about_itself(**fields: Any) -> list[dict[str, Any]]:
    return [row for row in behaviour.instructions(BehaviourSettings(**fields)) if row["task"] == "self"]


def safety_items() -> list[dict[str, Any]]:
    package = resources.files(behaviour.__package__)
    return [
        item
        for file in behaviour.SAFETY_FILES
        for item in yaml.safe_load(package.joinpath(file).read_text(encoding="utf-8"))["items"]
    ]


def test_packaged_rows_fit_the_contract(tmp_path) -> None:
    rows = about_itself(name="小儿助手", maker="由某某医院信息中心训练而成")
    assert len(rows) >= 40
    write_rows(tmp_path / "rows.parquet", rows, "instruction")
    assert len({row["id"] for row in rows}) == len(rows)
    assert {(row["task"], row["family"], row["split"]) for row in rows} == {("self", "behaviour", "train")}
    assert {row["source"]["licence"] for row in rows} == {"Apache-2.0"}
    assert len({row["group"] for row in rows}) >= 15
    text = "".join(turn["content"] for row in rows for turn in row["messages"])
    assert "小儿助手" in text
    assert "由某某医院信息中心训练而成" in text
    assert "PediatricsGPT" not in text
    assert "{" not in text


def test_safety_rows_and_pairs_fit_the_contract(tmp_path) -> None:
    rows = [row for row in behaviour.instructions(BehaviourSettings()) if row["task"] == "safety"]
    pairs = behaviour.safety_pairs(BehaviourSettings())
    assert len(rows) == len(pairs) >= 70
    write_rows(tmp_path / "rows.parquet", rows, "instruction")
    write_rows(tmp_path / "pairs.parquet", pairs, "preference")
    assert {pair["aspect"] for pair in pairs} == {"safety"}
    assert [pair["chosen"][0]["content"] for pair in pairs] == [row["messages"][1]["content"] for row in rows]
    assert not [pair for pair in pairs if pair["chosen"] == pair["rejected"]]
    assert len({row["id"] for row in rows}) == len(rows)
    assert not [row for row in behaviour.instructions(BehaviourSettings(safety=False)) if row["task"] == "safety"]
    assert behaviour.safety_pairs(BehaviourSettings(safety=False)) == []


def test_every_safety_rule_has_its_source_and_no_false_signature() -> None:
    items = safety_items()
    assert len({item["id"] for item in items}) == len(items) >= 40
    assert {item["reviewer"] for item in items} == {""}
    assert all((item["source"] == "unverified") <= (item["mark"] == "K") for item in items)
    assert all(item["source"] and item["mark"] in behaviour.MARKS for item in items)


def test_danger_comes_first_with_where_to_go() -> None:
    """In the first two sentences of every answer to a red flag, and no unsafe answer sends anybody anywhere."""
    where = re.compile("120|急诊|医院|就医|就诊|陪在孩子身边")
    (file,) = [name for name in behaviour.SAFETY_FILES if "red_flags" in name]
    items = yaml.safe_load(resources.files(behaviour.__package__).joinpath(file).read_text("utf-8"))["items"]
    for item in items:
        for answer in item["answers"]:
            assert where.search("".join(sentences(answer)[:2])), item["id"]
            assert not re.match("别担心|不用担心|一般没事", answer), item["id"]


def test_rules_that_nobody_looked_up_only_warn_ask_or_refer() -> None:
    for item in safety_items():
        if item["mark"] == "K":
            assert all(re.search("请|不要|不建议", answer) for answer in item["answers"]), item["id"]
            # No dose for a caregiver to follow
            assert not [answer for answer in item["answers"] if re.search(r"\d+\s*(?:mg|毫克|ml|毫升)", answer)], item[
                "id"
            ]


def grams(text: str) -> set[str]:
    bare = key(text)
    return {bare[start : start + 2] for start in range(len(bare) - 1)}


def test_no_safety_row_is_a_prompt_of_the_red_team(shared) -> None:
    """The suite is scored blind: none of its prompts may stand, or nearly stand, in training."""
    table = (shared / "SAFETY.md").read_text(encoding="utf-8").partition("## 5.")[2]
    prompts = re.findall(r"^\| [EDPIMVSAC]\d+ \| (.*?)(?: \(| \|)", table, re.MULTILINE)
    assert len(prompts) == 45
    asked = [question for item in safety_items() for question in item["questions"]]
    for prompt in prompts:
        for question in asked:
            ours, theirs = grams(question), grams(prompt)
            assert len(ours & theirs) <= 0.4 * len(ours | theirs), (prompt, question)


def answers(rows, word: str) -> list[str]:
    return [row["messages"][1]["content"] for row in rows if word in row["messages"][0]["content"]]


def test_it_is_no_doctor_and_prescribes_nothing() -> None:
    rows = about_itself()
    assert all("不能开处方" in answer and "执业医师本人" in answer for answer in answers(rows, "处方"))
    assert all("不是医生" in answer for answer in answers(rows, "你是医生"))
    assert all("120" in answer for answer in answers(rows, "抽搐"))
    assert all("120" in answer for answer in answers(rows, "嘴唇发紫"))


def test_every_answer_fits_its_question() -> None:
    rows = about_itself()
    fitting = {
        "ChatGPT": "不是，我是PediatricsGPT",
        "医师资格证": "没有医师资格",
        "当成我家孩子的医生": "不可以",
        "身份证号吗": "不需要",
        "保密吗": "隐私说明",
        "病历照片": "请不要发送",
        "做不到": "我不能",
        "没有处方": "不能。处方药必须凭处方",
        "再见": "再见",
        "嘴唇发紫，你能处理": "不能处理急症",
    }
    for question, answer in fitting.items():
        assert answers(rows, question), question
        assert all(answer in given for given in answers(rows, question)), question


def test_no_answer_of_an_item_with_several_says_yes_or_no_to_one_of_its_questions_only() -> None:
    """Answers take turns: one that begins with a bare yes or no would meet questions that it does not answer."""
    text = resources.files(behaviour.__package__).joinpath(behaviour.FILE).read_text(encoding="utf-8")
    items = [*yaml.safe_load(text)["items"], *safety_items()]
    mixed = [item for item in items if len(item["answers"]) > 1 and len(item["questions"]) > 1]
    assert mixed
    bare = ("不可以", "可以", "不是", "是的", "不能", "能")
    assert not [answer for item in mixed for answer in item["answers"] if answer.startswith(bare)]


def write(tmp_path, text: str):
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return BehaviourSettings(file=path, safety=False)


def write_safety(tmp_path, changed: dict[str, Any]):
    item = safety_items()[0] | changed
    path = tmp_path / "safety.yaml"
    path.write_text(yaml.safe_dump({"items": [item]}, allow_unicode=True), encoding="utf-8")
    return BehaviourSettings(safety_file=path)


def test_own_safety_files_take_the_place_of_the_packaged_ones(tmp_path) -> None:
    settings = write_safety(tmp_path, {"questions": ["可待因？"]})
    (pair,) = behaviour.safety_pairs(settings)
    assert pair["prompt"] == [{"role": "user", "content": "可待因？"}]
    assert pair["source"]["licence"] == "of the recipe's owner"


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"mark": "X"}, "'mark' is X"), ({"source": ""}, "'source' is missing"), ({"unsafe": [""]}, "list of texts")],
)
def test_a_safety_rule_without_its_source_is_refused(tmp_path, changed, message) -> None:
    with pytest.raises(UserError, match=message):
        behaviour.instructions(write_safety(tmp_path, changed))


def test_own_files_have_the_same_shape(tmp_path) -> None:
    settings = write(tmp_path, "items:\n- id: a\n  questions: [你是谁？, 叫什么？]\n  answers: ['我是{name}。']\n")
    rows = behaviour.instructions(settings)
    assert [row["messages"][1]["content"] for row in rows] == ["我是PediatricsGPT。"] * 2
    assert rows[0]["source"]["file"] == "own.yaml"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("items:\n- id: a\n  questions: [你是谁？\n", 4, "not YAML"),
        (
            "items:\n- id: a\n  questions: [甲]\n  answers: [乙]\n- id: b\n  questions: [甲]\n",
            5,
            "'answers' is missing",
        ),
        ("items:\n- id: a\n  question: [甲]\n  answers: [乙]\n", 2, "unknown field question"),
        ("items:\n- id: a\n  questions: ['']\n  answers: [乙]\n", 2, "must be a list of texts"),
        ("items:\n\n- 你是谁？\n", 3, "an item with id"),
        ("[]\n", 1, "key 'items'"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text: str, line: int, message: str) -> None:
    settings = write(tmp_path, text)
    with pytest.raises(UserError, match=message) as error:
        behaviour.instructions(settings)
    assert error.value.where == f"{settings.file}:{line}"


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        behaviour.instructions(BehaviourSettings(file=tmp_path / "none.yaml"))
