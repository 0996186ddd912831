"""Word and Excel files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from pediatricsgpt.corpus.sources import office
from pediatricsgpt.errors import UserError

Read = Callable[..., Any]
Make = Callable[..., Path]
NAMESPACE = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TYPES = """<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/word/document.xml"
 ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>
<Override PartName="/word/styles.xml"
 ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/></Types>"""
LINKS = """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="r1" Target="{}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{}"/>
</Relationships>"""
STYLES = f"""<w:styles xmlns:w="{NAMESPACE}">
<w:style w:type="paragraph" w:styleId="1"><w:name w:val="heading 1"/></w:style>
<w:style w:type="paragraph" w:styleId="2"><w:name w:val="heading 2"/></w:style></w:styles>"""


def paragraph(text: str, style: str = "", raised: str = "", rest: str = "") -> str:
    """A paragraph, with raised characters behind its text."""
    mark = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    up = f'<w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>{raised}</w:t></w:r>' if raised else ""
    return f"<w:p>{mark}<w:r><w:t>{text}</w:t></w:r>{up}<w:r><w:t>{rest}</w:t></w:r></w:p>"


def table(*rows: list[str | None]) -> str:
    """A table; None is a cell that the one above covers, which then is marked by `*`."""
    found = ""
    for row in rows:
        found += "<w:tr>"
        for cell in row:
            merged = "<w:vMerge/>" if cell is None else '<w:vMerge w:val="restart"/>' if cell.startswith("*") else ""
            found += f"<w:tc><w:tcPr>{merged}</w:tcPr>{paragraph(escape((cell or '').lstrip('*')))}</w:tc>"
        found += "</w:tr>"
    return f"<w:tbl>{found}</w:tbl>"


def docx(*blocks: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        archive.writestr("_rels/.rels", LINKS.format("word/document.xml", "officeDocument"))
        archive.writestr("word/_rels/document.xml.rels", LINKS.format("styles.xml", "styles"))
        archive.writestr("word/styles.xml", STYLES)
        body = "".join(blocks)
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{NAMESPACE}"><w:body>{body}</w:body></w:document>')
    return buffer.getvalue()


def test_headings_by_style_tables_and_raised_digits_survive(read: Read, make: Make) -> None:
    content = docx(
        paragraph("小儿发热", "1"),
        paragraph("剂量", "2"),
        paragraph("白细胞 10×10", raised="9", rest="/L 以上者慎用。"),
        table(["药物", "年龄", "剂量"], ["*布洛芬", "<3岁", "5 mg/kg"], [None, "≥3岁", "10 mg/kg"]),
        paragraph("注意", "2"),
        paragraph("两药不要合用。"),
    )
    records, rejects = read(make("a.docx", content), "guideline")
    assert not rejects
    rows = "| 药物 | 年龄 | 剂量 |\n| --- | --- | --- |\n| 布洛芬 | <3岁 | 5 mg/kg |\n| | ≥3岁 | 10 mg/kg |"
    assert [(record.title, record.text) for record in records] == [
        (["小儿发热", "剂量"], f"白细胞 10×10^9/L 以上者慎用。\n{rows}"),
        (["小儿发热", "注意"], "两药不要合用。"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (docx(paragraph("发热"))[:-100], "the archive is damaged or cut off"),
        (docx(paragraph("")), "the document holds no text"),
        (docx("<w:p><w:r><w:t>发热</w:p>"), "the DOCX file is damaged"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old .doc or a document with a password"),
        (docx(paragraph("发热")).replace(b"word/document.xml", b"word/notadocu.xml"), "not a DOCX file"),
    ],
)
def test_documents_that_cannot_be_read_name_themselves(read: Read, make: Make, content: bytes, message: str) -> None:
    path = make("a.docx", content)
    with pytest.raises(UserError, match=message) as error:
        read(path, "guideline")
    assert error.value.where == str(path)


def test_a_damaged_part_of_an_archive_is_named(read: Read, make: Make) -> None:
    content = bytearray(docx(paragraph("发热" * 500)))
    start = content.index(b"word/document.xml") + 60
    content[start : start + 20] = bytes(20)
    with pytest.raises(UserError, match="the archive is damaged"):
        read(make("a.docx", bytes(content)), "guideline")


def test_an_archive_that_would_fill_the_memory_is_refused(
    read: Read, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(office, "_UNPACKED_BYTES", 1000)
    with pytest.raises(UserError, match="more than 1000 are no document"):
        read(make("a.docx", docx(paragraph("发热" * 5000))), "guideline")


def xlsx(**sheets: list[list[Any]]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def test_every_sheet_is_a_section_with_a_table(read: Read, make: Make) -> None:
    doses = [["药物", None, "剂量（mg/kg）"], [None, None, None], ["布洛芬", None, 5], ["对乙酰氨基酚", None, 12.5]]
    records, rejects = read(
        make("剂量.xlsx", xlsx(退热=doses, 空=[], 补液=[["阶段", "量"], ["一", "20 ml/kg"]])), "guideline"
    )
    assert not rejects
    assert [(record.title, record.text) for record in records] == [
        (["剂量", "退热"], "| 药物 | 剂量（mg/kg） |\n| --- | --- |\n| 布洛芬 | 5 |\n| 对乙酰氨基酚 | 12.5 |"),
        (["剂量", "补液"], "| 阶段 | 量 |\n| --- | --- |\n| 一 | 20 ml/kg |"),
    ]
    assert records[1].source.locator.section == "补液 (sheet 3, row 1)"


@pytest.mark.parametrize(("content", "message"), [(b"no table", "not an XLSX file"), (xlsx(空=[]), "holds no text")])
def test_tables_that_cannot_be_read_name_themselves(read: Read, make: Make, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(make("a.xlsx", content), "guideline")
