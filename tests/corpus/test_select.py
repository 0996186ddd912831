"""Is a child the patient? And how old, and which department."""

from __future__ import annotations

import pytest

from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.corpus.select import label, why_pediatric

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


def test_an_entity_is_pediatric_by_name_or_department_in_all_its_facts(make) -> None:
    records = [
        make.fact("小儿肺炎", "症状", "发热、咳嗽"),
        make.fact("肠套叠", "症状", "腹痛、呕吐", department="儿科/小儿外科"),
        make.fact("肠套叠", "预防", "注意饮食", department="unknown"),
        make.fact("冠心病", "症状", "胸闷、胸痛", department="心内科"),
    ]
    labelled = label(records)
    assert [record.pediatric for record in labelled] == [True, True, True, False]
    assert [record.department for record in labelled] == ["儿科", "小儿外科", "儿科", "心血管内科"]


def test_age_and_band_are_the_patients(make) -> None:
    child = one(make.dialogue("宝宝6个月，发热怎么办", ANSWER))
    assert (child.age_months, child.age_band) == (6.0, "infant")
    newborn = one(make.dialogue("新生儿黄疸要紧吗", ANSWER))
    assert (newborn.age_months, newborn.age_band, newborn.department) == (None, "neonate", "新生儿科")
    adult = one(make.dialogue("我今年45岁，血压高怎么办", ANSWER))
    assert (adult.age_months, adult.age_band) == (540.0, "adult")
    mother = one(make.dialogue("我30岁，宝宝6个月，产后腰疼怎么办", ANSWER))
    assert mother.age_months == 360.0
    assert one(make.section("多见于3岁儿童。", "儿童指南")).age_months is None


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
    for name in ("clean", "pediatric", "tasks"):
        for key in rules(name):
            assert pattern(name, key).pattern


def test_real_consultations_of_pediatric_departments_are_pediatric(real_records) -> None:
    labelled = label([r for r in real_records if r.source.name in ("cmtmedqa", "hetmc")])
    children = [record for record in labelled if record.department in ("儿科", "新生儿科", "小儿外科")]
    women = [record for record in labelled if record.department == "妇产科"]
    assert sum(record.pediatric for record in children) >= 0.9 * len(children) > 50
    assert sum(record.pediatric for record in women) <= 0.05 * len(women)
