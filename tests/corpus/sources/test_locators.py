"""The place that a record names is where its text stands: every reader, checked in the file itself."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from pediatricsgpt.records import Record

Read = Callable[..., Any]
WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
JSON_GUIDELINE = "关于印发儿童腺病毒肺炎诊疗规范-2019年版-的通知.json"
DOCX_GUIDELINE = "儿童腺病毒肺炎诊疗规范（2019年版）.docx"
PDF_GUIDELINE = "儿童肺炎支原体肺炎诊疗指南（2023年版）.pdf"


def squeeze(text: str) -> str:
    """Letters and digits only, without the marks of Markdown."""
    return re.sub(r"[\W_]", "", text)


def start(record: Record) -> str:
    """What stands at the place of a document's record: its heading, or the beginning of its text."""
    section = re.sub(r" \((?:line|paragraph) .*\)$", "", record.source.locator.section or "")
    headed = len(record.title) > 1 and not re.search(r" \(\d+\)$", section)
    return squeeze(record.title[-1] if headed else record.text)[:8]


def number_in(record: Record, pattern: str) -> int:
    found = re.search(pattern, record.source.locator.section or "")
    assert found, record.source.locator
    return int(found.group(1))


def lines_of(path: Path, encoding: str = "utf-8") -> list[str]:
    return path.read_text(encoding=encoding).split("\n")


def found_near(record: Record, lines: list[str], number: int) -> bool:
    """Whether the text begins on that line; a line of a document may be broken in the middle of a heading."""
    return squeeze("".join(lines[number - 1 : number + 5])).startswith(start(record))


def test_json_documents(read: Read, examples: Path) -> None:
    path = examples / "guidelines" / JSON_GUIDELINE
    content = json.loads(path.read_text(encoding="utf-8"))["content"].split("\n")
    records, _ = read(path, "guideline")
    assert len(records) > 20
    for record in records:
        assert record.source.locator.line == 1  # the file has one object, which begins on its first line
        assert found_near(record, content, number_in(record, r"line (\d+) of content\)?$")), record.source.locator


def test_json_documents_in_lines(read: Read, tmp_path: Path) -> None:
    documents = [
        {"title": "甲病诊疗指南", "content": "一、定义\n发热。\n二、治疗\n退热。"},
        {"title": "乙", "content": "咳嗽。"},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(each, ensure_ascii=False) for each in documents), encoding="utf-8")
    records, _ = read(path, "guideline")
    assert [str(record.source.locator) for record in records] == [
        "line 1, section 一、定义 (line 1 of content)",
        "line 1, section 二、治疗 (line 3 of content)",
        "line 2, section line 1 of content",
    ]


def test_pdf(read: Read, examples: Path) -> None:
    import pypdfium2

    path = examples / "guidelines" / PDF_GUIDELINE
    pages = [squeeze(page.get_textpage().get_text_range()) for page in pypdfium2.PdfDocument(path)]
    records, _ = read(path, "guideline")
    for record in records:
        page = record.source.locator.page
        assert record.source.locator.line is None
        assert start(record) in pages[page - 1] + pages[min(page, len(pages) - 1)], record.source.locator


def test_docx(read: Read, examples: Path) -> None:
    path = examples / "guidelines" / DOCX_GUIDELINE
    with zipfile.ZipFile(path) as archive:
        body = ElementTree.fromstring(archive.read("word/document.xml"))[0]
    paragraphs = ["".join(text.text or "" for text in each.iter(f"{WORD}t")) for each in body.findall(f"{WORD}p")]
    paragraphs = [text for text in paragraphs if text.strip()]
    records, _ = read(path, "guideline")
    assert len(records) > 20
    for record in records:
        assert (record.source.locator.line, record.source.locator.page) == (None, None)
        assert found_near(record, paragraphs, number_in(record, r"paragraph (\d+)\)?$")), record.source.locator


