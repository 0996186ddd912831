from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus.sources.assemble import clean_title, document_group, take_title
from pediatricsgpt.corpus.sources.layout import Line
from pediatricsgpt.errors import UserError
from pediatricsgpt.text import key

Read = Callable[..., Any]
Make = Callable[..., Path]
GUIDE = "小儿发热诊疗指南\n（2024 年版）\n一、定义\n体温超过 38℃。\n二、治疗\n（一）退热\n对乙酰氨基酚 10-15mg/kg。\n"


def squeeze(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
def test_plain_text_is_read_in_any_usual_encoding(read: Read, make: Make, encoding: str) -> None:
    records, rejects = read(make("guide.txt", GUIDE, encoding), "guideline")
    assert not rejects
    title = "小儿发热诊疗指南（2024 年版）"
    assert [(record.title, record.text) for record in records] == [
        ([title, "一、定义"], "体温超过 38℃。"),
        ([title, "二、治疗", "（一）退热"], "对乙酰氨基酚 10-15mg/kg。"),
    ]
    assert [record.source.locator.line for record in records] == [3, 6]
    assert records[1].source.locator.section == "二、治疗 / （一）退热"
    assert {record.group for record in records} == {"document:小儿发热诊疗指南2024年版"}
    assert {(record.family, record.department, record.task) for record in records} == {("specialised", "unknown", "")}


def test_a_text_without_title_is_named_after_its_file(read: Read, make: Make) -> None:
    records, _ = read(make("发热.md", "发热是儿科最常见的症状，原因很多。\n\n多数由病毒引起。"), "text")
    assert [(record.title, record.text) for record in records] == [
        (["发热"], "发热是儿科最常见的症状，原因很多。\n多数由病毒引起。")
    ]
    assert records[0].family == "general"


def test_markdown_keeps_headings_and_tables(read: Read, make: Make) -> None:
    text = "# 儿科手册\n\n## 发热\n\n多饮水。\n\n| 药 | 剂量 |\n| --- | --- |\n| 布洛芬 | 5mg/kg |\n"
    records, _ = read(make("a.md", text), "textbook")
    assert records[0].title == ["儿科手册", "发热"]
    assert records[0].text == "多饮水。\n| 药 | 剂量 |\n| --- | --- |\n| 布洛芬 | 5mg/kg |"


def test_fenced_code_is_no_heading_and_stays_line_by_line(read: Read, make: Make) -> None:
    code = "```\n# 体重\n剂量 = 体重 * 10\n一、不是标题\n```"
    text = f"---\ntitle: x\n---\n# 手册\n\n## **计算**\n\n按下式计算。\n\n{code}\n\n完毕。\n"
    records, rejects = read(make("a.md", text), "textbook")
    assert not rejects
    assert [(record.title, record.text) for record in records] == [(["手册", "计算"], f"按下式计算。\n{code}\n完毕。")]
    assert records[0].source.locator.line == 6


def test_lines_in_several_encodings_are_read_and_those_in_none_rejected(read: Read, make: Make) -> None:
    lines = [
        "一、定义".encode("gb18030"),
        "体温超过 38℃ 为发热。".encode("gb18030"),
        "二、治疗".encode(),
        "应当多饮水，注意休息。".encode(),
        b"\xff\x81\xff\x81\xff\xfe\x81\xff",
        "三、預後".encode("big5"),
        "多數預後良好，請勿擔心。".encode("big5"),
    ]
    records, rejects = read(make("a.txt", b"\n".join(lines)), "text")
    assert [(record.title[-1], record.text) for record in records] == [
        ("一、定义", "体温超过 38℃ 为发热。"),
        ("二、治疗", "应当多饮水，注意休息。"),
        ("三、預後", "多數預後良好，請勿擔心。"),
    ]
    assert [(reject.where, reject.reason.split(":")[0]) for reject in rejects] == [("a.txt:5", "unknown encoding")]


def test_an_endless_line_is_a_reject_and_the_rest_is_read(read: Read, make: Make) -> None:
    text = f"一、定义\n体温超过 38℃ 为发热。\n{'发热' * 3_000_000}\n二、治疗\n应当多饮水，注意休息。\n"
    path = make("a.txt", text)
    records, rejects = read(path, "text")
    assert [record.text for record in records] == ["体温超过 38℃ 为发热。", "应当多饮水，注意休息。"]
    assert [record.source.locator.line for record in records] == [1, 4]
    assert [(reject.where, reject.reason.split(";")[0]) for reject in rejects] == [
        ("a.txt:3", "line too long: 18000000 bytes")
    ]
    assert len(str(rejects[0].row)) < 1000
    wide, lost = read(make("b.txt", text, "utf-16"), "text")
    assert [record.text for record in wide] == [record.text for record in records]
    assert [reject.reason.split(";")[0] for reject in lost] == ["line too long: 6000000 characters"]


def test_a_file_of_one_endless_line_is_an_error(read: Read, make: Make) -> None:
    with pytest.raises(UserError, match="line too long: 8000000 bytes"):
        read(make("a.txt", b"x" * 8_000_000), "text")


def test_json_documents_lose_the_words_of_their_notice(read: Read, make: Make) -> None:
    content = "附件\n小儿发热诊疗指南\n（2024 年版）\n2024 年 3 月\n一、定义\n体温超过 38℃。"
    document = {
        "title": "国家卫生健康委办公厅关于印发小儿发热诊疗指南（2024年版）的通知",
        "url": "",
        "content": content,
    }
    records, rejects = read(make("a.json", json.dumps(document, ensure_ascii=False)), "guideline")
    assert not rejects
    assert [(record.title, record.text) for record in records] == [
        (["小儿发热诊疗指南（2024年版）", "一、定义"], "体温超过 38℃。")
    ]
    assert str(records[0].source.locator) == "line 1, section 一、定义 (line 5 of content)"


def test_json_rows_without_title_or_content_are_rejects(read: Read, make: Make) -> None:
    rows = [{"title": "发热", "content": "多饮水，多休息。"}, {"title": "咳嗽"}, {"title": "腹泻", "content": " "}, 7]
    records, rejects = read(make("a.json", json.dumps(rows, ensure_ascii=False, indent=1)), "textbook")
    assert [record.source.locator.row for record in records] == [1]
    assert [reject.where for reject in rejects] == ["a.json:6, row 2", "a.json:9, row 3", "a.json:13, row 4"]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("关于印发人偏肺病毒感染诊疗方案（2023年版）的通知", "人偏肺病毒感染诊疗方案（2023年版）"),
        ("国家卫生健康委办公厅关于印发《近视防治指南》的通知", "近视防治指南"),
        ("关于印发流行性感冒诊疗方案 2020年版 的通知", "流行性感冒诊疗方案 2020年版"),
        ("儿科学", "儿科学"),
    ],
)
def test_titles_lose_notice_and_quotation_marks(title: str, expected: str) -> None:
    assert clean_title(title) == expected


