"""The construction rules with a teacher: a real server answers, and what is not faithful is rejected with a reason."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus.build import distill, reconstruct, role_play_teacher
from pediatricsgpt.corpus.build.cost import costs
from pediatricsgpt.corpus.build.instructions import TEACHER_RULES, build_instructions
from pediatricsgpt.corpus.build.preferences import medical_pairs, prompts_for_low_answers
from pediatricsgpt.corpus.build.preferences_teacher import preferred, weak_answers
from pediatricsgpt.corpus.build.teacher import prompt, prompt_with_pairs
from pediatricsgpt.corpus.deidentify import EXEMPT_STEP, STEP
from pediatricsgpt.corpus.settings import (
    BuildSettings,
    DistillSettings,
    PreferenceSettings,
    ReconstructSettings,
    RolePlaySettings,
)
from pediatricsgpt.endpoint import BudgetReached, Endpoint, TeacherSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import write_rows
from tests.openai_server import Fault, OpenAIServer

SPAN = "腺病毒肺炎最常发生于6个月至5岁儿童。轻症患儿以休息和补液为主，不推荐常规使用抗菌药物。"
QUESTION = "腺病毒肺炎的轻症患儿应当如何治疗？"
Body = Mapping[str, Any]


def said(body: Body) -> str:
    """What the teacher is given last."""
    return str(body["messages"][-1]["content"])


def doctor_turns(text: str) -> list[str]:
    return re.findall(r"^医生\d+：(.*)$", text.rpartition("<<<")[2], re.MULTILINE)


def faithful(body: Body) -> str:
    """A teacher that keeps to what it is given."""
    system, text = body["messages"][0]["content"], said(body)
    span = text.rpartition("<<<\n")[2].partition("\n>>>")[0]
    if "提问者" in system:
        wanted = re.search(r"优先提出“(\w+)", text)
        assert wanted
        return json.dumps({"type": wanted[1], "question": f"{SPAN[:5]}的要点有哪些？"}, ensure_ascii=False)
    if "指定资料" in system:
        return json.dumps({"answer": f"{span}请放心。", "evidence": [span[-16:]]}, ensure_ascii=False)
    if "参考回答" in text:
        return json.dumps({"answer": f"我理解您的担心。{span}"}, ensure_ascii=False)
    return json.dumps({"turns": [f"您好，{turn}请放心。" for turn in doctor_turns(text)]}, ensure_ascii=False)


def instead(find: str, put: str, when: str = "") -> Callable[[Body], str]:
    """The faithful teacher, but that it writes one thing for another (where `when` is said to it)."""
    return lambda body: (
        faithful(body).replace(find, put) if when in json.dumps(body, ensure_ascii=False) else faithful(body)
    )


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(faithful) as running:
        yield running


@pytest.fixture
def teacher(server: OpenAIServer, tmp_path: Path) -> Iterator[Endpoint]:
    with Endpoint(settings(server), tmp_path / "cache") as endpoint:
        yield endpoint


def settings(server: OpenAIServer, **changed: Any) -> TeacherSettings:
    return TeacherSettings(base_url=server.base_url, model="lehrer-7b", retry_pause=0.01, **changed)


def section(make: Any, text: str = SPAN, **fields: Any) -> Any:
    fields = {"split": "train", "pediatric": True} | fields
    return make.section(text, "腺病毒肺炎诊疗规范", "治疗", **fields)


def test_role_play_makes_grounded_rows_with_their_provenance(make, teacher, tmp_path) -> None:
    record = section(make)
    built = role_play_teacher.build([record], RolePlaySettings(), teacher)
    (row,) = built.rows
    assert (built.read, built.rejects) == (1, [])
    assert row["messages"][0] == {"role": "user", "content": "腺病毒肺炎的要点有哪些？"}
    assert row["messages"][1] == {"role": "assistant", "content": f"{SPAN}请放心。"}
    inquirer, pediatrician = row["steps"][-2:]
    assert (inquirer["name"], pediatrician["name"]) == ("role_play:inquirer", "role_play")
    assert {inquirer["teacher"], pediatrician["teacher"]} == {"lehrer-7b"}
    assert inquirer["prompt_hash"] == prompt("inquirer").hash
    assert pediatrician["prompt_hash"] == prompt("pediatrician").hash
    assert [(one["step"], one["reasons"]) for one in built.passes] == [("role_play:inquirer", []), ("role_play", [])]
    assert {one["parent"] for one in built.passes} == {record.id}
    write_rows(tmp_path / "rows.parquet", built.rows, "instruction")


@pytest.mark.parametrize(
    ("find", "put", "reason"),
    [
        ("6个月至", "3个月至", "3"),
        ("请放心", "并服用阿奇霉素5ml", "5"),
        ("请放心", "同时要警惕川崎病", "added disease: 川崎病"),
        ('"evidence": ["', '"evidence": ["我记得教科书上', "no evidence: none of the quoted words stands in the span"),
        (f"{SPAN}请放心。", "好的。", "answer too short: 3 characters"),
        (f"{SPAN}请放心。", "腺病毒肺炎的要点有哪些。", "answer repeats the question: it says nothing else"),
        ("腺病毒肺炎的要点有哪些", "上文的要点有哪些", "question points elsewhere: 上文"),
        ("腺病毒肺炎的要点有哪些？", "腺病毒肺炎以休息和补液为主。", "no question: a statement in its place"),
        ("腺病毒肺炎的要点有哪些", "3岁孩子的腺病毒肺炎怎么办", "3岁"),
        ('"question"', '"frage"', "inquirer: teacher: wrong schema: question: Field required"),
    ],
)
def test_role_play_rejects_what_the_span_does_not_say(make, server, teacher, find, put, reason) -> None:
    server.answer = instead(find, put)
    built = role_play_teacher.build([section(make)], RolePlaySettings(min_answer_characters=8), teacher)
    assert built.rows == []
    (reject,) = built.rejects
    assert reason in reject.reason
    assert reject.row["text"] == SPAN
    assert built.passes[-1]["reasons"][0] == reject.reason


def test_types_of_questions_are_balanced_over_a_set(make, server, teacher) -> None:
    text = (
        "腺病毒肺炎是由病毒引起的疾病，表现为发热，需要检查、治疗和护理，与其他肺炎相鉴别，可接种疫苗预防，预后良好。"
    )
    marks = ["甲乙丙丁戊己庚辛壬"[n % 9] * (n // 9 + 1) for n in range(36)]
    records = [make.section(f"{text}编号{mark}。", "腺病毒肺炎", split="train") for mark in marks]
    built = role_play_teacher.build(records, RolePlaySettings(), teacher)
    asked = [one["wrote"]["type"] for one in built.passes if one["step"] == "role_play:inquirer"]
    assert {kind: asked.count(kind) for kind in role_play_teacher.types()} == dict.fromkeys(
        role_play_teacher.types(), 4
    )
    assert sum(built.counts["question_types"].values()) == len(built.rows)


def test_long_sections_become_spans_and_each_is_accounted_for(make, teacher) -> None:
    built = role_play_teacher.build(
        [section(make, SPAN * 8), make.section("组长：某某。", "专家组名单"), make.section("短。", "腺病毒肺炎")],
        RolePlaySettings(max_span_characters=120),
        teacher,
    )
    assert built.read == len(built.rows) + len(built.rejects) > 4
    assert sorted(reject.reason.split(":")[0] for reject in built.rejects) == [
        "heading says nothing to ask for",
        "section too short",
    ]


def test_old_books_are_not_given_to_a_teacher(make, server, teacher) -> None:
    book = make.section(
        "夫小儿者，其气未盛也。其病之作，乃食伤之者也。" * 3, "幼科发挥", "卷一", "论惊", kind="textbook"
    )
    built = role_play_teacher.build([book], RolePlaySettings(), teacher)
    assert server.requests == []
    assert [step["teacher"] for row in built.rows for step in row["steps"]] == ["none"] * 2 * len(built.rows)
    assert len(built.rows) == 1


DIALOGUE = ("宝宝3岁，发烧38.5度，能吃布洛芬吗？", "可以 5ml 隔6小时", "要吃抗生素吗？", "不用吃抗生素")


def test_conversations_are_rewritten_after_worked_pairs(make, server, teacher, tmp_path) -> None:
    records = [
        make.dialogue(*DIALOGUE, split="train", task="evidiag"),
        make.dialogue("可以用酱油塞鼻孔吗？", "不可以。", task="safety", split="train"),
        make.dialogue("写一首诗", "好。", family="general", task="general", split="train"),
        make.dialogue("什么是肺炎？", "肺部炎症。", family="distilled", split="train"),
        make.dialogue("孩子咳嗽", "长" * 300, split="train"),
    ]
    built = reconstruct.build(records, ReconstructSettings(max_characters=200, worked_pairs=2), teacher)
    assert (built.read, len(built.rows), len(built.rejects)) == (4, 3, 1)
    (row,) = [row for row in built.rows if row["task"] == "evidiag"]
    assert [turn["content"] for turn in row["messages"]] == [
        DIALOGUE[0],
        f"您好，{DIALOGUE[1]}请放心。",
        DIALOGUE[2],
        f"您好，{DIALOGUE[3]}请放心。",
    ]
    assert row["steps"][-1] == {
        "name": "reconstruct",
        "version": 1,
        "teacher": "lehrer-7b",
        "prompt_hash": prompt_with_pairs("reconstruct", 2).hash,
    }
    (body,) = server.requests
    assert [turn["role"] for turn in body["messages"]] == ["system", *["user", "assistant"] * 2, "user"]
    write_rows(tmp_path / "rows.parquet", built.rows, "instruction")


@pytest.mark.parametrize(
    ("find", "put", "reason"),
    [
        ("5ml", "10ml", "10"),
        ("5ml", "少量", "5"),
        ("6小时", "6小时，另外加用川崎病的检查", "added disease: 川崎病"),
        ('", "您好，不用吃抗生素请放心。', "", "wrong number of turns: 1 instead of 2"),
        ("您好，不用吃抗生素请放心。", " ", "empty turn"),
        ('"turns"', '"saetze"', "teacher: wrong schema: turns: Field required"),
        ('{"turns"', "turns", "teacher: broken JSON"),
    ],
)
def test_a_rewriting_that_changes_something_is_rejected(make, server, teacher, find, put, reason) -> None:
    server.answer = instead(find, put)
    built = reconstruct.build([make.dialogue(*DIALOGUE, split="train")], ReconstructSettings(), teacher)
    assert built.rows == []
    assert reason in built.rejects[0].reason
    assert built.rejects[0].row["messages"][1]["content"] == DIALOGUE[1]
    assert len(built.passes) == 1


def test_a_copied_label_is_taken_off(make, server, teacher) -> None:
    server.answer = instead('"您好，', '"医生1：您好，')
    built = reconstruct.build([make.dialogue(*DIALOGUE, split="train")], ReconstructSettings(), teacher)
    assert built.rows[0]["messages"][1]["content"] == f"您好，{DIALOGUE[1]}请放心。"


def test_dialogues_that_come_back_as_they_were_are_counted(make, server, teacher) -> None:
    server.answer = lambda body: json.dumps({"turns": doctor_turns(said(body))}, ensure_ascii=False)
    built = reconstruct.build([make.dialogue(*DIALOGUE, split="train")], ReconstructSettings(), teacher)
    assert len(built.rows) == 1
    assert built.counts == {"reconstruct:unchanged": 1}


ITEM = ("小儿腹泻怎么办？", "小儿腹泻要补液，口服补液盐每次50ml，不要禁食。")


def test_distilled_items_go_through_the_named_steps(make, server, teacher) -> None:
    records = [
        make.dialogue(*ITEM, family="distilled", task="medkqa", split="train"),
        make.dialogue("小儿腹泻的原因？", "感染。", family="distilled", task="medkqa", split="train"),
    ]
    built = distill.build(records, DistillSettings(), teacher)
    assert (built.read, [reject.reason for reject in built.rejects]) == (2, ["answer too short: 3 characters"])
    names = ["correct_and_complete", "structured_with_evidence_and_safety_net", "humane_tone"]
    steps = built.rows[0]["steps"][-3:]
    assert [step["name"] for step in steps] == [f"distill:{name}" for name in names]
    assert [step["prompt_hash"] for step in steps] == [prompt(f"distill_{name}").hash for name in names]
    assert [one["wrote"]["turns"][0].count("您好") for one in built.passes] == [1, 2, 3]
    assert built.rows[0]["messages"][1]["content"].count("您好") == 3


def test_each_step_is_checked_against_the_one_before(make, server, teacher) -> None:
    server.answer = instead("50ml", "80ml", when="语气")
    records = [make.dialogue(*ITEM, family="distilled", split="train")]
    built = distill.build(records, DistillSettings(), teacher)
    (reject,) = built.rejects
    assert reject.step == "distill:humane_tone"
    assert "80" in reject.reason
    assert [bool(one["reasons"]) for one in built.passes] == [False, False, True]


def test_only_the_safety_net_may_name_new_symptoms(make, server, teacher) -> None:
    net = "如果出现嗜睡、呕吐，请及时就医。"
    record = make.dialogue(*ITEM, family="distilled", split="train")
    server.answer = instead("请放心。", net, when="安全提示")
    assert len(distill.build([record], DistillSettings(), teacher).rows) == 1
    server.answer = instead("请放心。", net, when="只处理“正确、完整”")
    other = make.dialogue("小儿腹泻该怎么办？", ITEM[1], family="distilled", split="train")
    built = distill.build([other], DistillSettings(), teacher)
    assert [reject.step for reject in built.rejects] == ["distill:correct_and_complete"]


def test_both_sides_of_medical_pairs_may_be_written_by_models(make, server, teacher, tmp_path) -> None:
    rows = [make.row("medkqa", n) for n in range(4)]
    chosen = preferred(rows, teacher)
    with OpenAIServer(lambda body: "不知道。") as weak, Endpoint(settings(weak), tmp_path / "weak") as weaker:
        prompts = prompts_for_low_answers(rows, PreferenceSettings(), seed=17)
        low = weak_answers(prompts, weaker, max_new_tokens=32)
        assert {body["max_tokens"] for body in weak.requests} == {32}
        assert [turn["role"] for turn in weak.requests[0]["messages"]] == ["user"]
    pairs, rejects = medical_pairs(rows, low.answers, chosen, low.step)
    assert (len(pairs), rejects) == (4, [])
    assert pairs[0]["chosen"][0]["content"].startswith("我理解您的担心。")
    assert pairs[0]["rejected"][0]["content"] == "不知道。"
    assert [step["name"] for step in pairs[0]["steps"][-2:]] == ["preferred", "low_answer"]
    write_rows(tmp_path / "rows.parquet", pairs, "preference")


def test_a_rephrasing_that_changes_a_number_makes_no_pair(make, server, teacher) -> None:
    server.answer = instead("第2个", "第7个")
    rows = [make.row("medkqa", n) for n in range(4)]
    chosen = preferred(rows, teacher)
    assert len(chosen.answers) == 3
    assert "7" in chosen.rejects[0].reason
    pairs, rejects = medical_pairs(rows, {row["id"]: "不知道。" for row in rows}, chosen)
    assert (len(pairs), len(rejects), len(chosen.rejects)) == (3, 0, 1)


def mixed(make: Any) -> list[Any]:
    """Records of every family."""
    return [
        section(make),
        make.dialogue(*DIALOGUE, split="train", task="evidiag"),
        make.dialogue(*ITEM, family="distilled", split="train", task="medkqa"),
        make.preference("写一首诗", "好诗。", "坏诗。", split="train"),
    ]


def test_all_rules_together_account_for_everything_and_a_second_run_pays_nothing(make, server, tmp_path) -> None:
    given = BuildSettings()
    results = []
    for _ in range(2):
        with Endpoint(settings(server), tmp_path) as teacher:
            results.append(build_instructions(mixed(make), given, Path(), dict.fromkeys(TEACHER_RULES, teacher)))
    built = results[0]
    assert built == results[1]
    assert len(server.requests) == 2 + 1 + 3
    assert built.counts["items"] == 3
    assert built.counts["read"] == built.counts["kept"] + built.counts["rejected"]
    taught = [row for row in built.rows if any(step["teacher"] != "none" for step in row["steps"])]
    assert len(taught) == 3
    assert len(built.passes) == 6


def test_a_rule_without_a_teacher_says_so(make, server, teacher) -> None:
    built = build_instructions(mixed(make), BuildSettings(), Path(), {"distill": teacher})
    by = {row["family"]: {step["teacher"] for step in row["steps"]} for row in built.rows}
    assert by["specialised"] == by["conversation"] == {"none"}
    assert by["distilled"] == {"none", "lehrer-7b"}


def test_the_budget_stops_a_rule_and_a_later_run_goes_on(make, server, tmp_path) -> None:
    records = [make.dialogue("孩子咳嗽怎么办？", f"第{n}种情况要多喝水。", split="train") for n in range(12)]
    stopped = 0
    for _ in range(12):
        with Endpoint(settings(server, budget_tokens=9000, max_tokens=300, concurrency=1), tmp_path) as teacher:
            try:
                built = reconstruct.build(records, ReconstructSettings(), teacher)
                break
            except BudgetReached:
                stopped += 1
    assert stopped > 0
    assert len(built.rows) == 12
    assert len(server.requests) == 12


@pytest.mark.parametrize("step", [STEP, EXEMPT_STEP])
def test_rows_that_are_not_deidentified_stay_on_the_machine(make, tmp_path, step) -> None:
    external = TeacherSettings(base_url="https://api.example.com/v1", model="m", allow_external=True, retries=0)
    record = make.dialogue(*DIALOGUE, split="train")
    with Endpoint(external, tmp_path) as teacher:
        with pytest.raises(UserError, match="not de-identified"):
            reconstruct.build([record], ReconstructSettings(), teacher)
        assert teacher.usage.requests == 0
        record.steps.append(step)
        with pytest.raises(UserError, match="does not answer"):  # it would be sent, if anybody were there
            reconstruct.build([record], ReconstructSettings(), teacher)


def test_a_server_that_fails_once_costs_nothing(make, server, teacher) -> None:
    server.script += [Fault(status=500), Fault(status=429, headers={"Retry-After": "0"}), Fault(cut="within")]
    built = reconstruct.build([make.dialogue(*DIALOGUE, split="train")], ReconstructSettings(), teacher)
    assert len(built.rows) == 1


def test_the_estimate_is_never_less_than_what_is_paid(make, server, tmp_path) -> None:
    given = settings(server, price_input=2.0, price_output=8.0, max_tokens=400)
    records = [*mixed(make), *(make.dialogue(f"第{n}个孩子咳嗽", "多喝水。", split="train") for n in range(5))]
    expected = costs(records, BuildSettings(), dict.fromkeys(TEACHER_RULES, given))
    assert {rule: cost.requests for rule, cost in expected.items()} == {"role_play": 2, "reconstruct": 6, "distill": 3}
    for rule in TEACHER_RULES:
        with Endpoint(given, tmp_path / rule) as teacher:
            build_instructions(records, BuildSettings(), Path(), {rule: teacher})
            assert teacher.usage.requests == expected[rule].requests
            assert 0 < teacher.usage.money <= expected[rule].money
            assert teacher.usage.input_tokens <= expected[rule].input_tokens


def test_prompts_are_told_apart_by_their_hash_and_keep_what_they_are_given(make) -> None:
    names = ["inquirer", "pediatrician", "reconstruct", "preferred", "distill_humane_tone"]
    assert len({prompt(name).hash for name in names}) == len(names)
    assert prompt_with_pairs("reconstruct", 1).hash != prompt_with_pairs("reconstruct", 2).hash
    filled = prompt("pediatrician").messages(title="题", span="正文里写着{question}", question="问什么？")
    assert "正文里写着{question}" in filled[1]["content"]
    assert "问题：问什么？" in filled[1]["content"]
    assert '{"answer": "回答"' in filled[1]["content"]


def test_no_prompt_says_what_may_not_be_so() -> None:
    """De-identification may be off, and then a prompt must not claim it."""
    folder = resources.files("pediatricsgpt.corpus.build").joinpath("prompts")
    prompts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    assert "reconstruct.md" in prompts
    assert [name for name, text in prompts.items() if re.search("个人信息|脱敏|匿名|去标识", text)] == []


def test_the_worked_pairs_keep_to_the_rule_that_they_teach() -> None:
    from pediatricsgpt.corpus.build.rewrite import problems
    from pediatricsgpt.records import Message

    shots = prompt_with_pairs("reconstruct", 4).shots
    assert len(shots) == 8
    for given, answer in zip(shots[::2], shots[1::2], strict=True):
        script = given["content"].rpartition("<<<\n")[2].partition("\n>>>")[0]
        dialogue: list[Message] = [
            {"role": "assistant" if line.startswith("医生") else "user", "content": line.partition("：")[2]}
            for line in script.splitlines()
        ]
        assert problems(dialogue, json.loads(answer["content"])["turns"], "complete") == []
