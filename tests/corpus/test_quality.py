"""Each quality filter rejects what it is for, says why, and leaves sound rows alone."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from pediatricsgpt.corpus.clean import clean
from pediatricsgpt.corpus.quality import filter_quality, measures, quality
from pediatricsgpt.corpus.quality.unsafe import unsafe_advice
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.settings import CleanSettings, QualitySettings

SETTINGS = QualitySettings()
OFF = QualitySettings(
    max_section_characters=None,
    max_dialogue_characters=None,
    min_question_characters=None,
    min_answered_characters=None,
    max_repetition=None,
    min_han_share=None,
    max_garbled=None,
    max_synonym_noise=None,
    max_promotion=None,
    max_mismatch=None,
    reject_unsafe=False,
)
QUESTION = "宝宝8个月，咳嗽三天，有痰，怎么办？"
ANSWER = "考虑上呼吸道感染。注意多喂温水，拍背帮助排痰；如果呼吸变快或者发热超过三天，请到儿科就诊。"

BAD = {
    "question too short": ("？咳", ANSWER),
    "only courtesies": (QUESTION, "好的，不客气，祝您早日康复！"),
    "repetition": (QUESTION, "孩子需要多喝温水。" * 8),
    "little Chinese": ("Cough, what to do?", "Give warm water to the child and wait 多喝水"),
    "garbled": (QUESTION, "考虑感冒，锟斤拷锟斤拷，多喝温水，注意休息，观察体温。"),
    "synonym noise": (
        QUESTION,
        "肝病病情很严重，建议患者及时救治，期望患者对症救治，同时看重饮食，留意歇息，始终保持心情愉快，方才能康复，期望上述的答案可以协助到您。",
    ),
    "advertisement": (QUESTION, "考虑咳嗽。我院采用国际先进的技术治疗，详情请拨打咨询电话：4001234567。"),
    "answer does not fit the question": (
        "脑梗糖尿病高血压怎么办？",
        "打嗝时将一根软导管从鼻腔插到咽部，反复刺激，喉痛常可停止。",
    ),
    "unsafe advice": (QUESTION, "建议给宝宝口服优卡丹，一天两次。"),
}


@pytest.mark.parametrize("reason", BAD)
def test_each_filter_gives_its_reason_and_can_be_switched_off(make, reason: str) -> None:
    record = make.dialogue(*BAD[reason])
    kept, rejects = filter_quality([record], SETTINGS)
    assert not kept
    assert [reject.reason.split(":")[0] for reject in rejects] == [reason]
    assert rejects[0].step == "quality"
    assert rejects[0].row == record.as_dict()
    kept, rejects = filter_quality([record], OFF)
    assert len(kept) == 1
    assert not rejects


def test_sound_rows_stay_and_carry_the_step(make) -> None:
    records = [
        make.dialogue(QUESTION, ANSWER),
        make.dialogue("孩子反复头痛", "建议到正规医院的神经内科就诊，可以提前预约专家门诊。"),
        make.dialogue("去哪家医院看癫痫好？", "建议选择当地正规专业的医院，三甲医院的神经内科是比较好的。"),
        make.section("支原体肺炎多见于5岁及以上儿童。", "指南", "定义"),
        make.fact("百日咳", "治愈率", "95%"),
        make.preference("写一句广告", "这台咖啡机国内领先，请拨打咨询电话：4001234567。", "不会写。"),
    ]
    kept, rejects = filter_quality(records, SETTINGS)
    assert [reject.reason for reject in rejects] == []
    assert [record.id for record in kept] == [record.id for record in records]
    assert all(record.steps[-1].name == "quality" for record in kept)
    assert all(record.steps[-1].name == "read" for record in records)


def test_lengths_are_bounded_by_shape(make) -> None:
    long = "".join(f"第{number}天体温{36 + number % 5}度。" for number in range(2500))
    _, rejects = filter_quality([make.section(long, "书"), make.dialogue(QUESTION, long[:9000])], SETTINGS)
    assert [reject.reason.split(":")[0] for reject in rejects] == ["too long", "too long"]
    kept, _ = filter_quality([make.section(long[:9000], "书")], SETTINGS)
    assert len(kept) == 1


def test_a_record_is_judged_by_itself(make) -> None:
    records = [make.dialogue(*pair) for pair in BAD.values()] + [make.dialogue(QUESTION, ANSWER)]
    kept, rejects = filter_quality(records, SETTINGS)
    assert len(kept) + len(rejects) == len(records)
    backwards, others = filter_quality(records[::-1], SETTINGS)
    assert [record.id for record in backwards] == [record.id for record in kept][::-1]
    assert Counter(reject.reason for reject in others) == Counter(reject.reason for reject in rejects)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("多喝温水，注意休息。", 0.0),
        ("孩子多喝温水。孩子多喝温水。", 0.5),
        ("孩子多喝温水。孩子多喝温水。孩子多喝温水。孩子多喝温水。", 0.75),
        ("好的。好的。好的。", 0.0),
    ],
)
def test_repetition_is_the_share_that_was_said_before(text: str, share: float) -> None:
    assert measures.repetition(text) == pytest.approx(share)


def test_a_loop_without_punctuation_is_repetition() -> None:
    assert measures.repetition("孩子发热要多喝水" * 30) > 0.9


def test_noise_counts_words_and_weighs_reversed_meaning() -> None:
    assert measures.synonym_noise("多喝温水，注意休息，及时就诊。") == 0
    plain = "这种病要留意饮食，用积极的心态去面对。"
    assert measures.synonym_noise(plain) == pytest.approx(1)
    assert measures.synonym_noise(plain + "这样才能降低患者抗衡肝病的信心。") == pytest.approx(12)


@pytest.mark.parametrize(
    ("question", "answer", "least", "most"),
    [
        (QUESTION, ANSWER, 0, 0),
        ("孩子发热", "去医院", 0, 0),  # nothing is named: words cannot tell
        ("孩子腹泻、呕吐", "考虑轮状病毒感染，补液为主", 0, 0),
        ("男孩6岁，糖尿病", "考虑月经不调，痛经时热敷，保暖", 1, 1),
        ("湿疹反复一年", "骨折后固定，关节、膝、腰部注意休息", 1, 1),
    ],
)
def test_mismatch_is_told_by_words_only(question: str, answer: str, least: float, most: float) -> None:
    assert least <= measures.mismatch(question, answer) <= most


# What the table forbids, said as advice: each is found; the second of a row must not be.
UNSAFE = [
    ("8岁孩子感冒咳嗽，喝什么？", "可以口服可待因止咳水。", "孩子18岁以下，不能喝可待因止咳水。"),
    ("5岁孩子发烧", "给孩子服用尼美舒利颗粒退烧。", "不要给孩子服用尼美舒利。"),
    ("孩子6岁，水痘发热38.5度", "可以吃阿司匹林退热。", "禁用阿司匹林，有瑞氏综合征的风险。"),
    ("6岁支气管炎，孩子咳嗽", "建议输左氧氟沙星治疗。", "左氧氟沙星影响软骨，儿童慎用。"),
    ("3岁孩子扁桃体发炎", "可以服用四环素。", "四环素会引起牙齿变黄，8岁以下避免使用。"),
    ("4岁宝宝拉肚子", "可以肌注庆大霉素。", "庆大霉素有耳毒性，避免使用。"),
    ("9个月宝宝流鼻涕", "建议服用优卡丹。", "优卡丹禁用于1岁以下。"),
    ("1岁半宝宝感冒", "可以给宝宝吃小儿氨酚黄那敏颗粒。", "两岁以下不建议自行吃氨酚黄那敏。"),
    ("孩子7岁发烧", "可以打柴胡注射液退烧。", "儿童禁用柴胡注射液。"),
    ("3岁孩子肺炎", "静滴双黄连注射液治疗。", "四岁以下禁用双黄连注射液。"),
    ("孩子3岁手足口病发热", "可以口服利巴韦林抗病毒。", "不需要常规使用利巴韦林。"),
    ("8个月宝宝便秘", "可以喂点蜂蜜水。", "一岁以内不能吃蜂蜜。"),
    ("宝宝7个月发烧", "可以用酒精擦手心降温。", "不要用酒精擦身。"),
    ("5个月宝宝发烧39度", "可以口服美林4ml。", "6个月以下不用美林。"),
    ("孩子4岁，蚕豆病，尿路感染", "可以服用呋喃妥因。", "蚕豆病禁用呋喃妥因。"),
]


@pytest.mark.parametrize(("question", "advice", "warning"), UNSAFE)
def test_unsafe_advice_is_found_and_a_warning_is_not(question: str, advice: str, warning: str) -> None:
    assert unsafe_advice(question, [advice])
    assert not unsafe_advice(question, [warning])


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("孩子4岁，川崎病，医生开了阿司匹林，要吃吗？还发热", "川崎病需要口服阿司匹林，请按医嘱服用。"),
        ("我今年35岁，咳嗽", "可以服用左氧氟沙星。"),
        ("哺乳期感冒，宝宝8个月", "可以喝点蜂蜜水。"),
        ("孩子8岁，肺炎", "可以服用多西环素。"),
        ("孩子6岁，肠炎", "可以口服庆大霉素。"),
        ("8岁孩子便秘", "可以喝点蜂蜜水。"),
        ("宝宝便秘", "可以喝点蜂蜜水。"),  # no age: the rule holds below one year only
        ("孩子10个月，结膜炎", "可以用左氧氟沙星滴眼液点眼。"),
        ("孩子5岁，发烧", "可以口服布洛芬混悬液。"),
        ("新生儿先天性弓形虫病", "治疗方案包括磺胺嘧啶。"),
    ],
)
def test_what_the_table_allows_stays(question: str, answer: str) -> None:
    assert unsafe_advice(question, [answer]) == ""


def test_the_age_of_the_record_comes_before_the_words() -> None:
    assert unsafe_advice("便秘怎么办", ["可以喝点蜂蜜水。"], 8)
    assert not unsafe_advice("宝宝8个月便秘", ["可以喝点蜂蜜水。"], 30)


def test_the_table_is_whole_and_its_words_let_every_rule_through() -> None:
    table = rules("unsafe")["rules"]
    assert len({row["id"] for row in table}) == len(table)
    for row in table:
        assert row["mark"] in "CLK"
        assert row["reviewer"] == ""  # nobody has signed any
        assert {"id", "drugs", "below_months", "consequence", "source", "date"} <= row.keys()
    advised = [unsafe_advice(question, [advice]).split(",")[0] for question, advice, _ in UNSAFE]
    assert len(set(advised)) == len(UNSAFE)


def test_words_that_open_the_advertisement_check_are_in_what_it_finds(real_records) -> None:
    opener = re.compile("|".join(map(re.escape, rules("quality")["promotion_words"])))
    found = [re.compile(expression) for _, expression in rules("quality")["promotion"]]
    texts = [turn["content"] for record in real_records for turn in record.messages] + [BAD["advertisement"][1]]
    hits = [text for text in texts if any(expression.search(text) for expression in found)]
    assert hits
    assert all(opener.search(text) for text in hits)


def test_a_section_is_not_judged_by_how_an_answer_fits_its_question(make) -> None:
    strict = QualitySettings(max_mismatch=0.0)
    section, dialogue = (
        make.section("百日咳由百日咳鲍特菌引起。", "书"),
        make.dialogue(*BAD["answer does not fit the question"]),
    )
    kept, rejects = filter_quality([section, dialogue], strict)
    assert [record.id for record in kept] == [section.id]
    assert rejects[0].reason.startswith("answer does not fit the question: ")


def test_quality_prefers_the_fuller_cleaner_and_safer(make) -> None:
    best = quality(make.dialogue(QUESTION, ANSWER))
    assert 0 < best <= 1
    for reason in ("repetition", "garbled", "synonym noise", "advertisement", "unsafe advice", "only courtesies"):
        assert quality(make.dialogue(*BAD[reason])) < best, reason
    assert quality(make.section("", "书")) == 0


def test_filters_lose_few_of_the_real_records(real_records) -> None:
    records, _ = clean(real_records, CleanSettings())
    kept, rejects = filter_quality(records, SETTINGS)
    assert len(kept) + len(rejects) == len(records)
    assert 10 <= len(rejects) < 0.02 * len(records)
    assert all(0 <= quality(record) <= 1 for record in records[::7])