def test_the_title_is_taken_from_the_top_and_its_repetition_dropped() -> None:
    texts = ["附件", "关于印发小儿发热诊疗指南（2024年版）的通知", "小儿发热诊疗指南", "(2024 年版)", "发热很常见。"]
    title, rest = take_title([Line(text) for text in texts], "stem", known=False)
    assert title == "小儿发热诊疗指南（2024年版）"
    assert [line.text for line in rest] == ["发热很常见。"]


def test_one_guideline_is_one_group_in_every_format(read: Read, examples: Path) -> None:
    groups = {}
    for name in ("关于印发儿童腺病毒肺炎诊疗规范-2019年版-的通知.json", "儿童腺病毒肺炎诊疗规范（2019年版）.docx"):
        records, _ = read(examples / "guidelines" / name, "guideline")
        groups[name] = {record.group for record in records}
    assert set.union(*groups.values()) == {"document:儿童腺病毒肺炎诊疗规范2019年版"}
    pdf, _ = read(examples / "guidelines" / "儿童肺炎支原体肺炎诊疗指南（2023年版）.pdf", "guideline")
    title = clean_title("关于印发儿童肺炎支原体肺炎诊疗指南（2023年版）的通知")
    assert {record.group for record in pdf} == {document_group(title)}


def test_docx_and_json_of_one_guideline_say_the_same(read: Read, examples: Path) -> None:
    docx, _ = read(examples / "guidelines" / "儿童腺病毒肺炎诊疗规范（2019年版）.docx", "guideline")
    name = "关于印发儿童腺病毒肺炎诊疗规范-2019年版-的通知.json"
    from_json, _ = read(examples / "guidelines" / name, "guideline")
    assert [record.title for record in docx] == [record.title for record in from_json]
    assert [record.text for record in docx[:-1]] == [record.text for record in from_json[:-1]]
    assert "| year | 2019 |" in docx[-1].text


