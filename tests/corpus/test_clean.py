"""Cleaning takes away what is no text, changes nothing that was said, and accounts for every record."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus import clean as clean_module
from pediatricsgpt.corpus import wording
from pediatricsgpt.corpus.clean import changes, clean, clean_text, clean_turn
from pediatricsgpt.corpus.rules import pattern, rules
from pediatricsgpt.corpus.settings import CleanSettings, SourceSettings
from pediatricsgpt.corpus.sources import read_source
from pediatricsgpt.facts import extract
from pediatricsgpt.records import Record

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = CleanSettings()
ANSWER = "建议多喝温水，注意观察体温。"


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("宝宝发热<br/>三天", "宝宝发热\n三天"),
        ("<p class='a'>宝宝发热</p>", "宝宝发热"),
        ("<font color=red size=3>宝宝</font>发热", "宝宝发热"),
        ("血糖<7.0，体温>38.5", "血糖<7.0，体温>38.5"),
        ("若a<b and c>d则停药", "若a<b and c>d则停药"),
        ("白细胞10×10<sup>9</sup>/L", "白细胞10×10^9/L"),
        ("服思密达3<b>1</b>次", "服思密达3 1次"),
        ("服&quot;思密达&quot;&nbsp;1包", '服"思密达" 1包'),
        ("&lt;3岁的孩子", "<3岁的孩子"),
        ("看[图片]这个【图片因隐私问题无法显示】疹子（语音）", "看这个疹子"),
        ("乙肝大三阳[2]，见（图1）", "乙肝大三阳[2]，见（图1）"),
        ("做视频脑电图检查", "做视频脑电图检查"),
        ("别紧张，医生有语音回复内容,具体请点击收听医嘱。", "别紧张。"),
        ("怎么办？？？急！！！", "怎么办？急！"),
        ("孩子咳嗽。。。很厉害......", "孩子咳嗽。很厉害……"),
        ("心肾不交等|#|必须辨证施治", "心肾不交等\n必须辨证施治"),
        ("体温３８．５℃", "体温38.5℃"),
        ("宝宝\\x0a发热", "宝宝发热"),
    ],
)
def test_markup_goes_and_text_stays(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


def test_code_is_left_alone() -> None:
    code = "看这段代码：\n```python\nif a  !!  b:\n    print('<br>')\n```\n好吗？？"
    assert clean_text(code) == "看这段代码：\n```python\nif a  !!  b:\n    print('<br>')\n```\n好吗？"


FRAGMENTS = [
    "宝宝",
    "不",
    "没有",
    "10mg",
    "0.5ml",
    "3岁",
    "38.5℃",
    "5",
    "12",
    "阿莫西林",
    "，",
    "。",
    "！！",
    "每日3次",
    "禁用",
]
MARKUP = ["<br>", "<b>", "</b>", "<font size=3>", "[图片]", "&nbsp;", "\\x1f", "（语音消息）"]


@given(st.lists(st.sampled_from(FRAGMENTS + MARKUP), max_size=30))
def test_no_number_unit_drug_or_negation_changes(parts: list[str]) -> None:
    cleaned = clean_text("".join(parts))
    kept = "".join("\n" if part in MARKUP else part for part in parts)
    assert re.findall(r"\d+", cleaned) == re.findall(r"\d+", kept)
    assert chinese.key(cleaned) == chinese.key(kept)


def test_form_marks_of_platforms_go_from_answers_only(make) -> None:
    record = make.dialogue("病情分析：这几个字是什么意思？", "病情分析：您好，考虑感冒意见建议：多喝水。")
    (cleaned,), _ = clean([record], SETTINGS)
    assert [turn["content"] for turn in cleaned.messages] == [
        "病情分析：这几个字是什么意思？",
        "您好，考虑感冒。多喝水。",
    ]


def test_turns_alternate_from_patient_to_doctor(make) -> None:
    turns = [
        ("assistant", "您好，很高兴为您服务。"),
        ("user", "孩子咳嗽"),
        ("user", "[图片]"),
        ("user", "三天了"),
        ("assistant", ANSWER),
        ("assistant", "必要时就诊。"),
        ("user", "谢谢"),
    ]
    record = make.messages([{"role": role, "content": content} for role, content in turns])
    (cleaned,), rejects = clean([record], SETTINGS)
    assert not rejects
    assert [(turn["role"], turn["content"]) for turn in cleaned.messages] == [
        ("user", "孩子咳嗽\n三天了"),
        ("assistant", f"{ANSWER}\n必要时就诊。"),
    ]
    assert cleaned.id == record.id
    assert cleaned.steps[-1].name == "clean"


def test_a_system_turn_stays_first(make) -> None:
    record = make.messages(
        [
            {"role": "system", "content": "你是儿科医生。"},
            {"role": "assistant", "content": "您好"},
            {"role": "user", "content": "孩子咳嗽怎么办"},
            {"role": "assistant", "content": ANSWER},
        ]
    )
    (cleaned,), _ = clean([record], SETTINGS)
    assert [turn["role"] for turn in cleaned.messages] == ["system", "user", "assistant"]


def test_rejects_say_why(make) -> None:
    records = [
        make.section("略。", "指南", "一、概述"),
        make.section("Mycoplasma pneumoniae pneumonia in children", "指南", "二、定义"),
        make.dialogue("孩子咳嗽怎么办", "好的"),
        make.dialogue("孩子咳嗽怎么办", "[图片]"),
        make.dialogue("孩子咳嗽怎么办？", "孩子咳嗽，怎么办"),
        make.dialogue("What to do about a cough?", "Give warm water and wait."),
        make.preference("孩子咳嗽怎么办", ANSWER, ANSWER),
        make.preference("孩子咳嗽怎么办", "", ANSWER),
        make.preference("孩子咳嗽怎么办", ANSWER, "不知道。"),
    ]
    kept, rejects = clean(records, SETTINGS)
    assert [reject.reason.split(":")[0] for reject in rejects] == [
        "too short",
        "no Chinese text",
        "answer too short",
        "no question followed by an answer",
        "answer equals question",
        "no Chinese text",
        "both sides are the same",
        "one side is empty",
    ]
    assert len(kept) + len(rejects) == len(records)


def test_a_short_fact_is_measured_with_its_entity(make) -> None:
    kept, rejects = clean([make.fact("百日咳", "传播方式", "呼吸道传播")], SETTINGS)
    assert len(kept) == 1
    assert not rejects


def test_real_records_lose_no_number(real_records) -> None:
    kept, rejects = clean(real_records, SETTINGS)
    assert len(kept) + len(rejects) == len(real_records)
    before = {record.id: record for record in real_records}
    for record in kept:
        for turn in record.messages:
            assert "病情分析：" not in turn["content"] or turn["role"] == "user"
        if record.shape == "text" and not re.search(r"<|&|\[|\\", before[record.id].text):
            numbers = re.findall(r"\d+", record.text)
            assert numbers == re.findall(r"\d+", chinese.normalise(before[record.id].text))


# What an independent reader would call a fact: written here apart from the code, with other means.
NUMBER = re.compile(r"\d+(?:\.\d+)?|[一二两三四五六七八九十百千半几]+(?=[岁个天周月次年粒片包袋支毫克滴斤度])")
UNIT = re.compile(
    r"(?<=\d)\s?(?:mg|ml|g|kg|ug|μg|毫克|毫升|克|公斤|℃|度|岁|个月|天|周|次|片|粒|袋|支|U|IU|mmol|%)", re.I
)
NEGATION = re.compile(r"[不没無无未非禁勿忌别莫]|避免|停用")
DRUGS = re.compile(
    "阿莫西林|布洛芬|对乙酰氨基酚|头孢[克曲唑呋丙地][一-鿿]{0,2}|阿奇霉素|红霉素|青霉素|利巴韦林|蒙脱石|益生菌|胰岛素|二甲双胍|拉米夫定"
    "|恩替卡韦|干扰素|疫苗|免疫球蛋白|奥美拉唑|甲硝唑|庆大霉素|丙戊酸钠|卡马西平|硝苯地平|维生素|葡萄糖|阿司匹林|氯雷他定|西替利嗪|沙丁胺醇|地塞米松"
)


def facts(text: str) -> dict[str, object]:
    """Numbers, units and drugs in their order, and how often anything is denied."""
    text = wording.simplify(chinese.normalise(text))
    found: dict[str, object] = {
        name: expression.findall(text) for name, expression in (("numbers", NUMBER), ("units", UNIT), ("drugs", DRUGS))
    }
    return {**found, "negations": Counter(NEGATION.findall(text))}


def texts(records: list[Record]) -> Iterator[tuple[str, str]]:
    """(role, text) of everything that cleaning sees, but for markup, whose numbers are no facts."""
    for record in records:
        turns = [*record.messages, *record.chosen, *record.rejected]
        for role, text in [("", record.text), *((turn["role"], turn["content"]) for turn in turns)]:
            if text and not re.search(r"[<&\[\\`【]", text):
                yield role, text


def read(path: Path, kind: str) -> list[Record]:
    settings = SourceSettings(name="read", kind=kind, path=path, licence="MIT", consent="published", purpose="testing")
    return read_source(settings, path.parent).records


def extracted(text: str) -> list[tuple[object, ...]]:
    """The facts of the package's extractor, in their order.

    胰岛素 is left to `facts`: the extractor knows that 胰岛素分泌 is no medicine, and cannot know it of 胰岛素排泄.
    """
    found = (fact for fact in extract(text) if fact.name != "胰岛素")
    return [(fact.kind, fact.value, fact.high, fact.unit, fact.name, fact.negated) for fact in found]


def assert_facts_stay(records: list[Record], least: int) -> None:
    changed = 0
    for role, text in texts(records):
        cleaned = clean_turn(text, role, SETTINGS)
        if cleaned != text:
            changed += 1
            assert facts(cleaned) == facts(text), text
            assert extracted(cleaned) == extracted(wording.simplify(chinese.normalise(text))), text
    assert changed >= least  # a test over texts that cleaning leaves alone would prove nothing


def test_no_fact_of_the_examples_changes() -> None:
    records = [record for path in sorted((EXAMPLES / "dialogues").iterdir()) for record in read(path, "conversation")]
    assert_facts_stay(records, least=200)


@pytest.mark.parametrize(
    ("path", "kind", "least"),
    [
        ("dialogues/cmd_internal_medicine_sample.csv", "conversation", 1500),
        ("distilled/huatuo26m_test.json", "dataset", 500),
        ("dialogues/hetmc_train.dialog", "conversation", 30),
    ],
)
def test_no_fact_of_real_records_changes(shared: Path, path: str, kind: str, least: int) -> None:
    assert_facts_stay(read(shared / "data" / path, kind), least)


@pytest.mark.parametrize("name", ["drug", "disease", "check"])
def test_no_term_of_a_dictionary_changes(shared: Path, name: str) -> None:
    lines = (shared / f"data/kg/diseasekg_dict/{name}.txt").read_text(encoding="utf-8").split("\n")
    changed = [
        (line, clean_text(line)) for line in map(str.strip, lines) if chinese.normalise(line) != clean_text(line)
    ]
    # Doubled marks inside a few names are all that may go.
    assert [pair for pair in changed if chinese.key(pair[0]) != chinese.key(pair[1])] == []


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("打了点滴都不见踪影好", "打了点滴都不见好"),
        ("出生24小时内麻醉乙肝疫苗10微克", "出生24小时内注射乙肝疫苗10微克"),
        ("手术需要局部麻醉", "手术需要局部麻醉"),
        ("避免劳累，以免放柔病情。", "避免劳累，以免加重病情。"),
        ("胰岛素排泄不足", "胰岛素分泌不足"),
        ("钠的排泄减少", "钠的排泄减少"),
        ("有肝炎病毒拷贝", "有肝炎病毒复制"),
        ("乙肝病毒拷贝数低于500", "乙肝病毒拷贝数低于500"),
        ("母婴散播的截断率", "母婴传播的截断率"),
        ("平时监测数据血压", "平时监测血压"),
        ("平时需要有留意的", "平时需要留意的"),
        ("如何有效退热", "如何有效退热"),
    ],
)
def test_thesaurus_noise_is_undone_where_the_phrase_is_certain(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned
    assert clean_text(raw, CleanSettings(repair_synonyms=False)) == raw


def test_every_repair_names_a_part_of_what_it_finds_and_settles_at_once() -> None:
    for part, expression, replacement in rules("clean")["repairs"]:
        assert part in re.sub(r"\(\?<?[=!][^)]*\)|[()?\\]", "", expression)
        assert not re.search(expression, re.sub(r"\\\d", "", replacement))


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("頭髮稀少，發熱兩天，癥狀：乾咳、肝臟腫大", "头发稀少，发热两天，症状：干咳、肝脏肿大"),
        ("皮膚骯髒，左邊頭痛", "皮肤肮脏，左边头痛"),
        ("青黴素過敏，改用阿昔洛韋5mg/kg", "青霉素过敏，改用阿昔洛韦5mg/kg"),
        ("右边的鼻孔不適", "右边的鼻孔不适"),
        ("二噁英、磺胺甲噁唑、黑矇、癥瘕积聚、止痛化癥片", "二噁英、磺胺甲噁唑、黑矇、癥瘕积聚、止痛化癥片"),
        ("乾隆年间的方子，阿莫西林乾混悬剂，著作", "乾隆年间的方子，阿莫西林乾混悬剂，著作"),
    ],
)
def test_traditional_characters_become_simplified_by_word(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned
    assert clean_text(raw, CleanSettings(simplify=False)) == raw


def test_classical_texts_and_exempt_kinds_stay_traditional() -> None:
    classical = "夫小兒之病，其脈之難辨者也。蓋其氣血未定，故其病也易虛易實，治之者其可不慎乎。"
    assert clean_text(classical) == classical
    assert clean_text(classical, CleanSettings(simplify_classical=True)).startswith("夫小儿之病")
    modern = "患兒發熱三天，建議多飲水，必要時就診。"
    assert clean_text(modern, CleanSettings(simplify_exempt=["textbook"]), "textbook") == modern
    assert (
        clean_text(modern, CleanSettings(simplify_exempt=["textbook"]), "dataset")
        == "患儿发热三天，建议多饮水，必要时就诊。"
    )


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("你好，孩子是感冒，多喝水，祝早日康复！", "孩子是感冒，多喝水。"),
        ("您好：很高兴为你解答，考虑湿疹。祝宝宝健康成长！", "考虑湿疹。"),
        ("你好", "你好"),
        ("祝您健康！", "祝您健康！"),
    ],
)
def test_greetings_go_only_where_asked(raw: str, cleaned: str) -> None:
    assert clean_turn(raw, "assistant", CleanSettings(greetings="remove")) == cleaned
    assert clean_turn(raw, "assistant", SETTINGS) == raw
    assert clean_turn(raw, "user", CleanSettings(greetings="remove")) == raw


def test_the_number_of_a_list_item_is_no_decimal() -> None:
    assert clean_turn("注意卫生.意见建议：1.外用药膏", "assistant", SETTINGS) == "注意卫生. 1.外用药膏"


def test_requests_for_votes_go() -> None:
    raw = "热敷就可以了，方便的话给我的回答作出评价，谢谢"
    assert clean_turn(raw, "assistant", SETTINGS) == "热敷就可以了"
    assert clean_text("方便的话带孩子去医院看看。") == "方便的话带孩子去医院看看。"


PIECES = [
    *FRAGMENTS,
    *MARKUP,
    " ",
    "\n",
    "\n ",
    "　",
    "\ue4c6",
    "５",
    "ｍｇ",
    "．",
    "……",
    "...",
    "#|",
    "|#|",
    "`",
    "```",
    "方便的话",
    "請",
    "癥",
    "噁",
    "麻醉疫苗",
    "不见踪影好",
    "[图片",
    "。。",
    "e\u0301",
    "\\u4e00",
    "&lt;",
    "\x07",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_a_text_that_is_passed_over_is_one_that_cleaning_would_not_change(parts: list[str]) -> None:
    text = "".join(parts)
    if clean_module.is_clean(text):
        assert clean_module._clean_prose(text, SETTINGS, "") == text
    if clean_module._is_normal(text):
        assert chinese.normalise(text) == text


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=20))
def test_any_text_that_is_passed_over_is_one_that_cleaning_would_not_change(text: str) -> None:
    if clean_module.is_clean(text):
        assert clean_module._clean_prose(text, SETTINGS, "") == text


ROLES = st.sampled_from(["user", "assistant"])
GREETED = CleanSettings(greetings="remove")
SPANS = [
    *PIECES,
    "病情分析：",
    "析 ：",
    "建议",
    "指导",
    "健康指导",
    "指导建议\n:",
    "病毒拷贝",
    "数量",
    "胰岛素",
    "的排泄",
    "不剔除",
    "可能",
]


def one_by_one(texts: list[str], role: str, settings: CleanSettings) -> dict[int, str]:
    cleaned = [clean_turn(text, role, settings) for text in texts]
    return {place: new for place, (new, old) in enumerate(zip(cleaned, texts, strict=True)) if new != old}


@given(st.lists(st.lists(st.sampled_from(SPANS), max_size=8).map("".join), max_size=6), ROLES, st.booleans())
def test_many_texts_at_once_change_as_each_by_itself(texts: list[str], role: str, greeted: bool) -> None:
    settings = GREETED if greeted else SETTINGS
    assert changes(pa.array(texts, pa.string()), role, settings) == one_by_one(texts, role, settings)


@given(st.lists(st.text(alphabet=st.characters(codec="utf-8"), max_size=20), max_size=4), ROLES)
def test_any_texts_at_once_change_as_each_by_itself(texts: list[str], role: str) -> None:
    assert changes(pa.array(texts, pa.string()), role) == one_by_one(texts, role, SETTINGS)


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_every_single_sign_is_treated_alike_alone_and_among_others(role: str) -> None:
    texts = [f"孩{chr(code)}子" for code in range(0x20000) if not 0xD800 <= code < 0xE000]
    assert changes(pa.array(texts), role) == one_by_one(texts, role, SETTINGS)


def test_few_sound_texts_are_looked_at_twice() -> None:
    column = pa.array([f"孩{chr(code)}子" for code in range(0x4E00, 0x9FA0)])
    suspicious = pc.sum(pc.match_substring_regex(column, clean_module._suspicion(True))).as_py()
    assert suspicious < 2 * len(changes(column, "assistant"))


@pytest.mark.parametrize("found", [found for _, found, _ in rules("clean")["repairs"]])
def test_a_repair_is_searched_without_looking_around_in_the_same_texts(found: str) -> None:
    part = next(part for part, expression, _ in rules("clean")["repairs"] if expression == found)
    plain = wording._without_looking_around(found, part)
    assert plain != part or found == part
    letters = sorted(set(re.findall("[\u4e00-\u9fff]+", found)))
    texts = [a + b + c for a in ["", *letters] for b in letters for c in ["", "，", "5", *letters]]
    matched = pc.match_substring_regex(pa.array(texts), plain).to_pylist()
    assert [bool(re.search(found, text)) for text in texts] == matched
    assert any(matched)


@pytest.mark.parametrize("found", ["a(?=b)c", "(?<!a)b", "(a(?=b))", r"a(?=\s)", "a(?!b)"])
def test_an_expression_that_looks_around_otherwise_is_searched_by_its_part(found: str) -> None:
    assert wording._without_looking_around(found, "a.") == r"a\."


@given(st.lists(st.sampled_from([*SPANS, "就诊指导建议：", "意见建议:", "问题分析　："]), max_size=9).map("".join))
def test_marks_that_are_looked_for_at_their_ends_are_all_marks(text: str) -> None:
    assert wording._split_at_marks(text) == pattern("clean", "answer_marks").split(text)


def test_half_a_surrogate_pair_stops_nothing(make) -> None:
    kept, _ = clean(
        [make.dialogue("孩子发烧\ud83d怎么办？？", ANSWER), make.dialogue("孩子发烧？？", ANSWER)], SETTINGS
    )
    assert [record.messages[0]["content"] for record in kept] == ["孩子发烧\ud83d怎么办？", "孩子发烧？"]


def test_a_record_is_cleaned_by_itself_and_left_as_it_was(make) -> None:
    records = [make.dialogue(f"孩子咳嗽{day}天？？", f"病情分析：感冒<br>，多喝水{day}次") for day in range(5)]
    before = [record.as_dict() for record in records]
    together, _ = clean(records, SETTINGS)
    apart = [clean([record], SETTINGS)[0][0] for record in records]
    assert [record.as_dict() for record in together] == [record.as_dict() for record in apart]
    assert [record.as_dict() for record in records] == before
