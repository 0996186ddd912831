"""The readers on the whole of the development data, where it lies beside the repository."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources import read_source
from pediatricsgpt.corpus.sources.entities import Forms
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Record

Read = Callable[..., Any]

# Every file with rows: its kind, the rows that it has, those that are rejected, and why.
SOURCES = [
    ("dialogues/cmd_internal_medicine_sample.csv", "conversation", 5600, 0, ""),
    ("dialogues/cmd_internal_medicine_plain.txt", "conversation", 1500, 0, ""),
    ("dialogues/cmtmedqa_test.json", "conversation", 844, 0, ""),
    ("dialogues/hetmc_train.dialog", "conversation", 360, 0, ""),
    ("dialogues/remedi_dev_human.txt", "conversation", 576, 0, ""),
    ("benchmarks/huatuogpt_med_dialog_100.json", "conversation", 70, 0, ""),
    ("benchmarks/cmd_samples.json", "conversation", 84, 0, ""),
    ("benchmarks/cmb_clin_cases.json", "conversation", 53, 53, "a question without an answer"),
    ("benchmarks/cmid_samples.json", "conversation", 90, 90, "a question without an answer"),
    ("benchmarks/disc_eval/dialogues_DISC-MedLLM_cmd.json", "conversation", 85, 0, ""),
    ("benchmarks/disc_eval/dialogues_bianque-v2_cmd.json", "conversation", 85, 0, ""),
    ("benchmarks/disc_eval/dialogues_gpt-4_cmd.json", "conversation", 85, 0, ""),
    ("benchmarks/disc_eval/dialogues_huatuo-chat_cmd.json", "conversation", 85, 0, ""),
    ("benchmarks/disc_eval/scores_DISC-MedLLM_cmd.jsonl", "conversation", 84, 84, "a judgement of answers"),
    ("benchmarks/disc_eval/scores_bianque-v2_cmd.jsonl", "conversation", 84, 84, "a judgement of answers"),
    ("benchmarks/disc_eval/scores_gpt-4_cmd.jsonl", "conversation", 85, 85, "a judgement of answers"),
    ("benchmarks/disc_eval/scores_huatuo-chat_cmd.jsonl", "conversation", 84, 84, "a judgement of answers"),
    ("distilled/bencao_eval_questions.json", "dataset", 200, 200, "a question without an answer"),
    ("distilled/bencao_llama_data.jsonl", "dataset", 6500, 0, ""),
    ("distilled/disc_medsft_examples.jsonl", "dataset", 120, 0, ""),
    ("distilled/huatuo26m_test.json", "dataset", 4000, 0, ""),
    ("distilled/medchatglm_train.txt", "dataset", 5700, 0, ""),
    ("distilled/medicalgpt_sft_sharegpt.jsonl", "dataset", 750, 0, ""),
    ("preferences/dpo_zh_500.jsonl", "preferences", 400, 0, ""),
    ("preferences/dpo_zh_demo_sharegpt.json", "preferences", 240, 0, ""),
    ("kg/cmekg_spo_example.json", "knowledge_graph", 64, 1, "triple said before"),
    ("kg/diseasekg_mongo_export.json", "knowledge_graph", 46, 0, ""),
    ("kg/entities.json", "knowledge_graph", 808, 784, "entity without a fact"),
    ("kg/ontology.ttl", "knowledge_graph", 88, 88, "vocabulary and no fact"),
    # 699 triples say whether an insurance pays, 27 are said twice, 4 lead from an entity to itself.
    ("kg/pediatric_triples.csv", "knowledge_graph", 27459, 730, "not a medical relation|triple said before|self-loop"),
    ("kg/relations.json", "knowledge_graph", 1219, 6, "empty list|self-loop"),
    ("kg/diseasekg_dict/check.txt", "knowledge_graph", 3353, 3353, "entity without a fact"),
    ("kg/diseasekg_dict/disease.txt", "knowledge_graph", 8807, 8807, "entity without a fact"),
    ("kg/diseasekg_dict/drug.txt", "knowledge_graph", 3828, 3828, "entity without a fact"),
    ("kg/diseasekg_dict/food.txt", "knowledge_graph", 4870, 4870, "entity without a fact"),
    ("kg/diseasekg_dict/symptom.txt", "knowledge_graph", 5998, 5998, "entity without a fact"),
]
# Documents have tests of their own, here and beside their readers.
DOCUMENTS = ("guidelines/", "textbooks/")
# Tables of names go into a source of kind knowledge_graph as its `entities`.
ENTITIES = ("kg/remedi_norm/", "kg/diseasekg_dict/")
NO_SOURCE = ("audio/", "tokenizers/", "README.md")


@pytest.fixture
def data(shared: Path) -> Path:
    return shared / "data"


def test_no_file_of_the_data_is_left_out(data: Path) -> None:
    named = {path for path, *_ in SOURCES}
    files = {file.relative_to(data).as_posix() for file in data.rglob("*") if file.is_file()}
    assert named <= files
    assert [name for name in sorted(files - named) if not name.startswith((*DOCUMENTS, *ENTITIES, *NO_SOURCE))] == []


@pytest.mark.parametrize(("path", "kind", "rows", "rejected", "reason"), SOURCES, ids=[path for path, *_ in SOURCES])
def test_every_row_is_a_record_or_a_reject_with_its_place_and_reason(
    data: Path, path: str, kind: str, rows: int, rejected: int, reason: str
) -> None:
    settings = SourceSettings.model_validate(
        {"name": "a", "kind": kind, "path": path, "licence": "as stated", "consent": "none", "purpose": "testing"}
    )
    reading = read_source(settings, data)
    items: list[Any] = []
    if rows == rejected:  # nothing in the file is of this kind, and the error says so with the first reject
        with pytest.raises(UserError, match=f"the first of {rejected} rejects: {re.escape(path)}:"):
            items.extend(reading)
    else:
        items.extend(reading)
    rejects = [item for item in items if not isinstance(item, Record)]
    assert (reading.counts["rows"], reading.counts["rows_rejected"], len(rejects)) == (rows, rejected, rejected)
    assert reading.counts["rows_used"] == rows - rejected
    for reject in rejects:
        assert re.fullmatch(rf"{re.escape(path)}:\d+(, .+)?", reject.where)
        assert re.match(reason, reject.reason)


def test_most_of_the_rows_are_used() -> None:
    """What is no row of its kind (lists of names, questions without answers, judgements) put aside."""
    real = [(rows, rejected) for _, _, rows, rejected, _ in SOURCES if rejected < rows / 2]
    assert sum(rejected for _, rejected in real) < 0.015 * sum(rows for rows, _ in real)


def test_the_folders_are_sources_too(data: Path, read: Read) -> None:
    # 576 lines of special tokens tell 70 dialogues.
    expected = {"dialogues": (5600 + 1500 + 844 + 360 + 70, 0), "benchmarks": (494, 480), "preferences": (640, 0)}
    kinds = {"dialogues": "conversation", "benchmarks": "conversation", "preferences": "preferences"}
    for folder, kind in kinds.items():
        records, rejects = read(data / folder, kind)
        assert (len(records), len(rejects)) == expected[folder]


def test_one_quotation_mark_too_few_or_too_many_costs_one_row(
    data: Path, make: Callable[..., Path], read: Read
) -> None:
    """At any place of a real table whose fields hold line ends and commas."""
    raw = (data / "dialogues/cmd_internal_medicine_sample.csv").read_bytes()
    lines = raw.split(b"\n")[:200]
    table = b"\n".join(lines) + b"\n"
    whole = {record.id for record in read(make("a.csv", table), "conversation")[0]}
    marks = [place for place, byte in enumerate(table) if byte == ord('"')]
    starts = [place + 1 for place, byte in enumerate(table[:-1]) if byte in b",\n" and place > len(lines[0])]
    broken = [table[:place] + table[place + 1 :] for place in marks]
    broken += [table[:place] + b'"' + table[place:] for place in starts[:: len(starts) // 12]]
    assert len(marks) > 4
    for number, content in enumerate(broken):
        records, rejects = read(make(f"{number}.csv", content), "conversation")
        found = {record.id for record in records}
        assert found <= whole  # nothing is made up out of pieces of rows
        assert len(whole - found) <= 1
        assert rejects or found == whole


def test_preference_pairs_are_instructions_in_a_dataset(data: Path, read: Read) -> None:
    records, rejects = read(data / "preferences", "dataset")
    assert (len(records), len(rejects)) == (640, 0)


def test_dialogues_of_special_tokens_keep_all_their_turns(data: Path, read: Read) -> None:
    path = data / "dialogues/remedi_dev_human.txt"
    records, _ = read(path, "conversation")
    turns = sum(len(record.messages) for record in records)
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    assert len(records) == 70
    assert turns == 2 * len(lines)  # every line adds a question and an answer
    for record in records:
        assert [message["role"] for message in record.messages] == ["user", "assistant"] * (len(record.messages) // 2)
        assert not any("<|" in message["content"] for message in record.messages)


def test_the_same_consultations_are_read_from_the_table_and_from_the_text(data: Path, read: Read) -> None:
    def answers(name: str) -> set[str]:
        records, _ = read(data / "dialogues" / name, "conversation")
        return {re.sub(r"\s", "", record.messages[-1]["content"]) for record in records}

    text, table = answers("cmd_internal_medicine_plain.txt"), answers("cmd_internal_medicine_sample.csv")
    assert len(text & table) > 0.9 * len(text)


def test_the_graph_of_all_files_has_one_department_for_each_entity_of_a_file(data: Path, read: Read) -> None:
    records, rejects = read(Path("kg/*.*"), "knowledge_graph", base=data, entities="kg/remedi_norm")
    alone = sum(
        len(read(data / path, kind)[0])
        for path, kind, rows, bad, _ in SOURCES
        if kind == "knowledge_graph" and bad < rows
    )
    assert len(records) == alone
    labels: dict[tuple[str, str], set[str]] = {}
    for record in records:
        labels.setdefault((record.source.file, record.title[0]), set()).add(record.department)
    assert [names for names in labels.values() if len(names) > 1] == []
    known = {record.title[0] for record in records if record.title[1] == "就诊科室"}
    assert all(record.department != "unknown" for record in records if record.title[0] in known)
    renamed = [record for record in records if record.steps[-1].name == "entities"]
    assert {record.title[1] for record in renamed} == {"检查项目"}
    assert len(renamed) > 300
    assert not any(reject.reason.startswith("unknown") for reject in rejects)


def test_every_entity_table_is_read(data: Path) -> None:
    for folder in ENTITIES:
        for file in (data / folder).iterdir():
            forms = Forms.load(file, 1.0)
            assert len(forms.known) > 100, file
    assert len(Forms.load(data / "kg/diseasekg_dict", 1.0).known) > 25_000
    assert {"黄疸", "咳嗽"} <= Forms.load(data / "kg/remedi_norm", 1.0).known
    # A machine took jaundice for kernicterus with a score of 0.8; the list of symptoms knows better.
    assert Forms.load(data / "kg/remedi_norm", 0.5).of("黄疸", "症状") == ["黄疸"]


def test_every_disease_of_the_mongo_export_is_read(data: Path, read: Read) -> None:
    records, rejects = read(data / "kg/diseasekg_mongo_export.json", "knowledge_graph")
    assert not rejects
    assert {record.source.locator.line for record in records} == set(range(1, 47))


def test_every_document_is_read(data: Path, read: Read) -> None:
    for folder in ("nhc_json", "nhc_ocr", "nhc_pdf", "nhc_txt"):
        records, _ = read(data / "guidelines" / folder, "guideline")
        files = {record.source.file for record in records}
        assert len(files) == len(list((data / "guidelines" / folder).iterdir()))
    records, _ = read(data / "guidelines/derived/儿童腺病毒肺炎诊疗规范（2019年版）.docx", "guideline")
    assert len(records) == 32


def test_the_86_rare_diseases_are_told_apart(data: Path, read: Read) -> None:
    path = next((data / "guidelines/nhc_json").glob("*罕见病*"))
    records, _ = read(path, "guideline")
    diseases = {record.title[1] for record in records}
    assert {int(title.split(".")[0]) for title in diseases if title[0].isdigit()} == set(range(1, 87))
    sections = {record.title[2] for record in records if len(record.title) > 2}
    assert {"概述", "病因和流行病学", "临床表现", "诊断", "治疗"} <= sections
    assert not any("......" in record.text for record in records)


def test_the_scan_is_refused_with_the_reason_where_ocr_is_off(data: Path, read: Read) -> None:
    path = data / "guidelines/derived/儿童肺炎支原体肺炎诊疗指南_p1-6_scan.pdf"
    with pytest.raises(UserError, match="probably a scan"):
        read(path, "guideline", ocr="never")


def test_every_chapter_of_the_classical_textbooks_is_read(data: Path, read: Read) -> None:
    chapters = {"133": 220, "155": 250, "157": 207, "161": 66}
    for path in sorted((data / "textbooks").glob("*.txt")):
        records, rejects = read(path, "textbook")
        lines = {
            record.source.locator.line for record in records if not str(record.source.locator.section).endswith(")")
        }
        named = path.read_bytes().decode("gb18030").split("\n")
        starts = {number for number, line in enumerate(named, 1) if line.startswith("<篇名>")}
        assert len(starts) == chapters[path.name[:3]] + 1  # and the title page
        assert len(starts & {record.source.locator.line for record in records}) + len(rejects) == len(starts) - 1
        assert lines


def test_the_examples_are_made_of_this_data(data: Path, examples: Path, tmp_path: Path) -> None:
    make = runpy.run_path(str(examples / "make_examples.py"))["main"]
    make(data, tmp_path)
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