def test_pages_of_a_pdf_are_where_the_text_stands(read: Read, examples: Path) -> None:
    import pypdfium2

    path = examples / "guidelines" / "儿童肺炎支原体肺炎诊疗指南（2023年版）.pdf"
    document = pypdfium2.PdfDocument(path)
    pages = [squeeze(page.get_textpage().get_text_range()) for page in document]
    records, rejects = read(path, "guideline")
    assert not rejects
    assert len(records) == 36
    for record in records:
        page = record.source.locator.page
        continues = (record.source.locator.section or "").endswith(")")
        start = record.title[-1] if len(record.title) > 1 and not continues else record.text
        assert page is not None
        assert squeeze(start)[:8] in pages[page - 1] + pages[min(page, len(pages) - 1)], record.title


def test_a_pdf_loses_page_numbers_and_keeps_every_other_number(read: Read, examples: Path) -> None:
    import pypdfium2

    path = examples / "guidelines" / "儿童肺炎支原体肺炎诊疗指南（2023年版）.pdf"
    raw = "\n".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(path))
    records, _ = read(path, "guideline")
    headings = dict.fromkeys(tuple(record.title[:depth]) for record in records for depth in range(1, 9))
    said = "\n".join([heading[-1] for heading in headings if heading] + [record.text for record in records])
    assert numbers(said) == numbers(re.sub(r"- \d+ -", "", raw))
    assert "mycoplasma pneumoniae pneumonia, RMPP" in said  # a word that was hyphenated at the end of a line
    assert "甲泼尼龙10-30mg/(kg.d)" in said.replace(" ", "")


def numbers(text: str) -> Counter[str]:
    return Counter(re.findall(r"\d+(?:\.\d+)?", text))


