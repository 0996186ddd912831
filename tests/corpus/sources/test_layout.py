from __future__ import annotations

import pytest

from pediatricsgpt.corpus.sources.layout import (
    Line,
    drop_blank_lines,
    drop_page_numbers,
    drop_running_heads,
    drop_web_foot,
    keep_tables,
    take_contents,
    tidy,
)

PROSE = "患儿多有发热和咳嗽，部分伴有喘息，应当密切观察病情变化并及时处理"


def lines(*texts: str) -> list[Line]:
    return [Line(text, number) for number, text in enumerate(texts, 1)]


def texts(found: list[Line]) -> list[str]:
    return [line.text for line in found]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("目 前 是 我 国 5 岁 及 以 上 儿 童", "目前是我国5岁及以上儿童"),
        ("肺 炎 支 原 体 肺 炎 （ MPP ）： 指 肺 炎", "肺炎支原体肺炎（MPP）：指肺炎"),
        ("慢性气 道和肺疾病", "慢性气道和肺疾病"),
        ("剂量 0.5 \uf06dg/kg，\uf0b33 个月", "剂量 0.5 μg/kg，≥3 个月"),
        ("推荐剂量为 3 月 4 月 5 月 6 岁", "推荐剂量为 3 月 4 月 5 月 6 岁"),
    ],
)
def test_tidy_puts_characters_right(raw: str, expected: str) -> None:
    assert tidy(raw) == expected


def test_page_numbers_go_with_the_blank_lines_beside_them() -> None:
    page = [PROSE] * 12
    document = lines(*page, "", "1", "", *page, "2", *page, "3", *page)
    assert texts(drop_page_numbers(document)) == page * 4


def test_numbers_of_a_text_are_no_page_numbers() -> None:
    page = [PROSE] * 12
    document = lines("1", *page, "休克得分", "3", *page, "2", *page, "3", PROSE)
    assert texts(drop_page_numbers(document)) == [*page, "休克得分", "3", *page, *page, PROSE]


def test_a_score_table_keeps_its_numbers() -> None:
    document = lines(PROSE, "项目", "1", "项目", "2", "项目", "3", PROSE)
    assert drop_page_numbers(document) == document


def test_a_text_in_pieces_keeps_its_numbers() -> None:
    pieces = [
        "约",
        "1",
        "周左右缓解",
        "，",
        "60℃",
        "30",
        "分钟可灭活",
        "。",
        "在",
        "2",
        "岁以下",
        "、",
        "3",
        "天",
        "。",
    ]
    assert drop_page_numbers(lines(*pieces * 9)) == lines(*pieces * 9)


def test_running_heads_and_page_numbers_go_with_their_pages() -> None:
    bodies = [[f"{name}患儿的病史", f"{name}患儿的治疗"] for name in "甲乙丙丁戊"]
    pages = [lines("儿科杂志 2024 年 6 月", *body, str(number)) for number, body in enumerate(bodies, 5)]
    assert [texts(page) for page in drop_running_heads(pages)] == bodies


def test_a_head_that_holds_the_page_number_goes_too() -> None:
    pages = [lines(f"· {number} · 儿科杂志 2024 年 6 月", f"{PROSE}，第 {number} 例。") for number in range(40, 46)]
    kept = drop_running_heads(pages)
    assert [texts(page) for page in kept] == [[f"{PROSE}，第 {number} 例。"] for number in range(40, 46)]


def test_a_number_at_the_edge_that_does_not_count_pages_stays() -> None:
    pages = [
        lines(f"{name}{PROSE}", number) for name, number in zip("甲乙丙丁戊", ("7", "3", "9", "9", "12"), strict=True)
    ]
    assert drop_running_heads(pages) == pages


def kept(*printed: str) -> list[tuple[str, bool]]:
    found = keep_tables([Line(tidy(text), number) for number, text in enumerate(printed, 1)], printed)
    return [(line.text, line.verbatim) for line in found]


def test_what_is_left_of_a_table_stays_line_by_line_with_the_spaces_between_cells() -> None:
    prose = [f"{PROSE}。"] * 6
    table = ["表 17-2 替代治疗的方案及疗程", "产品 按需治疗 预防治疗", "新鲜冰冻血浆 10～20ml/kg", "治疗 3", "4 周"]
    found = kept(*prose, *table, "注：按体重计算。", *prose)
    assert found == [(text, False) for text in prose] + [(text, True) for text in table] + [
        (text, False) for text in ["注：按体重计算。", *prose]
    ]


def test_a_table_ends_before_a_heading_and_before_two_full_lines() -> None:
    prose, table = [f"{PROSE}。"] * 6, ["表1 剂量", "甲 1", "乙 2", f"丙 {PROSE}"[:30], "丁 4"]
    for end in (["治疗", PROSE], ["二、治疗", PROSE], [PROSE, PROSE]):
        found = kept(*prose, *table, *end, *prose)
        assert [text for text, verbatim in found if verbatim] == table


def test_words_about_a_table_and_a_caption_before_prose_are_no_table() -> None:
    prose = [f"{PROSE}。"] * 6
    for text in ("表 1 所列的药物，应当慎用", "表1 剂量"):
        assert not any(verbatim for _, verbatim in kept(*prose, text, *prose))


def test_the_foot_of_a_web_page_goes_from_its_first_line_on() -> None:
    foot = ["相关链接：", "《通知》解读", "网站地图", "电话：010-00000000", "某机关 版权所有，不得非法镜像"]
    assert texts(drop_web_foot(lines(PROSE, *foot))) == [PROSE]
    assert texts(drop_web_foot(lines(PROSE, "网站地图", PROSE))) == [PROSE, "网站地图", PROSE]


def test_blank_lines_between_all_lines_separate_nothing() -> None:
    assert texts(drop_blank_lines(lines("甲", "", "乙", "", "丙"))) == ["甲", "乙", "丙"]
    some = lines("甲", "乙", "丙", "", "丁", "戊")
    assert drop_blank_lines(some) == some


def test_a_table_of_contents_is_dropped_and_its_headings_remembered() -> None:
    document = lines("目 录", "1.软骨发育不全 ........ 1", "2.血友病 ........ 5", "II", "1. 软骨发育不全", PROSE)
    kept, contents = take_contents(document)
    assert texts(kept) == ["1. 软骨发育不全", PROSE]
    assert contents == {"1软骨发育不全": "1.软骨发育不全", "2血友病": "2.血友病", "血友病": "血友病"}


def test_a_table_of_contents_without_dots_ends_where_headings_repeat() -> None:
    document = lines("目录", "一、概述", "二、治疗", "一、概述", PROSE, "二、治疗", PROSE)
    kept, _ = take_contents(document)
    assert texts(kept) == ["一、概述", PROSE, "二、治疗", PROSE]


def test_a_text_without_contents_is_left_alone() -> None:
    document = lines("一、概述", PROSE, "等......")
    assert take_contents(document) == (document, {})
