"""Is a child the patient? And how old, and which department."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.corpus.select import _AGE_SIGNS, label, why_pediatric
from pediatricsgpt.facts import present_ages
from pediatricsgpt.records import AGE_BANDS, TASKS

# What was measured. `blind`: 406 rows of ten sources, 167 of them about children; `pediatric` as scored for the first
# time, the others after the changes that its errors led to. `fresh`: 161 rows of seven sources, 63 of them about
# children, drawn, labelled and scored once after these changes.
RECORDED = {
    "blind": {"rows": 406, "sources": 10, "children": 167, "without": 235, "precision": 0.9815, "recall": 0.9521}
    | {"task": 0.8766, "department": 0.8818, "department without": 0.8681, "band": 0.9557},
    "fresh": {"rows": 161, "sources": 7, "children": 63, "without": 103, "precision": 1.0, "recall": 0.9524}
    | {"task": 0.8823, "department": 0.8882, "department without": 0.8641, "band": 0.913},
}
SLACK = 0.005
ANSWER = "您好，建议到医院检查后再决定。"


def one(record):
    (labelled,) = label([record])
    return labelled


@pytest.mark.parametrize(
    ("question", "rule"),
    [
        ("我家宝宝发烧三天了怎么办", "strong word: 宝宝"),
        ("小儿支气管炎用什么药", "strong word: 小儿"),
        ("女儿今年九岁，打嗝一连好几天", "age: 九岁"),
        ("病毒感染性腹泻可以吃奶粉吗？（女，3岁）", "age: 3岁"),
        ("一名6岁男童出现咽痛、发热", "age: 6岁"),
        ("孩子喉头水肿怎么治疗", "weak word: 孩子"),
        ("朋友的女儿得了癫痫，哪家医院好", "weak word: 女儿"),
        ("我们家的小儿子总是咳嗽", "weak word: 儿子"),
        ("早产宝宝黄疸二十天不退，孕36周出生，现在15天大", "age: 15天"),
        ("手足口病的高危因素有哪些", "strong word: 手足口病"),
        ("妈妈是乙肝大三阳，孩子刚刚一岁，要不要打加强针", "age: 一岁"),
    ],
)
def test_children_are_found_by_a_rule_that_is_named(make, question: str, rule: str) -> None:
    record = make.dialogue(question, ANSWER)
    assert why_pediatric(record) == rule
    assert one(record).pediatric


@pytest.mark.parametrize(
    "question",
    [
        "一直想要个宝宝，怀上四五个月感冒了能吃药吗",
        "高血压会遗传给孩子吗",
        "我们夫妻都是乙肝携带者，能要孩子吗",
        "生完孩子后一直头晕，怎么办",
        "我孩子20岁，有点脱发",
        "儿子今年30了，还没有工作，最近失眠",
        "我孩子今年六十八周岁了是不是应当再打一次疫苗",
        "哺乳期感冒了能吃药吗，对宝宝有影响吗",
        "大三阳会传染给宝宝吗",
        "照顾小孩太累，便血是不是上火",
        "小儿麻痹后遗症能治吗",
        "女儿给我买了桃胶，我有高血压能吃吗",
        "我儿子就带老伴去医院检查，查出脂肪肝",
        "我今年30岁，宝宝6个月，产后腰疼怎么办",
        "看着自己的孩子撒手人寰，整夜失眠",
        "十岁的时候查出来的大三阳，现在总是乏力",
        "我从小就有鼻炎，怎么根治",
        "孩子爸爸有高血压，怎么降压",
        "我想在儿童医院看腰疼可以吗",
        "我老公打呼噜怎么办",
    ],
)
def test_an_adult_patient_is_none(make, question: str) -> None:
    record = make.dialogue(question, ANSWER)
    assert why_pediatric(record) == ""
    assert not one(record).pediatric


def test_a_child_mentioned_later_is_not_the_patient(make) -> None:
    record = make.dialogue("我最近皮肤红斑瘙痒一个月了", "家族中有人有类似症状吗？", "我的女儿也有荨麻疹", ANSWER)
    assert not one(record).pediatric


def test_the_sources_department_counts_unless_the_patient_is_grown_up(make) -> None:
    assert one(make.dialogue("鼻炎怎么预防频繁发作", ANSWER, department="儿科/小儿内科")).pediatric
    assert not one(make.dialogue("我28岁了，鼻炎怎么预防", ANSWER, department="儿科")).pediatric


def test_a_pediatric_guideline_is_so_in_all_sections_and_another_in_some(make) -> None:
    records = [
        make.section("人腺病毒属于哺乳动物腺病毒属，为无包膜的双链病毒。", "儿童腺病毒肺炎诊疗规范", "一、病原学"),
        make.section("奥司他韦每日两次。", "流行性感冒诊疗方案", "治疗", "儿童用药"),
        make.section("发病年龄多为成人。", "流行性感冒诊疗方案", "流行病学"),
        make.section("新生儿以外的破伤风。", "非新生儿破伤风诊疗规范", "一、概述"),
        make.section("治小儿惊热。", "幼科发挥", "卷一", kind="textbook"),
    ]
    assert [record.pediatric for record in label(records)] == [True, True, False, False, True]
    assert why_pediatric(records[1]) == "heading: 儿童"


def test_an_entity_is_pediatric_by_name_or_department_on_each_of_its_facts(make) -> None:
    records = [
        make.fact("小儿肺炎", "症状", "发热、咳嗽"),
        make.fact("肠套叠", "症状", "腹痛、呕吐", department="儿科/小儿外科"),
        make.fact("肠套叠", "预防", "注意饮食", department="儿科/小儿外科"),
        make.fact("冠心病", "症状", "胸闷、胸痛", department="心内科"),
    ]
    labelled = label(records)
    assert [record.pediatric for record in labelled] == [True, True, True, False]
    assert [record.department for record in labelled] == ["儿科", "小儿外科", "小儿外科", "心血管内科"]


def test_a_record_is_labelled_from_itself_alone(make) -> None:
    """The same labels in one batch, in batches of one and in any order."""
    records = [
        make.fact("肠套叠", "预防", "注意饮食"),
        make.fact("肠套叠", "症状", "腹痛、呕吐", department="儿科/小儿外科"),
        make.section("腺病毒属于双链病毒。", "儿童腺病毒肺炎诊疗规范", "一、病原学"),
        make.section("发病年龄多为成人。", "流行性感冒诊疗方案", "流行病学"),
        make.dialogue("我家宝宝发烧三天了怎么办", ANSWER),
        make.dialogue("我老公打呼噜怎么办", ANSWER),
    ]
    together = {record.id: record for record in label(records)}
    alone = {record.id: label([record])[0] for record in reversed(records)}
    assert together == alone
    assert not together[records[0].id].pediatric


def test_age_and_band_are_the_patients(make) -> None:
    child = one(make.dialogue("宝宝6个月，发热怎么办", ANSWER))
    assert (child.age_months, child.age_band) == (6.0, "infant")
    newborn = one(make.dialogue("新生儿黄疸要紧吗", ANSWER))
    assert (newborn.age_months, newborn.age_band, newborn.department) == (None, "neonate", "新生儿科")
    grown = one(make.dialogue("小孩刚出生就开始吃米粉，现在5岁了，最近总想吐", ANSWER))
    assert (grown.age_months, grown.age_band, grown.department) == (60.0, "preschool", "儿科")
    adult = one(make.dialogue("我今年45岁，血压高怎么办", ANSWER))
    assert (adult.age_months, adult.age_band) == (540.0, "adult")
    mother = one(make.dialogue("我30岁，宝宝6个月，产后腰疼怎么办", ANSWER))
    assert mother.age_months == 360.0
    assert one(make.section("多见于3岁儿童。", "儿童指南")).age_months is None


@pytest.mark.parametrize(
    ("question", "band"),
    [
        ("我家孩子上小学，最近总眨眼", "school"),
        ("中学生失眠怎么办", "adolescent"),
        ("女儿读幼儿园，经常感冒", "preschool"),
        ("我爷爷患高血压，能吃鸡蛋吗", "adult"),
        ("妊娠期贫血要注意什么", "adult"),
        ("月经期间可以游泳吗", "unknown"),
        ("孩子发烧怎么办", "unknown"),
    ],
)
def test_bands_are_said_in_words_too(make, question: str, band: str) -> None:
    assert one(make.dialogue(question, ANSWER)).age_band == band


@pytest.mark.parametrize(
    "question", ["我一直月经不调，16岁初潮，子宫偏小会影响生育吗", "先天性的毛病，三个月大的时候检查出来的，要做手术吗"]
)
def test_an_age_at_an_earlier_event_is_not_the_patients(make, question: str) -> None:
    assert one(make.dialogue(question, ANSWER)).age_months is None


def test_every_age_is_written_with_one_of_the_signs_that_are_looked_for_first(real_records) -> None:
    texts = [turn["content"] for record in real_records for turn in record.messages if turn["role"] == "user"]
    aged = [text for text in texts if present_ages(text)]
    assert len(aged) > 500
    assert all(_AGE_SIGNS.search(text) for text in aged)


def test_the_answer_tells_where_the_question_does_not(make) -> None:
    question = "要感冒发烧，每次都要输液，是体质不好吗？"
    assert why_pediatric(make.dialogue(question, "小孩抵抗力低下，建议多锻炼。")) == "answer: 小孩"
    assert why_pediatric(make.dialogue(question, "您的孩子需要化验血常规。")) == "answer: 您的孩子"
    assert why_pediatric(make.dialogue(question, ANSWER)) == ""
    assert why_pediatric(make.dialogue("乙肝两对半一五阳能哺乳吗", "如果你的孩子已经打了疫苗，可以。")) == ""
    assert why_pediatric(make.dialogue("我老婆发烧了", "您的孩子需要隔离。")) == ""


def test_a_platforms_tag_for_the_parent_is_not_the_patients_age(make) -> None:
    child = one(make.dialogue("宝宝五个月零七天，鼻塞，吃什么药能好（女，30岁）", ANSWER))
    assert (child.pediatric, child.age_band) == (True, "infant")
    mother = one(make.dialogue("宝宝5个月，我在哺乳期感冒了（女，30岁）", ANSWER))
    assert (mother.pediatric, mother.age_band) == (False, "adult")
    assert not one(make.dialogue("感冒了能吃药吗（女，30岁）", ANSWER)).pediatric


def test_names_of_journals_make_no_section_pediatric(make) -> None:
    text = "[1] 中华儿科杂志, 2020. [2] 儿童保健, 2021. [3] 中华儿科杂志, 2022."
    assert not one(make.section(text, "罕见病诊疗指南", "1.软骨病", "参考文献")).pediatric
    assert one(make.section(text, "罕见病诊疗指南", "1.软骨病", "治疗")).pediatric


def test_a_child_asked_about_later_on_is_not_the_patient(make) -> None:
    asks_once = make.dialogue("经常吃糖会导致蛀牙吗？", ANSWER, "那儿童应该怎么预防呢？", ANSWER)
    assert why_pediatric(asks_once) == ""
    goes_on = make.dialogue("你好医生", ANSWER, "宝宝不肯喝奶", ANSWER, "给宝宝换奶粉行吗", ANSWER)
    assert why_pediatric(goes_on) == "strong word: 宝宝"


@pytest.mark.parametrize(
    ("question", "given", "department"),
    [
        ("我38岁，最近便秘、腹胀", "内科", "消化内科"),
        ("我38岁，最近便秘、腹胀", "皮肤性病科", "皮肤科"),
        ("我38岁，最近总觉得累", "普通内科", "内科"),
        ("宝宝咳嗽三天", "内科", "儿科"),
        ("宝宝的脐疝要手术吗", "unknown", "小儿外科"),
        ("宝宝湿疹，皮肤红", "皮肤科", "皮肤科"),
        ("我38岁，鼻塞、打喷嚏", "皮肤科/过敏", "耳鼻喉科"),
        ("女儿8岁，鼻塞、打喷嚏", "皮肤科/过敏", "儿科"),
    ],
)
def test_a_broad_department_gives_way_to_a_narrower_one(make, question: str, given: str, department: str) -> None:
    assert one(make.dialogue(question, ANSWER, department=given)).department == department


def test_a_sections_headings_say_its_department_before_the_documents_title_does(make) -> None:
    record = make.section("凝血功能异常。", "软骨发育不全等罕见病诊疗指南", "84.血友病", "治疗")
    assert one(record).department == "血液科"


def test_general_instructions_and_pairs_have_no_patient(make) -> None:
    record = make.dialogue("给我3岁的孩子写个睡前故事", "从前有一只小兔子。", family="general", task="general")
    labelled = one(record)
    assert (labelled.pediatric, labelled.task) == (False, "general")
    assert not one(make.preference("孩子发烧怎么办", ANSWER, "不知道。")).pediatric


def test_labels_do_not_change_when_given_again(make) -> None:
    records = [
        make.dialogue("我家宝宝发烧三天了怎么办", ANSWER),
        make.dialogue("我老公打呼噜怎么办", ANSWER),
        make.fact("小儿肺炎", "症状", "发热、咳嗽"),
        make.section("奥司他韦每日两次。", "流行性感冒诊疗方案", "治疗", "儿童用药"),
        make.section("发病年龄多为成人。", "流行性感冒诊疗方案", "流行病学"),
    ]
    once = label(records)
    twice = label(once)
    fields = ("pediatric", "age_band", "department", "task")
    assert [[getattr(r, f) for f in fields] for r in once] == [[getattr(r, f) for f in fields] for r in twice]


def test_every_pattern_of_the_rules_compiles() -> None:
    for name in ("pediatric", "tasks"):
        for key in rules(name):
            assert pattern(name, key).pattern


def test_real_consultations_of_pediatric_departments_are_pediatric(real_records) -> None:
    labelled = label([r for r in real_records if r.source.name in ("cmtmedqa", "hetmc")])
    children = [record for record in labelled if record.department in ("儿科", "新生儿科", "小儿外科")]
    women = [record for record in labelled if record.department == "妇产科"]
    assert sum(record.pediatric for record in children) >= 0.9 * len(children) > 50
    assert sum(record.pediatric for record in women) <= 0.05 * len(women)


@pytest.fixture(scope="module")
def selection() -> ModuleType:
    """The measuring script: it reads the labelled set, checks its hash and computes the figures."""
    path = Path(__file__).parents[2] / "benchmarks" / "selection.py"
    spec = importlib.util.spec_from_file_location("selection", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("part", ["tune", "blind", "fresh"])
def test_the_labelled_set_is_the_frozen_one_and_keeps_to_the_contract(selection: ModuleType, part: str) -> None:
    rows = selection.read_rows(part)
    bands, departments = {name for name, _ in AGE_BANDS} | {"unknown"}, set(rules("departments")) | {"unknown"}
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        truth = row["label"]
        assert row["licence"] in ("MIT", "Apache-2.0", "government document")
        assert truth["age_band"] in bands
        assert set(truth["departments"]) <= departments
        assert truth["task"] in (*TASKS, "none")
        assert truth["pediatric"] or truth["task"] == "none"
        assert bool(row["text"]) != bool(row["messages"])


def test_a_changed_labelled_set_is_refused(selection: ModuleType, tmp_path: Path, monkeypatch) -> None:
    changed = (selection.LABELLED / "selection_tune.jsonl").read_bytes() + b"\n"
    (tmp_path / "selection_tune.jsonl").write_bytes(changed)
    monkeypatch.setattr(selection, "LABELLED", tmp_path)
    with pytest.raises(SystemExit, match="not the frozen file"):
        selection.read_rows("tune")


@pytest.mark.parametrize("part", ["blind", "fresh"])
def test_figures_on_labelled_rows_are_at_least_the_recorded_ones(selection: ModuleType, part: str) -> None:
    """n stands in RECORDED: all rows, those about children, and those whose source names no department."""
    recorded = RECORDED[part]
    rows = selection.read_rows(part)
    found = selection.figures(rows, label([selection.record_of(row) for row in rows]))
    without = found["department where the source says none"]["micro"]
    assert (found["rows"], len(found["sources"])) == (recorded["rows"], recorded["sources"])
    assert (found["pediatric"]["recall"]["n"], without["n"]) == (recorded["children"], recorded["without"])
    measured = {name: found["pediatric"][name]["value"] for name in ("precision", "recall")}
    measured |= {"task": found["task"]["macro"], "department": found["department"]["micro"]["value"]}
    measured |= {"department without": without["value"], "band": found["age band"]["micro"]["value"]}
    assert measured["precision"] >= 0.95
    assert measured["recall"] >= 0.90
    assert {name: value for name, value in measured.items() if value < recorded[name] - SLACK} == {}


def test_f1_and_intervals_are_the_ones_of_the_textbook(selection: ModuleType) -> None:
    """Wilson: 9 of 10 gives 0.596 to 0.982. F1 of a: 2 x 2 / (3 + 2), of b: 2 x 1 / (1 + 2)."""
    assert selection.proportion(9, 10) == {"value": 0.9, "low": 0.5958, "high": 0.9821, "n": 10}
    scored = selection.f1([("a", "a"), ("a", "a"), ("b", "a"), ("b", "b")])
    assert scored["classes"] == {"a": {"f1": 0.8, "n": 2}, "b": {"f1": 0.6667, "n": 2}}
    assert scored["micro"]["value"] == 0.75
    assert scored["macro"] == pytest.approx((0.8 + 2 / 3) / 2, abs=1e-4)


def test_labels_do_not_depend_on_the_order_of_the_rows(selection: ModuleType) -> None:
    records = [selection.record_of(row) for row in selection.read_rows("tune")]
    shuffled = random.Random(3).sample(records, len(records))
    assert {r.id: r for r in label(records)} == {r.id: r for r in label(shuffled)}
