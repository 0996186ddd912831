"""Questions and answers by extraction."""

from __future__ import annotations

import pytest

from pediatricsgpt.corpus.build import role_play
from pediatricsgpt.corpus.build.role_play import ask, instructions, statement, subject, without_number
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.settings import RolePlaySettings
from pediatricsgpt.records import write_rows

SETTINGS = RolePlaySettings()
GUIDELINE = "关于印发儿童腺病毒肺炎诊疗规范（2019年版）的通知"
TEXT = "起病急，常在起病之初即出现39℃以上的高热，可伴有咳嗽、喘息。轻症一般在7-11天体温恢复正常。"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        (GUIDELINE, "儿童腺病毒肺炎"),
        ("国家卫生健康委办公厅关于印发非新生儿破伤风诊疗规范（2019年版）的通知", "非新生儿破伤风"),
        ("关于印发新型冠状病毒感染诊疗方案（试行第十版）的通知", "新型冠状病毒感染"),
        ("儿童肺炎支原体肺炎诊疗指南 (2025 年版)", "儿童肺炎支原体肺炎"),
        ("狂犬病诊疗规范", "狂犬病"),
        ("5.阿拉杰里综合征", "阿拉杰里综合征"),
        ("《幼幼集成》", "幼幼集成"),
    ],
)
def test_the_subject_of_a_title(title: str, expected: str) -> None:
    assert subject(title) == expected


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("三、临床表现", "临床表现"),
        ("（一）临床表现", "临床表现"),
        ("1.血常规", "血常规"),
        ("2.1 一般治疗", "一般治疗"),
        ("第三章 呼吸系统疾病", "呼吸系统疾病"),
        ("十二、治疗：", "治疗"),
        ("5岁以下儿童", "5岁以下儿童"),
    ],
)
def test_headings_lose_their_numbers(heading: str, expected: str) -> None:
    assert without_number(heading) == expected


NOTE = "（古籍原文，供了解医学史；所载方药可能有毒，不可照用。）\n"


def question(record) -> str:
    asked = ask(record, SETTINGS)
    assert not isinstance(asked, str), asked
    return asked.question


def test_questions_are_about_the_document_and_fit_the_heading(make) -> None:
    symptoms = make.section(TEXT, GUIDELINE, "四、临床表现和实验室检查", "（一）临床表现")
    assert question(symptoms) in ("儿童腺病毒肺炎的临床表现有哪些？", "儿童腺病毒肺炎会有哪些临床表现？")
    bite = make.section(TEXT, "常见动物致伤诊疗规范（2021年版）", "狂犬病诊疗规范", "一、病原学")
    assert question(bite).startswith("狂犬病")
    other = make.section(TEXT, GUIDELINE, "四、鉴别诊断", "（一）与病毒性肺炎鉴别")
    assert question(other) in ("儿童腺病毒肺炎应如何与病毒性肺炎鉴别？", "怎样区分儿童腺病毒肺炎与病毒性肺炎？")


def test_treatment_of_a_pediatric_disease_is_a_described_case(make) -> None:
    records = [
        make.section(TEXT, GUIDELINE, "八、治疗", pediatric=True),
        make.section(TEXT, GUIDELINE, "八、治疗", "（二）氧疗", pediatric=True),
        make.section(TEXT, "高血压诊疗指南", "八、治疗"),
        make.fact("小儿肺炎", "常用药品", "阿莫西林颗粒、头孢克洛颗粒", pediatric=True),
        make.fact("小儿肺炎", "症状", "发热、咳嗽、气促", pediatric=True),
    ]
    rows, rejects = instructions(records, SETTINGS)
    assert not rejects
    assert [row["task"] for row in rows] == ["trerecom", "trerecom", "general", "trerecom", "medkqa"]
    for row in (rows[0], rows[1], rows[3]):
        assert any(word in row["messages"][0]["content"] for word in ("患儿", "孩子"))


def test_the_answer_is_the_source_and_nothing_else(make) -> None:
    record = make.section(TEXT * 20, GUIDELINE, "四、临床表现")
    (row,), _ = instructions([record], RolePlaySettings(max_answer_characters=100))
    answer = row["messages"][1]["content"]
    assert record.text.startswith(answer)
    assert answer.endswith("。")
    assert 40 < len(answer) <= 100


