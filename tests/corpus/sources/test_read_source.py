from __future__ import annotations

import hashlib
import json
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from pediatricsgpt.corpus import sources
from pediatricsgpt.corpus.settings import SourceKind, SourceSettings
from pediatricsgpt.corpus.sources import consumed_files, read_source
from pediatricsgpt.corpus.sources.rows import json_rows
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Record, Reject, content_id, read_records, write_records

Read = Callable[..., Any]
Make = Callable[..., Path]
ROW = '{"question": "问", "answer": "%s"}\n'
FOLDERS = {
    "guidelines": "guideline",
    "textbooks": "textbook",
    "knowledge_graph": "knowledge_graph",
    "dialogues": "conversation",
    "distilled": "dataset",
    "preferences": "preferences",
    "general": "dataset",
}


def answers(records: list[Any]) -> list[str]:
    return [record.messages[-1]["content"] for record in records]


def test_a_folder_is_read_in_sorted_order_with_the_folders_in_it(read: Read, make: Make, tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/z.jsonl", "c.txt", "a/y/x.json"):
        make(f"data/{name}", ROW % name)
    records, rejects = read(tmp_path / "data", "dataset")
    assert not rejects
    assert answers(records) == ["a/y/x.json", "a/z.jsonl", "b.jsonl", "c.txt"]
    assert [record.source.file for record in records][:2] == ["data/a/y/x.json", "data/a/z.jsonl"]


def test_hidden_files_are_skipped_and_unknown_ones_are_rejects(read: Read, make: Make, tmp_path: Path) -> None:
    for name in ("a.jsonl", ".hidden.jsonl", ".git/b.jsonl", "~$lock.jsonl"):
        make(f"data/{name}", ROW % name)
    make("data/LICENSE", "MIT")
    make("data/book.epub", "PK")
    records, rejects = read(tmp_path / "data", "dataset")
    assert answers(records) == ["a.jsonl"]
    reads = "a source of kind dataset reads .json, .jsonl, .txt, .csv, .tsv, .xlsx"
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("data/LICENSE", f"unknown extension: none; {reads}"),
        ("data/book.epub", f"unknown extension: .epub; {reads}"),
    ]


def test_a_recipe_in_a_hidden_folder_still_finds_its_files(read: Read, make: Make, tmp_path: Path) -> None:
    make(".work/data/a.jsonl", ROW % "甲")
    records, _ = read(Path("data"), "dataset", base=tmp_path / ".work")
    assert answers(records) == ["甲"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["a.jsonl"]),
        ("**/*.jsonl", ["a.jsonl", "d/b.jsonl"]),
        ("d*", ["d/b.jsonl"]),
        ("[x].json", ["[x].json"]),
    ],
)
def test_patterns_find_files_and_folders(
    read: Read, make: Make, tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    for name in ("a.jsonl", "d/b.jsonl", "[x].json"):
        make(name, ROW % name)
    records, _ = read(Path(pattern), "dataset", base=tmp_path)
    assert answers(records) == expected


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere", "no such file or folder"),
        ("*.pdf", "nothing matches this pattern"),
        ("empty", "the folder holds no file"),
        ("hidden", "the folder holds no file"),
        ("pictures", r"holds nothing that could be read; the first of 1 rejects: pictures/a\.png: unknown extension"),
        ("pictures/a.png", "unknown extension: .png"),
        ("void/a.jsonl", "the file is empty"),
    ],
)
def test_sources_that_hold_nothing_stop_the_run(
    read: Read, make: Make, tmp_path: Path, path: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    make("hidden/.a.jsonl", ROW % "甲")
    make("pictures/a.png", "PNG")
    make("void/a.jsonl", "")
    with pytest.raises(UserError, match=message) as error:
        read(Path(path), "dataset", base=tmp_path)
    assert error.value.where == str(tmp_path / path)


def test_every_kind_has_a_reader(make: Make, read: Read) -> None:
    for kind in get_args(SourceKind):
        with pytest.raises(UserError, match="unknown extension"):
            read(make("a.unknown", "甲"), kind, speech_model="model")


def test_records_carry_their_provenance(make: Make, tmp_path: Path) -> None:
    path = make("data/a.jsonl", ROW % "甲")
    (tmp_path / "recipes").mkdir()
    settings = SourceSettings(
        name="forum",
        kind="dataset",
        path=Path("../data/a.jsonl"),
        licence="MIT",
        consent="published by its authors",
        purpose="training",
        retrieved="2026-11-22",
    )
    records = read_source(settings, tmp_path / "recipes").records
    record = records[0]
    assert record.id == content_id(record.content())
    source = record.source
    assert (source.name, source.kind, source.file) == ("forum", "dataset", "../data/a.jsonl")
    assert source.file_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.licence, source.consent, source.purpose, source.retrieved) == (
        "MIT",
        "published by its authors",
        "training",
        "2026-11-22",
    )
    assert [(step.name, step.version, step.teacher) for step in record.steps] == [("read", 1, "none")]
    assert (record.split, record.parents, record.age_band, record.pediatric) == ("", [], "unknown", False)