# The smallest file that PDFium takes for encrypted: its password hash matches no password.
ENCRYPTED = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj
3 0 obj<</Filter/Standard/V 1/R 2/P -4/O<00000000000000000000000000000000000000000000000000000000000000ff>\
/U<00000000000000000000000000000000000000000000000000000000000000ff>>>endobj
trailer<</Root 1 0 R/Size 4/Encrypt 3 0 R/ID[<00><00>]>>
%%EOF
"""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", b"no pdf at all", "not a PDF file"),
        ("a.pdf", ENCRYPTED, "encrypted: save it without a password"),
        ("a.docx", b"no docx at all", "not a DOCX file"),
        ("a.txt", bytes(range(128, 256)) * 9, "unknown encoding"),
        ("a.txt", b"%PDF-1.4 and so on", r"no text but a PDF file \(.pdf\): give the file its own extension"),
        ("a.md", b"PK\x03\x04 and so on", "no text but an archive"),
        ("a.txt", b"\n<!DOCTYPE html><html></html>", "no text but a web page"),
        ("a.txt", b" \n\t\n", "empty"),
        ("a.json", b'[{"title": "\xe5\x8f\x91", \n"content": }]', "the JSON array is broken"),
    ],
)
def test_files_that_cannot_be_read_name_themselves(
    read: Read, make: Make, name: str, content: bytes, message: str
) -> None:
    path = make(name, content)
    with pytest.raises(UserError, match=message) as error:
        read(path, "guideline")
    assert str(error.value.where).startswith(str(path))


@pytest.mark.parametrize(
    ("package", "name"), [("pypdfium2", "a.pdf"), ("markitdown", "a.docx"), ("openpyxl", "a.xlsx")]
)
def test_a_missing_package_says_what_to_install(
    read: Read, make: Make, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'pediatricsgpt\[documents\]'"):
        read(make(name, b"content"), "guideline")


BOOK = r"""<篇名>幼科
书名：幼科
作者：某氏
<目录>卷一·四诊
<篇名>察色
属性：欲识小儿百病原，先从面部色详观，五部五色应五脏，诚中形外
理昭然。
\r面部图\p03-b9a.bmp\r
【注】小儿之病，先从面部气色观之，详察五部之色，则五脏之病
自明。
\x清热汤\x 治热。
白术（土炒） 陈皮 黄连（姜炒，一钱）
神曲（炒） 泽泻
水煎服。
<目录>卷一\图
<篇名>指纹图
属性：\r图\p03-b34a5.bmp\r
<目录>
<篇名>附方
属性：附方一则，治小儿不食。
"""


def test_classical_textbooks_are_read_by_chapter(read: Read, make: Make) -> None:
    records, rejects = read(make("157.txt", BOOK, "gb18030"), "textbook")
    assert [record.title for record in records] == [["幼科", "卷一", "四诊", "察色"], ["幼科", "附方"]]
    assert [record.source.locator.line for record in records] == [5, 19]
    assert records[0].text.split("\n") == [
        "欲识小儿百病原，先从面部色详观，五部五色应五脏，诚中形外理昭然。",
        "【注】小儿之病，先从面部气色观之，详察五部之色，则五脏之病自明。",
        "清热汤",
        "治热。",
        "白术（土炒）、陈皮、黄连（姜炒，一钱）、神曲（炒）、泽泻",
        "水煎服。",
    ]
    assert [reject.where for reject in rejects] == ["157.txt, line 16"]
    assert {record.group for record in records} == {"document:幼科"}


def test_classical_chapters_stand_where_their_line_says(read: Read, examples: Path) -> None:
    for path in sorted((examples / "textbooks").glob("*.txt")):
        raw = path.read_bytes().decode("gb18030").split("\n")
        records, _ = read(path, "textbook")
        for record in records:
            line = record.source.locator.line
            assert line is not None
            if not (record.source.locator.section or "").endswith(")") or "<篇名>" in raw[line - 1]:
                assert raw[line - 1].strip().endswith(record.title[-1])
        text = "\n".join(record.text for record in records)
        assert not re.search(r"\\[xr]|\.bmp|属性：|<目录>|<篇名>", text)


def test_each_of_the_86_rare_diseases_has_its_own_sections(read: Read, shared: Path) -> None:
    path = next((shared / "data/guidelines/nhc_json").glob("*罕见病*"))
    content = json.loads(path.read_text(encoding="utf-8"))["content"].split("\n")
    listed = [re.match(r"(\d+)\.(.+?)\s*\.{4,}", line) for line in content[:100]]
    names = {int(entry.group(1)): key("".join(entry.groups())) for entry in listed if entry}
    assert list(names) == list(range(1, 87))
    starts: dict[int, int] = {}
    for number, line in enumerate(content, 1):
        broken = content[number : number + 1] if len(line) > 20 else []  # a long name goes on in the next line
        if names.get(len(starts) + 1) in (key(line), key("".join([line, *broken]))):
            starts[len(starts) + 1] = number
    assert len(starts) == 86
    records, _ = read(path, "guideline")
    wrong, seen = [], Counter[int]()
    for record in records:
        place = re.search(r"line (\d+) of content", record.source.locator.section or "")
        assert place is not None
        disease = max((number for number, start in starts.items() if start <= int(place.group(1))), default=0)
        seen[disease] += 1
        if not record.title[1].startswith(f"{disease}."):
            wrong.append(record.title)
    assert not wrong
    assert len(seen) == 86
    assert min(seen.values()) >= 6