def test_facts_become_sentences(make) -> None:
    assert statement(make.fact("百日咳", "症状", "干咳、惊厥")) == "百日咳的常见症状有：干咳、惊厥。"
    assert statement(make.fact("百日咳", "治疗周期", "1-2个月。")) == "百日咳的治疗周期一般为1-2个月。"
    assert statement(make.fact("百日咳", "别的关系", "某物")) == "百日咳的别的关系：某物。"
    prose = "百日咳是由百日咳杆菌引起的急性呼吸道传染病。患儿咳嗽后有鸡鸣样回声。"
    assert statement(make.fact("百日咳", "简介", prose)) == prose


@pytest.mark.parametrize(
    ("title", "text", "reason"),
    [
        (("指南", "目录"), TEXT, "heading says nothing to ask for"),
        (("指南", "附录：编写专家组名单"), TEXT, "heading says nothing to ask for"),
        (("指南", "参考文献"), TEXT, "heading says nothing to ask for"),
        (("指南", "九、鉴别诊断", "（四）其他"), TEXT, "heading says nothing to ask for"),
        (("指南", "患者应当多喝水，注意休息，按时复查。"), TEXT, "heading is a sentence, not a subject"),
        (("指南", "治疗"), "（3）红细胞单采术适用于部分患者，须由医师决定。", "section begins in the middle of a list"),
        (("指南", "诊疗流程（图 7-1）"), "图 7-1 某病诊疗流程", "section is only a caption"),
        (("指南", "治疗"), "对症。", "answer too short: 3 characters"),
        ((), TEXT, "no heading"),
    ],
)
def test_sections_that_allow_no_question_say_why(make, title, text, reason) -> None:
    rows, rejects = instructions([make.section(text, *title)], SETTINGS)
    assert not rows
    assert [reject.reason for reject in rejects] == [reason]
    assert rejects[0].row["text"] == text


def test_classical_books_are_asked_for_by_chapter(make) -> None:
    text = "夫小儿者，脾常不足也。乳食不知自节，则易伤之。故医者当先察其脾胃，而后治其病焉。"
    records = [
        make.section(text, "幼科发挥", "卷之三", "脾所生病", kind="textbook", pediatric=True),
        make.section("治惊热。水银半两。", "幼科发挥", "诸方", "银液丸", kind="textbook", group="x", pediatric=True),
        make.section("患儿可有发热、咳嗽、气促，肺部可闻及湿啰音。", "儿科学", "第三章", "肺炎", kind="textbook"),
    ]
    rows, rejects = instructions(records, RolePlaySettings(min_answer_characters=5))
    assert not rejects
    questions = [row["messages"][0]["content"] for row in rows]
    assert "《幼科发挥》" in questions[0]
    assert "“脾所生病”" in questions[0]
    assert "《幼科发挥》" in questions[1]
    assert "“诸方”" in questions[1]
    assert "《" not in questions[2]


def test_every_section_makes_a_row_or_a_reject(make, tmp_path) -> None:
    records = [
        make.section(TEXT, GUIDELINE, "二、流行病学", split="train"),
        make.section(TEXT, GUIDELINE, "目录", split="train"),
        make.dialogue("你好", "您好。", split="train"),
    ]
    rows, rejects = instructions(records, SETTINGS)
    assert (len(rows), len(rejects)) == (1, 1)
    write_rows(tmp_path / "rows.parquet", rows, "instruction")
    assert rows[0]["parents"] == [records[0].id]
    assert rows[0]["steps"][-1]["name"] == "role_play"
    assert rows[0]["group"] == records[0].group


def test_all_templates_can_be_filled() -> None:
    found = rules("questions")
    words = {"topic": "甲", "heading": "乙", "parent": "丙", "entity": "丁", "relation": "戊", "tails": "己"}
    kinds = [*found["sections"], *found["relations"].values(), found["other_relation"]]
    lists = [kind[key] for kind in kinds for key in ("questions", "cases") if key in kind]
    named = ("other", "other_below", "case_below", "differential_below", "alone", "classical", "classical_below")
    for template in [one for many in (*lists, *(found[name] for name in named)) for one in many]:
        filled = template.format(**words)
        assert filled.endswith(("？", "。"))
        assert "{" not in filled


def test_real_documents_make_mostly_questions(real_records) -> None:
    sections = [record for record in real_records if record.shape == "text"]
    rows, rejects = role_play.instructions(sections, SETTINGS)
    assert len(rows) + len(rejects) == len(sections)
    assert len(rows) > 0.8 * len(sections)
    by_id = {record.id: record for record in sections}
    for row in rows:
        source = by_id[row["parents"][0]]
        if source.source.kind != "knowledge_graph":
            assert row["messages"][1]["content"].removeprefix(NOTE).split("\n")[0] in source.text
