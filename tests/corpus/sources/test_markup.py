"""Web pages and EPUB books."""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus.sources import markup
from pediatricsgpt.errors import UserError

Read = Callable[..., Any]
Make = Callable[..., Path]
ARTICLE = """<h1>小儿发热诊疗指南</h1><h2>一、定义</h2>
<p>体温超过38℃称为发热。白细胞 10×10<sup>9</sup>/L 以上提示<b>细菌</b>感染<sup>[1]</sup>，\
多数由病毒引起，三至五天自愈。</p>
<h2>二、治疗</h2><p>多饮水，注意休息，按<a href="/t">附表</a>使用退热药物，不要合用。</p>
<table><tr><th rowspan="2">药物</th><th colspan="2">剂量</th></tr><tr><th>单次</th><th>每日</th></tr>
<tr><td rowspan="2">布洛芬</td><td>5 mg/kg</td><td>20 mg/kg</td></tr><tr><td>10 mg/kg</td><td>40 mg/kg</td></tr></table>
<h3>（一）就诊</h3><p>精神差者应当就诊。</p>"""
PAGE = f"""<html><head><meta charset="{{}}"><title>发热 - 某医院</title></head><body>
<nav><a href="/">首页</a><a href="/k">科室介绍</a></nav><div class="content">{ARTICLE}</div>
<div class="footer">版权所有 某医院 <a href="/icp">备案</a></div></body></html>"""
TABLE = """| 药物 | 剂量 | |
| --- | --- | --- |
| | 单次 | 每日 |
| 布洛芬 | 5 mg/kg | 20 mg/kg |
| | 10 mg/kg | 40 mg/kg |"""
SECTIONS = [
    (
        ["小儿发热诊疗指南", "一、定义"],
        "体温超过38℃称为发热。白细胞 10×10^9/L 以上提示细菌感染[1]，多数由病毒引起，三至五天自愈。",
    ),
    (["小儿发热诊疗指南", "二、治疗"], f"多饮水，注意休息，按附表使用退热药物，不要合用。\n{TABLE}"),
    (["小儿发热诊疗指南", "二、治疗", "（一）就诊"], "精神差者应当就诊。"),
]


@pytest.mark.parametrize("encoding", ["utf-8", "gb2312", "utf-16"])
def test_a_web_page_keeps_its_main_text_with_headings_tables_and_raised_digits(
    read: Read, make: Make, encoding: str
) -> None:
    records, rejects = read(make("a.html", PAGE.format(encoding), encoding), "guideline")
    assert not rejects
    assert [(record.title, record.text) for record in records] == SECTIONS


def test_a_page_in_big5_that_does_not_say_so_is_read(read: Read, make: Make) -> None:
    text = "孩子發燒三天，體溫三十九度，咳嗽有痰，請問醫生怎麼辦？"
    records, _ = read(
        make("a.html", f"<html><body><h1>小兒發熱</h1><p>{text}</p><p>{text}</p></body></html>", "big5"), "text"
    )
    assert [(record.title, record.text) for record in records] == [(["小兒發熱"], f"{text}\n{text}")]


def test_a_page_that_lies_about_its_encoding_is_read_all_the_same(read: Read, make: Make) -> None:
    records, _ = read(make("a.htm", PAGE.format("utf-8"), "gb18030"), "guideline")
    assert records[0].title == SECTIONS[0][0]


def test_a_page_without_heading_is_named_by_its_title_without_the_site(read: Read, make: Make) -> None:
    body = "<p>孩子发热时应当多饮水，注意休息，必要时服用退热药物，精神差者应当就诊。</p>" * 3
    page = f"<html><head><title>关于印发小儿发热诊疗指南的通知_某网站</title></head><body>{body}</body></html>"
    records, _ = read(make("a.html", page.replace("_", " | ")), "guideline")
    assert records[0].title == ["小儿发热诊疗指南"]


@pytest.mark.parametrize(
    "page", ["<html><body><script>x()</script></body></html>", "<html><head><title>空</title></head></html>"]
)
def test_a_page_without_main_text_is_an_error(read: Read, make: Make, page: str) -> None:
    with pytest.raises(UserError, match="no main text"):
        read(make("a.html", page), "guideline")


def test_a_page_that_is_too_large_is_refused(read: Read, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "PAGE_BYTES", 100)
    with pytest.raises(UserError, match="more than 100 are no web page"):
        read(make("a.html", PAGE.format("utf-8")), "guideline")


