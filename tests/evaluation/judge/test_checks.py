"""Who may judge, and when a conclusion may be drawn."""

from __future__ import annotations

import pytest

from pediatricsgpt.endpoint.settings import TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.judge.checks import headline, teachers_too


def model(name: str, port: int = 1) -> TeacherSettings:
    return TeacherSettings(base_url=f"http://127.0.0.1:{port}/v1", model=name)


@pytest.mark.parametrize("taught", [model("Qwen/Qwen2.5-72B"), model("qwen2.5-72b", 9), "qwen2.5-72B"])
def test_a_teacher_may_not_judge_at_whatever_address_it_stands(taught: TeacherSettings | str) -> None:
    judges = [model("other"), model("Qwen/Qwen2.5-72B")]
    for reason in (None, "", "  "):
        with pytest.raises(UserError, match="wrote training data itself"):
            teachers_too(judges, [taught], reason)
    assert teachers_too(judges, [taught], "no other judge may see the data") == [False, True]
    assert teachers_too(judges[:1], [taught]) == [False]
    assert teachers_too(judges, []) == [False, False]


def test_no_headline_but_from_judges_that_all_passed() -> None:
    def entry(passed: bool) -> dict[str, object]:
        return {"passed": passed, "against": "d", "bar": "x", "passed_on": "overall", "prompt": {"sha256": "1" * 64}}

    judges = [model("a"), model("b")]
    for known, passed, why in (
        ({}, [False, False], "a was never validated (pedgpt validate-judge); b was never"),
        ({"a": True}, [True, False], "b was never validated"),
        ({"a": True, "b": False}, [True, False], "b did not pass"),
        ({"a": True, "b": True}, [True, True], "a passed"),
    ):
        content = {"judges": {name: entry(good) for name, good in known.items()}}
        found = headline(judges, content, "1" * 64)
        assert found[0] == passed
        assert found[1]["allowed"] is all(passed)
        assert why in found[1]["why"]
    assert headline(judges, None, "1" * 64)[0] == [False, False]
    other_prompt = headline(judges[:1], {"judges": {"a": entry(True)}}, "2" * 64)
    assert other_prompt[0] == [False]
    assert "another prompt" in other_prompt[1]["why"]


def test_a_judge_that_saw_one_order_alone_gives_no_headline_though_it_was_validated() -> None:
    entry = {"passed": True, "against": "d", "bar": "x", "passed_on": "overall", "prompt": {"sha256": "1" * 64}}
    passed, found = headline([model("a")], {"judges": {"a": entry}}, "1" * 64, both_orders=False)
    assert (passed, found["allowed"]) == ([True], False)
    assert "one order only" in found["why"]