@pytest.mark.parametrize(("folder", "kind"), FOLDERS.items())
def test_the_examples_are_whole_records_and_fit_the_contract(
    read: Read, examples: Path, tmp_path: Path, folder: str, kind: str
) -> None:
    records, _ = read(Path("../examples") / folder, kind, base=examples.parent / "recipes")
    assert all(record.id == content_id(record.content()) for record in records)
    assert all(record.source.file.startswith(f"../examples/{folder}/") for record in records)
    assert all(bool(record.text) != bool(record.messages) for record in records)
    assert all(":" in record.group and record.group.split(":", 1)[1] for record in records)
    write_records(tmp_path / "records.parquet", records)
    assert read_records(tmp_path / "records.parquet") == records


JSON_ROW = '{"question": "问%d", "answer": "答"}'
BLOCK = "id\t1\tdepartment\t儿科\nP\t孩子发烧\tx\nD\t多喝水\tx\n"


@pytest.mark.parametrize(
    ("kind", "name", "content", "counts"),
    [
        ("dataset", "a.json", f"[{JSON_ROW % 1}, 7, {JSON_ROW % 2}]", (3, 2, 1)),
        ("dataset", "a.jsonl", f"{JSON_ROW % 1}\n\n{{broken\n{JSON_ROW % 2}\n[]\n", (4, 2, 2)),
        ("dataset", "a.json", '{\n"question": "问", "answer": "答"\n}', (1, 1, 0)),
        ("dataset", "a.jsonl", '{"question": "问\\ud83d", "answer": "答"}\n' + JSON_ROW % 1, (2, 1, 1)),
        ("conversation", "a.csv", "department,title,ask,answer\n儿科,甲,无,乙\n儿科,甲\n儿科,甲,无,\n", (3, 1, 2)),
        ("conversation", "a.dialog", f"{BLOCK}\n\nP\t没有头\tx\n\n{BLOCK}", (3, 2, 1)),
        (
            "knowledge_graph",
            "a.csv",
            "head,relation,tail\n水痘,症状,发热\n水痘,症状,皮疹\n水痘,has_symptom,发热\n水痘,症状,\n",
            (4, 2, 2),
        ),
        (
            "knowledge_graph",
            "a.jsonl",
            '{"name": "水痘", "cause": "病毒", "desc": "传染病"}\n{"name": "空"}',
            (2, 1, 1),
        ),
        (
            "guideline",
            "a.json",
            '[{"title": "发热诊疗指南", "content": "发热诊疗指南"}, {"title": "甲", "content": "发热。"}]',
            (2, 1, 1),
        ),
        ("guideline", "a.txt", "小儿发热诊疗指南\n\n发热是常见的症状。", (0, 0, 0)),
    ],
)
def test_every_row_of_a_file_is_accounted_for(
    make: Make, tmp_path: Path, kind: str, name: str, content: str, counts: tuple[int, ...]
) -> None:
    make(name, content)
    reading = read_source(_settings(kind, name), tmp_path)
    items = list(reading)
    assert len(items) == sum(isinstance(item, Record) for item in items) + sum(
        isinstance(item, Reject) for item in items
    )
    assert tuple(reading.counts[key] for key in ("rows", "rows_used", "rows_rejected")) == counts
    assert reading.counts["files"] == 1


def test_a_triple_that_is_said_again_is_a_reject(make: Make, read: Read) -> None:
    path = make("a.csv", "head,relation,tail\n水痘,症状,发热\n水痘,症状,皮疹\n水痘,has_symptom,发热\n")
    records, rejects = read(path, "knowledge_graph")
    assert [record.text for record in records] == ["发热、皮疹"]
    assert [(reject.where, reject.reason) for reject in rejects] == [
        ("a.csv:4, row 3", "triple said before: under line 2, row 1")
    ]


