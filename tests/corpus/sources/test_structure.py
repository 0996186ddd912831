from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.corpus.sources.headings import marked_heading
from pediatricsgpt.corpus.sources.layout import Line, drop_web_foot, take_contents, tidy
from pediatricsgpt.corpus.sources.structure import (
    Paragraph,
    Section,
    parts,
    rejoin,
    sections,
)

FULL = "患儿多有发热和咳嗽，部分伴有喘息，应当密切观察病情变化并及时处理"  # a line up to the edge, without an end


def lines(*texts: str) -> list[Line]:
    return [Line(text, number) for number, text in enumerate(texts, 1)]


def paragraphs(*texts: str) -> list[str]:
    return [paragraph.text for paragraph in rejoin(lines(*texts))]


def wrapped(*texts: str) -> list[str]:
    """Paragraphs of lines in a document of which most lines reach the edge; the last one is not asked for."""
    return paragraphs(*texts, *[FULL] * 20, "结束。")[:-1]


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        (["对", "0.1%", "脱氧胆酸钠敏感", "。"], "对0.1%脱氧胆酸钠敏感。"),
        (["直径", "26", "~", "3", "4nm", "。"], "直径26~34nm。"),
        (["1", "岁以下", "1", ".0g", "/", "次", "。"], "1岁以下1.0g/次。"),
        (["1.", "血常规", "：白细胞不高", "。"], "1.血常规：白细胞不高。"),
        (["2", ".", "如无严重症状", "，不需检查", "。"], "2.如无严重症状，不需检查。"),
        (["约", "1", "周左右缓解", "。"], "约1周左右缓解。"),
        (["（", "1", "）", "核酸检测阳性", "；"], "（1）核酸检测阳性；"),
    ],
)
def test_pieces_of_a_line_come_together_again(pieces: list[str], joined: str) -> None:
    filler = ["患者", "、", "接触者", "均为传染源", "。"] * 6
    assert paragraphs(*filler, *pieces)[-1] == joined


def test_a_heading_in_pieces_ends_before_the_text_and_runs_over_several_pieces() -> None:
    pieces = [
        "四、实验室",
        "及影像学",
        "检查",
        "（一）常规检查",
        "hMPV",
        "感染者",
        "，可有",
        "肝酶升高",
        "。",
        "（二）",
        "其他",
        "。",
    ]
    found = rejoin(lines(*pieces * 3))
    assert [(part.text, part.heading) for part in found[:4]] == [
        ("四、实验室及影像学检查", True),
        ("（一）常规检查", True),
        ("hMPV感染者，可有肝酶升高。", False),
        ("（二）其他。", True),
    ]


def test_a_wrapped_line_goes_on_without_a_space_between_han_characters() -> None:
    assert wrapped(FULL, "。病情平稳后出院。")[0] == f"{FULL}。病情平稳后出院。"
    assert wrapped(FULL, "和随访。", "二、治疗")[:2] == [f"{FULL}和随访。", "二、治疗"]


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("主要的病原体可引起急性呼吸窘迫综合征（acute respiratory distress", "syndrome）。", "distress syndrome）。"),
        ("维库溴铵初始用量和维持剂量为每次给予其后的剂量一般为 0.01～", "0.15mg/kg。", "0.01～0.15mg/kg。"),
        ("患儿静脉注射时应当注意速度和浓度并且观察反应药物维持剂量为 0.", "5mg/kg。", "0.5mg/kg。"),
        ("国家卫生健康委员会组织专家对指南进行了认真的讨论和修订于 2023", "年发布。", "于 2023年发布。"),
        (
            "患儿经过大环内酯类抗菌药物正规治疗后仍持续发热称无反应性macrolide",
            "-unresponsive。",
            "macrolide-unresponsive。",
        ),
    ],
)
def test_numbers_words_and_ranges_survive_a_line_break(before: str, after: str, joined: str) -> None:
    assert wrapped(before, after)[0].endswith(joined)


def test_raised_digits_return_to_their_unit() -> None:
    assert "3.162Kg/cm2～324.258 Kg/cm2），" in "".join(
        wrapped(
            "犬的咬合力根据犬只大小和品种而不同约为310KPa（相当于3.162Kg/cm",
            "2",
            "～",
            "324.258 Kg/cm",
            "2",
            f"），{FULL}。",
        )
    )


def test_lists_and_short_lines_stay_on_their_own() -> None:
    document = [f"{FULL}：", "1.呼吸衰竭。", "（1）休克；", "推荐处方：寒湿疫方", "麻黄 6g、生石膏15g。"]
    assert wrapped(*document)[:5] == document


