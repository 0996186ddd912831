"""Self-cognition: the packaged answers are sound, own files are checked with their lines."""

from __future__ import annotations

from importlib import resources

import pytest
import yaml

from pediatricsgpt.corpus.build import behaviour
from pediatricsgpt.corpus.settings import BehaviourSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import write_rows


def test_packaged_rows_fit_the_contract(tmp_path) -> None:
    rows = behaviour.instructions(BehaviourSettings(name="小儿助手"))
    assert len(rows) >= 40
    write_rows(tmp_path / "rows.parquet", rows, "instruction")
    assert len({row["id"] for row in rows}) == len(rows)
    assert {(row["task"], row["family"], row["split"]) for row in rows} == {("self", "behaviour", "train")}
    assert {row["source"]["licence"] for row in rows} == {"Apache-2.0"}
    assert len({row["group"] for row in rows}) >= 15
    text = "".join(turn["content"] for row in rows for turn in row["messages"])
    assert "小儿助手" in text
    assert "{" not in text


def answers(rows, word: str) -> list[str]:
    return [row["messages"][1]["content"] for row in rows if word in row["messages"][0]["content"]]


def test_it_is_no_doctor_and_prescribes_nothing() -> None:
    rows = behaviour.instructions(BehaviourSettings())
    assert all("不能开处方" in answer and "执业医师本人" in answer for answer in answers(rows, "处方"))
    assert all("不是医生" in answer for answer in answers(rows, "你是医生"))
    assert all("120" in answer for answer in answers(rows, "抽搐"))
    assert all("120" in answer for answer in answers(rows, "嘴唇发紫"))


def test_every_answer_fits_its_question() -> None:
    rows = behaviour.instructions(BehaviourSettings())
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
    items = yaml.safe_load(resources.files(behaviour.__package__).joinpath(behaviour.FILE).read_text("utf-8"))["items"]
    mixed = [item for item in items if len(item["answers"]) > 1 and len(item["questions"]) > 1]
    assert mixed
    bare = ("不可以", "可以", "不是", "是的", "不能", "能")
    assert not [answer for item in mixed for answer in item["answers"] if answer.startswith(bare)]


def write(tmp_path, text: str):
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return BehaviourSettings(file=path)


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