def test_a_reader_that_loses_a_row_stops_the_run(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("a.jsonl", ROW % "甲" + ROW % "乙")

    def careless(file: Any) -> Any:
        rows, _ = json_rows(file)
        file.rows.used += 1
        yield file.record(group="a", locator=rows[0].locator(), text="甲")

    monkeypatch.setitem(sources._READERS, "dataset", {".jsonl": careless})
    with pytest.raises(RuntimeError, match=r"a\.jsonl: 2 rows, but 1 used and 0 rejected"):
        list(read_source(_settings("dataset", "a.jsonl"), tmp_path))


def test_items_come_in_the_order_of_the_file_before_it_is_read_to_its_end(make: Make, tmp_path: Path) -> None:
    make("a.jsonl", ROW % "甲" + "{broken\n" + ROW % "乙" + "{}\n" * 100_000)
    reading = read_source(_settings("dataset", "a.jsonl"), tmp_path)
    first = list(islice(reading, 3))
    assert [type(item) for item in first] == [Record, Reject, Record]
    assert reading.counts == {"files": 1, "rows": 0, "rows_used": 0, "rows_rejected": 0}  # the file was not ended


def test_memory_does_not_grow_with_the_rows(make: Make, tmp_path: Path) -> None:
    answer = "多喝水，注意休息。" * 75
    rows = {
        "a.jsonl": json.dumps({"question": "发烧怎么办？", "answer": answer}, ensure_ascii=False) + "\n",
        "a.csv": f"儿科,发烧怎么办,无,{answer}\n",
    }
    for name, row in rows.items():
        head = "department,title,ask,answer\n" if name.endswith("csv") else ""
        make(name, head + row * 4_000)
        tracemalloc.start()
        number = sum(1 for _ in read_source(_settings("conversation", name), tmp_path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert number == 4_000
        assert peak < 6 * 2**20 < (tmp_path / name).stat().st_size


def test_the_encodings_of_the_files_are_counted(make: Make, tmp_path: Path) -> None:
    make("data/a.jsonl", ROW % "甲", "gb18030")
    make("data/b.jsonl", ROW % "乙")
    make("data/c.json", f"[{ROW % '丙'}]", "gb18030")
    reading = read_source(_settings("dataset", "data"), tmp_path)
    assert len(list(reading)) == 3
    assert {name: number for name, number in reading.counts.items() if "encoding" in name} == {
        "encoding gb18030": 2,
        "encoding utf-8": 1,
    }


def _settings(kind: str, name: str) -> SourceSettings:
    return SourceSettings.model_validate(
        {"name": "a", "kind": kind, "path": name, "licence": "CC0", "consent": "none", "purpose": "testing"}
    )


def test_reading_twice_gives_the_same(read: Read, examples: Path) -> None:
    once, twice = (read(examples / "guidelines", "guideline") for _ in range(2))
    assert once == twice
    assert len({str(record.source) for record in once[0]}) == len(once[0])  # no two records stand in one place


@pytest.mark.parametrize("ground", ["licence", "consent", "purpose"])
@pytest.mark.parametrize("said", [None, "", "  ", "-"])
def test_a_source_without_licence_consent_or_purpose_is_refused_and_told_why(ground: str, said: str | None) -> None:
    values = {"name": "a", "kind": "dataset", "path": "x", "licence": "CC0", "consent": "none", "purpose": "testing"}
    with pytest.raises(
        ValidationError, match="a corpus about children without licence, consent and purpose is refused"
    ):
        SourceSettings.model_validate({**values, ground: said})
    del values[ground]
    with pytest.raises(ValidationError, match=f"{ground}\n  Field required"):
        SourceSettings.model_validate(values)
    assert "refused" in str(SourceSettings.model_fields[ground].description)


def test_entity_tables_belong_to_what_a_source_depends_on(make: Make, tmp_path: Path) -> None:
    make("g/a.csv", "head,relation,tail\n")
    make("tables/a.txt", "甲")
    make("tables/b/c.json", "{}")
    settings = _settings("knowledge_graph", "g").model_copy(update={"entities": Path("tables")})
    assert [path.relative_to(tmp_path).as_posix() for path in consumed_files(settings, tmp_path)] == [
        "g/a.csv",
        "tables/a.txt",
        "tables/b/c.json",
    ]