def test_plain_text(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("小儿发热诊疗指南\n\n一、定义\n体温超过38℃。\n二、治疗\n多饮水。\n", encoding="utf-8")
    records, _ = read(path, "guideline")
    assert [found_near(record, lines_of(path), record.source.locator.line) for record in records] == [True, True]


def test_classical_text(read: Read, examples: Path) -> None:
    path = examples / "textbooks" / "133-小儿药证直诀.txt"
    lines = lines_of(path, "gb18030")
    records, _ = read(path, "textbook")
    assert len(records) > 100
    for record in records:
        line, name = record.source.locator.line, record.title[-1]
        part = re.search(r" \(\d+\)$", record.source.locator.section or "")
        expected = record.text[:4] if part else name
        assert squeeze(expected) in squeeze(lines[line - 1]), record.source.locator


def test_csv(read: Read, examples: Path) -> None:
    path = examples / "dialogues" / "cmd_internal_medicine.csv"
    text = path.read_text(encoding="gb18030")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    records, _ = read(path, "conversation")
    for record in records:
        locator = record.source.locator
        assert rows[locator.row - 1]["answer"].strip() == record.messages[-1]["content"]
        assert rows[locator.row - 1]["title"] in text.split("\n")[locator.line - 1]


@pytest.mark.parametrize("name", ["distilled/bencao.jsonl", "preferences/pairs.jsonl"])
def test_json_lines(read: Read, examples: Path, name: str) -> None:
    path = examples / name
    lines = lines_of(path)
    records, _ = read(path, "preferences" if "pairs" in name else "dataset")
    for record in records:
        value = json.dumps(json.loads(lines[record.source.locator.line - 1]), ensure_ascii=False)
        said = [*record.messages, *record.chosen]
        assert all(json.dumps(turn["content"], ensure_ascii=False).strip('"') in value for turn in said[-2:])


def test_json_arrays(read: Read, examples: Path) -> None:
    path = examples / "dialogues" / "cmtmedqa.json"
    rows, lines = json.loads(path.read_text(encoding="utf-8")), lines_of(path)
    records, _ = read(path, "conversation")
    for record in records:
        locator = record.source.locator
        assert rows[locator.row - 1]["output"].strip() == record.messages[-1]["content"]
        assert "{" in lines[locator.line - 1]


def test_dialog_blocks(read: Read, examples: Path) -> None:
    path = examples / "dialogues" / "hetmc.dialog"
    lines = lines_of(path)
    records, _ = read(path, "conversation")
    for record in records:
        locator = record.source.locator
        assert lines[locator.line - 1].startswith(f"id\t{locator.section.removeprefix('id ')}\t")
        assert squeeze(record.messages[0]["content"]).startswith(squeeze(lines[locator.line].split("\t")[1])[:6])


def test_triples(read: Read, examples: Path) -> None:
    path = examples / "knowledge_graph" / "pediatric_triples.csv"
    lines = lines_of(path)
    records, _ = read(path, "knowledge_graph")
    for record in records:
        line = lines[record.source.locator.line - 1]
        assert record.title[0] in line
        assert record.text.split("、")[0].split("\n")[0] in line


def test_diseases(read: Read, examples: Path) -> None:
    path = examples / "knowledge_graph" / "diseases.jsonl"
    lines = lines_of(path)
    records, _ = read(path, "knowledge_graph")
    for record in records:
        assert json.loads(lines[record.source.locator.line - 1])["name"].strip() == record.title[0]


def test_special_tokens_and_plain_blocks(read: Read, shared: Path) -> None:
    for name, encoding in (("remedi_dev_human.txt", "utf-8"), ("cmd_internal_medicine_plain.txt", "gb18030")):
        path = shared / "data" / "dialogues" / name
        lines = lines_of(path, encoding)
        records, _ = read(path, "conversation")
        for record in records:
            place = record.source.locator.line
            said = squeeze("".join(lines[place - 1 : place + 1]))
            assert squeeze(record.messages[-1]["content"])[:20] in said
            assert squeeze(record.messages[0]["content"])[:8] in said


def test_relations_in_groups_and_triples_in_texts(read: Read, shared: Path) -> None:
    for name, listed in (("relations.json", "rels"), ("cmekg_spo_example.json", "spo_list")):
        path = shared / "data" / "kg" / name
        rows, lines = json.loads(path.read_text(encoding="utf-8")), lines_of(path)
        records, _ = read(path, "knowledge_graph")
        for record in records:
            locator = record.source.locator
            item = rows[locator.row - 1][listed][int(locator.section.removeprefix(f"{listed} ")) - 1]
            ends = list(item.values()) if isinstance(item, dict) else [item[0], item[2]]
            assert (record.title[0], record.text.split("、")[0]) == (ends[0], ends[1].split("、")[0])
            assert lines[locator.line - 1].strip() == "{"


def test_sheets(read: Read, tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["question", "answer"], [], ["问一", "答一"], ["问二", "答二"]):
        book.active.append(row)
    path = tmp_path / "a.xlsx"
    book.save(path)
    records, _ = read(path, "conversation")
    sheet = openpyxl.load_workbook(path).active
    for record in records:
        locator = record.source.locator
        assert locator.section == f"sheet {sheet.title}"
        assert sheet.cell(locator.row, 1).value == record.messages[0]["content"]
