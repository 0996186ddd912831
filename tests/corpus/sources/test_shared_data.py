"""The readers on the whole of the development data, where it lies beside the repository."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError

DATA = Path(__file__).parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")

Read = Callable[..., Any]


@pytest.mark.parametrize(
    ("path", "kind", "records", "rejects"),
    [
        ("dialogues/cmd_internal_medicine_sample.csv", "conversation", 5600, 0),
        ("dialogues/cmtmedqa_test.json", "conversation", 844, 0),
        ("dialogues/hetmc_train.dialog", "conversation", 360, 0),
        ("distilled/bencao_llama_data.jsonl", "dataset", 6500, 0),
        ("distilled/disc_medsft_examples.jsonl", "dataset", 120, 0),
        ("distilled/huatuo26m_test.json", "dataset", 4000, 0),
        ("distilled/medchatglm_train.txt", "dataset", 5700, 0),
        ("distilled/medicalgpt_sft_sharegpt.jsonl", "dataset", 750, 0),
        ("preferences/dpo_zh_500.jsonl", "preferences", 400, 0),
        ("preferences/dpo_zh_demo_sharegpt.json", "preferences", 240, 0),
        ("preferences", "dataset", 640, 0),
        # 699 triples say whether an insurance pays, 27 are said twice.
        ("kg/pediatric_triples.csv", "knowledge_graph", 9113, 726),
    ],
)
def test_every_row_is_read(read: Read, path: str, kind: str, records: int, rejects: int) -> None:
    found, failed = read(DATA / path, kind)
    assert (len(found), len(failed)) == (records, rejects)


def test_every_disease_of_the_mongo_export_is_read(read: Read) -> None:
    records, rejects = read(DATA / "kg/diseasekg_mongo_export.json", "knowledge_graph")
    assert not rejects
    assert {record.source.locator.line for record in records} == set(range(1, 47))


def test_every_document_is_read(read: Read) -> None:
    for folder in ("nhc_json", "nhc_ocr", "nhc_pdf", "nhc_txt"):
        records, _ = read(DATA / "guidelines" / folder, "guideline")
        files = {record.source.file for record in records}
        assert len(files) == len(list((DATA / "guidelines" / folder).iterdir()))
    records, _ = read(DATA / "guidelines/derived/儿童腺病毒肺炎诊疗规范（2019年版）.docx", "guideline")
    assert len(records) == 32


def test_the_86_rare_diseases_are_told_apart(read: Read) -> None:
    path = next((DATA / "guidelines/nhc_json").glob("*罕见病*"))
    records, _ = read(path, "guideline")
    diseases = {record.title[1] for record in records}
    assert {int(title.split(".")[0]) for title in diseases if title[0].isdigit()} == set(range(1, 87))
    sections = {record.title[2] for record in records if len(record.title) > 2}
    assert {"概述", "病因和流行病学", "临床表现", "诊断", "治疗"} <= sections
    assert not any("......" in record.text for record in records)


def test_the_scan_is_refused_with_the_reason(read: Read) -> None:
    path = DATA / "guidelines/derived/儿童肺炎支原体肺炎诊疗指南_p1-6_scan.pdf"
    with pytest.raises(UserError, match="probably a scan"):
        read(path, "guideline")


def test_every_chapter_of_the_classical_textbooks_is_read(read: Read) -> None:
    chapters = {"133": 220, "155": 250, "157": 207, "161": 66}
    for path in sorted((DATA / "textbooks").glob("*.txt")):
        records, rejects = read(path, "textbook")
        lines = {
            record.source.locator.line for record in records if not str(record.source.locator.section).endswith(")")
        }
        named = path.read_bytes().decode("gb18030").split("\n")
        starts = {number for number, line in enumerate(named, 1) if line.startswith("<篇名>")}
        assert len(starts) == chapters[path.name[:3]] + 1  # and the title page
        assert len(starts & {record.source.locator.line for record in records}) + len(rejects) == len(starts) - 1
        assert lines


def test_the_examples_are_made_of_this_data(examples: Path, tmp_path: Path) -> None:
    make = runpy.run_path(str(examples / "make_examples.py"))["main"]
    make(DATA, tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    shipped = {path.relative_to(examples): path.read_bytes() for path in examples.rglob("*/*") if path.is_file()}
    assert made == shipped
    assert sum(map(len, made.values())) < 7_000_000


def test_the_examples_are_never_written_into_the_data_they_are_made_of(examples: Path, tmp_path: Path) -> None:
    make = runpy.run_path(str(examples / "make_examples.py"))["main"]
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tokenizer").symlink_to(bundle, target_is_directory=True)
    with pytest.raises(ValueError, match="leads into the bundle"):
        make(bundle, tmp_path / "out")
    assert not list(bundle.iterdir())