@pytest.mark.parametrize(
    ("text", "rank"),
    [
        ("第一篇 总论", 1),
        ("第三章 呼吸系统疾病", 2),
        ("第二节 肺炎", 3),
        ("一、病原学", 4),
        ("十二、诊断", 4),
        ("【临床表现】", 5),
        ("（一）传染源。", 6),
        ("(二)塑型支气管炎的识别", 6),
        ("（二）抗血管内皮生长因子治疗（Vascular Endothelial GrowthFactor，VEGF）", 6),
        ("一、二线药物", None),
        ("（一）感染性疾病发热后短期内出现惊厥、意识障碍等急性脑病症状；", None),
        ("（三）要与非感染性疾病，如血管炎等鉴别", None),
        ("（二）抗血管内皮生长因子治疗（Vascular Endothelial", None),
        ("1.血常规：", None),
        ("患儿多有发热", None),
    ],
)
def test_headings_are_known_by_mark_length_and_lack_of_prose(text: str, rank: int | None) -> None:
    assert marked_heading(text) == rank


def titles(*texts: str) -> list[tuple[list[str], str]]:
    return [(section.path, section.text) for section in sections(rejoin(lines(*texts)))]


def test_sections_carry_the_headings_above_them() -> None:
    found = titles(
        "本指南供参考。",
        "一、病原学",
        "病毒有包膜。",
        "二、流行病学",
        "（一）传染源。",
        "患者。",
        "（二）易感人群",
        "儿童。",
        "三、治疗",
        "对症。",
    )
    assert found == [
        ([], "本指南供参考。"),
        (["一、病原学"], "病毒有包膜。"),
        (["二、流行病学", "（一）传染源"], "患者。"),
        (["二、流行病学", "（二）易感人群"], "儿童。"),
        (["三、治疗"], "对症。"),
    ]


def test_a_heading_that_runs_into_its_text_is_a_heading() -> None:
    assert titles("六、鉴别", "（二）破伤风。由破伤风梭菌引起。", "【预后】良好，多可痊愈。") == [
        (["六、鉴别", "（二）破伤风"], "由破伤风梭菌引起。"),
        (["六、鉴别", "【预后】"], "良好，多可痊愈。"),
    ] or titles("六、鉴别", "（二）破伤风。由破伤风梭菌引起。") == [
        (["六、鉴别", "（二）破伤风"], "由破伤风梭菌引起。")
    ]


def test_numbered_sentences_belong_to_the_heading_above_them() -> None:
    found = titles(
        "七、高危人群",
        "（一）大于 65 岁，尤其是未接种者；",
        "（二）肥胖；",
        "（三）重度吸烟者。",
        "八、预防",
        "接种疫苗。",
    )
    assert found[0] == (["七、高危人群"], "（一）大于 65 岁，尤其是未接种者；\n（二）肥胖；\n（三）重度吸烟者。")


def test_appendices_gather_their_title_and_end_what_was_open() -> None:
    found = titles(
        "二、治疗",
        "（一）退热",
        "物理降温。",
        "附件 1",
        "外伤后使用指南",
        "（2019 年版）",
        "外伤后应当接种。",
        "一、制剂",
        "疫苗。",
    )
    assert found[1:] == [
        (["附件 1 外伤后使用指南（2019 年版）"], "外伤后应当接种。"),
        (["附件 1 外伤后使用指南（2019 年版）", "一、制剂"], "疫苗。"),
    ]


def test_markdown_headings_stand_above_numbered_ones() -> None:
    assert titles(
        "# 儿科手册", "## 呼吸", "一、肺炎", "抗感染。", "| 药 | 量 |", "| --- | --- |", "## 消化", "补液。"
    ) == [
        (["儿科手册", "呼吸", "一、肺炎"], "抗感染。\n| 药 | 量 |\n| --- | --- |"),
        (["儿科手册", "消化"], "补液。"),
    ]


def test_numbered_names_over_usual_headings_gather_them() -> None:
    found = titles(
        "概述", "病有两型。",
        "（一）Ⅰ型", "病因", "基因变异。", "临床表现", "斑块。", "治疗", "手术。",
        "（二）外周型，非特指", "病因", "不明。", "治疗", "随访。",
    )  # fmt: skip
    assert [path for path, _ in found] == [
        ["概述"],
        ["（一）Ⅰ型", "病因"],
        ["（一）Ⅰ型", "临床表现"],
        ["（一）Ⅰ型", "治疗"],
        ["（二）外周型，非特指", "病因"],
        ["（二）外周型，非特指", "治疗"],
    ]


def test_a_listed_name_in_a_table_is_no_heading_where_the_headings_are_numbered() -> None:
    body, contents = take_contents(
        lines(
            "目录",
            "1.血友病 ..... 1",
            "2.肉瘤 ..... 9",
            "1. 血友病",
            "概述",
            "出血。",
            "2.肉瘤",
            "概述",
            "分期：",
            "血友病",
            "无",
        )
    )
    found = sections(rejoin(body, contents))
    assert [section.path for section in found] == [["1.血友病", "概述"], ["2.肉瘤", "概述"]]


