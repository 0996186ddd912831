"""Statistics and the dataset card."""

from __future__ import annotations

import json

import yaml

from pediatricsgpt.corpus.card import dataset_card, statistics, write_card
from pediatricsgpt.records import Reject, write_json_lines, write_records, write_rows


def test_statistics_count_what_is_there(make) -> None:
    rows = [make.row("medkqa", n) for n in range(3)] + [make.row("trerecom", 1)]
    rejects = [Reject("clean", "too short: 3 characters", "a"), Reject("clean", "too short: 4 characters", "b")]
    counted = statistics({"experts": [*rows, rows[0]]}, rejects)
    found = counted["sets"]["experts"]
    assert (found["rows"], found["distinct"]) == (5, 4)
    assert found["task"] == {"medkqa": 4, "trerecom": 1}
    assert found["licence"] == {"CC0": 5}
    assert found["turns"] == {"1": 5}
    assert found["characters"] == sum(len(m["content"]) for row in [*rows, rows[0]] for m in row["messages"])
    assert found["length"]["p100"] >= found["length"]["p50"] > 0
    assert counted["rejects"] == {"clean": {"too short": 2}}
    json.dumps(counted)


def test_an_empty_set_is_no_error() -> None:
    counted = statistics({"experts": []})
    assert counted["sets"]["experts"]["rows"] == 0
    assert "experts" in dataset_card("demo", counted)


def test_the_card_is_written_with_front_matter(make, tmp_path) -> None:
    record = make.dialogue("孩子咳嗽怎么办", "多喝水。", task="medkqa", split="train")
    (tmp_path / "curated").mkdir()
    (tmp_path / "experts").mkdir()
    (tmp_path / "card").mkdir()
    write_records(tmp_path / "curated" / "records.parquet", [record])
    reject = Reject("clean", "too short: 1 characters", "made.json")
    write_json_lines(tmp_path / "curated" / "rejects.jsonl", [reject.as_dict()])
    write_rows(tmp_path / "experts" / "rows.parquet", [make.row("medkqa", 1)], "instruction")
    inputs = {f"corpus/{name}": tmp_path / name for name in ("curated", "experts")}
    assert write_card("demo", inputs, tmp_path / "card") == {"sets": 1, "rows": 1}
    card = (tmp_path / "card" / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front)["language"] == ["zh"]
    assert yaml.safe_load(front)["size_categories"] == ["n<1K"]
    assert "| clean | too short | 1 |" in body
    assert "知识问答" in body
    assert "| made | conversation | CC0 |" in body
    counted = json.loads((tmp_path / "card" / "statistics.json").read_text(encoding="utf-8"))
    assert counted["sets"]["experts"]["rows"] == 1