def epub(chapters: Mapping[str, str], listed: list[str] | None = None, **more: str) -> bytes:
    names = listed if listed is not None else list(chapters)
    items = "".join(f'<item id="c{n}" href="{name}"/>' for n, name in enumerate(names))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(names)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:title>小儿内科学</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/content.opf"/></rootfiles></container>'
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OEBPS/content.opf": package,
            **{f"OEBPS/{name}": text for name, text in chapters.items()},
            **more,
        }.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def chapter(body: str, title: str = "") -> str:
    return f'<html xmlns="http://www.w3.org/1999/xhtml"><head><title>{title}</title></head><body>{body}</body></html>'


def test_chapters_of_a_book_come_in_the_order_of_reading_with_their_tables(read: Read, make: Make) -> None:
    first, second = chapter("<h1>第一章 总论</h1><p>儿科学研究儿童的健康。</p>"), chapter(ARTICLE.replace("h1>", "h2>"))
    book = epub({"b.xhtml": second, "a.xhtml": first, "cover.xhtml": chapter("<img src='c.png'/>")},
                ["cover.xhtml", "a.xhtml", "b.xhtml"])  # fmt: skip
    records, rejects = read(make("a.epub", book), "textbook")
    assert not rejects
    assert [record.title[0] for record in records] == ["小儿内科学"] * 4
    assert records[0].title[1:] == ["第一章总论"]
    assert [record.text for record in records[1:]] == [text for _, text in SECTIONS]
    assert [record.title[-1] for record in records[1:]] == [title[-1] for title, _ in SECTIONS]
    assert records[0].source.locator.section == "第一章总论 (chapter 2, paragraph 1)"
    assert {record.group for record in records} == {"document:小儿内科学"}


def test_a_chapter_without_heading_is_named_by_its_title(read: Read, make: Make) -> None:
    book = epub({"a.xhtml": chapter("<p>儿童的体温易于波动。</p>", "第二章 发热")})
    records, _ = read(make("a.epub", book), "textbook")
    assert [(record.title, record.text) for record in records] == [
        (["小儿内科学", "第二章发热"], "儿童的体温易于波动。")
    ]


def test_a_chapter_that_is_listed_and_missing_is_a_reject(read: Read, make: Make) -> None:
    book = epub({"a.xhtml": chapter("<h1>一、发热</h1><p>多饮水，多休息。</p>")}, ["a.xhtml", "b.xhtml"])
    records, rejects = read(make("a.epub", book), "textbook")
    assert len(records) == 1
    assert [(reject.where, reject.reason.split(":")[0]) for reject in rejects] == [
        ("a.epub, chapter 2 (OEBPS/b.xhtml)", "missing chapter")
    ]


ENCRYPTION = '<e><EncryptedData/><d xmlns="x"><CipherReference URI="OEBPS/a.xhtml"/></d></e>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no book", "not an EPUB book"),
        (epub({"a.xhtml": chapter("<p>甲</p>")})[:-200], "the archive is damaged or cut off"),
        (epub({"a.xhtml": chapter("<img/>")}), "the book holds no text"),
        (epub({}, **{"META-INF/container.xml": "<broken"}), "its list of chapters cannot be read"),
        (epub({"a.xhtml": "x"}, **{"META-INF/encryption.xml": ENCRYPTION}), "the book is encrypted"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_books_that_cannot_be_read_name_themselves(read: Read, make: Make, content: bytes, message: str) -> None:
    path = make("a.epub", content)
    with pytest.raises(UserError, match=message) as error:
        read(path, "textbook")
    assert error.value.where == str(path)


@pytest.mark.parametrize(("package", "name"), [("trafilatura", "a.html"), ("markitdown", "a.epub")])
def test_a_missing_package_says_what_to_install(
    read: Read, make: Make, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'pediatricsgpt\[documents\]'"):
        read(make(name, b"content"), "guideline")


def test_the_page_of_an_authority_is_read_without_its_menus(read: Read, shared: Path) -> None:
    records, _ = read(shared / "data/guidelines/nhc_html/cerebrovascular-2024.html", "guideline")
    assert [record.title for record in records] == [["脑血管病防治指南（2024年版）"]]
    assert "现印发给你们，供推广使用。" in records[0].text
    assert not any(word in records[0].text for word in ("首页", "网站地图", "版权所有"))