def test_a_usual_heading_that_comes_again_is_the_head_of_a_column_where_the_contents_are_known() -> None:
    texts = [
        "1. 血友病",
        "概述",
        "出血。",
        "治疗",
        "补充因子。",
        "鉴别诊断",
        "见表。",
        "治疗",
        "手术。",
        "参考文献",
        "略。",
    ]
    body, contents = take_contents(lines("目录", "1.血友病 ..... 1", "2.肉瘤 ..... 9", *texts))
    found = sections(rejoin(body, contents))
    assert [section.path[1:] for section in found] == [["概述"], ["治疗"], ["鉴别诊断"], ["参考文献"]]
    assert found[2].text == "见表。\n治疗\n手术。"
    assert len(sections(rejoin(lines(*texts[1:])))) == 5


def test_the_items_of_a_list_that_begins_with_prose_are_no_headings() -> None:
    found = titles(
        "一、早期预警",
        "具有以下表现者要警惕：",
        "（一）超高热（体温≥41℃）；",
        "（二）神经系统改变：嗜睡，惊厥发作；",
        "（三）代谢异常。血糖升高。",
        "二、治疗",
        "（一）退热。物理降温。",
    )
    assert [path for path, _ in found] == [["一、早期预警"], ["二、治疗", "（一）退热"]]
    assert found[0][1].endswith("（二）神经系统改变：嗜睡，惊厥发作；\n（三）代谢异常。血糖升高。")


def test_rows_of_tables_and_lines_of_code_are_paragraphs_whatever_they_say() -> None:
    code = [Line("一、治疗", 2, verbatim=True), Line("# 注", 3, verbatim=True), Line("| 1 |", 4, verbatim=True)]
    found = rejoin([Line("说明如下：", 1), *code, Line("完。", 5)])
    assert [(paragraph.text, paragraph.heading) for paragraph in found] == [
        ("说明如下：", False), ("一、治疗", False), ("# 注", False), ("| 1 |", False), ("完。", False),
    ]  # fmt: skip


def test_a_heading_with_nothing_under_it_is_an_empty_section() -> None:
    found = sections(rejoin(lines("一、诊断", "查血。", "二、流程图", "三、治疗", "（一）退热", "降温。")))
    assert [section.path for section in found if not section.paragraphs] == [["二、流程图"]]


def test_long_sections_are_cut_at_paragraphs_and_long_paragraphs_at_sentences() -> None:
    texts = ["甲" * 50 + "。", "乙" * 50 + "。", ("丙" * 30 + "。") * 5]
    section = Section(["一、甲"], Line("一、甲", 1), [Paragraph(Line(t, n), t, t) for n, t in enumerate(texts, 2)])
    found = parts(section, limit=110)
    assert [start.line for start, _ in found] == [1, 4, 4]
    assert found[0][1] == "\n".join(texts[:2])
    assert "".join(text for _, text in found).replace("\n", "") == "".join(texts)
    assert all(len(text) <= 110 for _, text in found)


PIECES = st.text(alphabet="发热咳嗽儿童，。；、：（）一二（1）0123456789.%～-mgkL 一、", min_size=1, max_size=30)


@given(st.lists(PIECES, min_size=1, max_size=40))
def test_no_character_is_lost_by_rejoining(raw: list[str]) -> None:
    given_lines = lines(*map(tidy, raw))
    assert squeeze("".join(paragraph.text for paragraph in rejoin(given_lines))) == squeeze(
        "".join(line.text for line in given_lines)
    )


GUIDELINES = sorted((Path(__file__).parents[3] / "examples" / "guidelines").glob("*.json"))


@pytest.mark.parametrize("path", GUIDELINES, ids=[path.stem[:40] for path in GUIDELINES])
def test_every_number_of_a_guideline_survives(path: Path) -> None:
    raw = without_page_numbers(json.loads(path.read_text(encoding="utf-8"))["content"].split("\n"))
    body, _ = take_contents(drop_web_foot(lines(*map(tidy, raw))))
    found = [paragraph.text for paragraph in rejoin(body)]
    assert squeeze("".join(found)) == squeeze("".join(line.text for line in body))
    if "诺如" not in path.name and "人偏肺" not in path.name:  # those two are cut inside numbers: 3|4nm
        assert numbers("\n".join(found)) == numbers("\n".join(line.text for line in body))


def without_page_numbers(raw: list[str]) -> list[str]:
    """Lines without numbers that stand alone and count on by one, unless the text has them everywhere."""
    alone = [place for place, line in enumerate(raw) if re.fullmatch(r"[0-9]+", line.strip())]
    if len(alone) > len(raw) / 20:
        return raw  # a text in pieces, which has no pages
    expected, dropped = int(raw[alone[0]]) if alone else 0, set()
    for place in alone:
        if int(raw[place]) == expected:
            dropped.add(place)
            expected += 1
    return [line for place, line in enumerate(raw) if place not in dropped]


def numbers(text: str) -> Counter[str]:
    return Counter(re.findall(r"\d+(?:\.\d+)?", text))


def squeeze(text: str) -> str:
    return re.sub(r"\s", "", text)
