"""Statistics and the dataset card."""

from __future__ import annotations

import json

import pytest
import yaml

from pediatricsgpt.corpus.card import Checks, dataset_card, write_card
from pediatricsgpt.corpus.deidentify.step import Deidentifier
from pediatricsgpt.corpus.settings import DecontaminateSettings, DeidentifySettings
from pediatricsgpt.corpus.statistics import statistics
from pediatricsgpt.corpus.untouched import untouched
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
    assert yaml.safe_load(front)["license"] == ["cc0-1.0"]
    assert "| clean | too short | 1 |" in body
    assert "知识问答" in body
    assert "| made | conversation | CC0 |" in body
    counted = json.loads((tmp_path / "card" / "statistics.json").read_text(encoding="utf-8"))
    assert counted["sets"]["experts"]["rows"] == 1


def test_licences_are_named_as_the_hub_names_them_and_others_by_their_own_name() -> None:
    licences = {"Apache-2.0": 3, "MIT": 1, 'hospital "A": internal': 2}
    one = {**statistics({"sft": []})["sets"]["sft"], "licence": licences}
    front = yaml.safe_load(dataset_card('a "b": c', {"sets": {"sft": one}, "rejects": {}}).split("---\n")[1])
    assert front["license"] == ["apache-2.0", "mit", "other"]
    assert front["license_name"] == 'hospital "A": internal'
    assert front["pretty_name"] == 'a "b": c'


def test_the_card_says_what_was_checked_with_intervals_and_n() -> None:
    rate = {"hits": 48, "n": 50, "value": 0.96, "low": 0.865, "high": 0.989}
    measured = {"enabled": True, "recall": {"names": rate}, "precision": rate, "recall_by_type": {"patient_name": rate}}
    found = {"items": 20, "unread": 0, "unread_first": [], "matched_items": 2, "matched_rows": 3, "removed": 3}
    found["pairs"] = {"question, near": 3}
    checks = Checks(measured, {"name": 7}, {"sft": {"rows": 100, "test_sets": {"held_out": found}}})
    card = dataset_card("demo", statistics({"sft": []}), (), checks)
    assert "| recall, names | 0.960 | [0.865, 0.989] | 50 |" in card
    assert "| patient_name | 0.960 | [0.865, 0.989] | 50 |" in card
    assert "| name | 7 |" in card
    assert "| sft | held_out | 20 | 0 | 2 | 100 | 3 | 3 | question, near: 3 |" in card
    assert "could not be read" not in card
    assert "- de-identified" in card
    assert "No source was left as it is" in card
    off = dataset_card("demo", statistics({"sft": []}), (), Checks({"enabled": False}))
    assert "Switched off by the recipe" in off
    assert "- de-identified" not in off


def test_text_of_sources_stays_in_its_cell() -> None:
    source = {"name": "a|b", "kind": "text", "licence": "<script>", "consent": "x\ny", "purpose": "p"}
    card = dataset_card("demo", statistics({"sft": []}), [source])
    assert "| a\\|b | text | &lt;script> | x y | p |" in card


def test_sources_of_rows_without_a_record_are_listed_too(make, tmp_path) -> None:
    for name in ("curated", "sft", "card"):
        (tmp_path / name).mkdir()
    write_records(tmp_path / "curated" / "records.parquet", [make.dialogue("咳嗽怎么办", "多喝水。", split="train")])
    row = make.row("self", 1)
    row["source"] = {**row["source"], "name": "behaviour", "licence": "Apache-2.0"}
    write_rows(tmp_path / "sft" / "rows.parquet", [row], "instruction")
    write_card("demo", {f"corpus/{name}": tmp_path / name for name in ("curated", "sft")}, tmp_path / "card")
    card = (tmp_path / "card" / "README.md").read_text(encoding="utf-8")
    assert "| made | conversation | CC0 |" in card
    assert "| behaviour | conversation | Apache-2.0 |" in card


def decontaminated(make, copies, **settings):
    """The report on a set with one row that holds a test item, of a test set with an item that cannot be read."""
    from pediatricsgpt.corpus.decontaminate import build_index, decontaminate

    chosen = DecontaminateSettings(**settings)
    rows = [make.row("medkqa", number) for number in range(copies)]
    leaking = {**rows[0], "messages": [{"role": "user", "content": LEAKED}, {"role": "assistant", "content": "见书。"}]}
    index = build_index({"exam": [("1", LEAKED, "")]}, chosen)
    unread = {"exam": [Reject("read", "no question", "exam.jsonl, line 2")]}
    return decontaminate([*rows, leaking], index, chosen, "experts", unread)[2]


LEAKED = "患儿反复发热五天伴咳嗽，体温最高达三十九度四，双肺呼吸音粗，最可能的诊断是什么？"


@pytest.mark.parametrize("written", [2, 5, 40])
@pytest.mark.parametrize(("remove", "removed"), [(True, 1), (False, 0)])
def test_what_was_removed_does_not_hang_on_how_large_the_set_became(make, written, remove, removed) -> None:
    report = decontaminated(make, 5, remove=remove)
    counted = statistics({"experts": [make.row("medkqa", 0)] * written})
    card = dataset_card("demo", counted, (), Checks(leakage={"experts": report}))
    assert f"| experts | exam | 1 | 1 | 1 | 6 | 1 | {removed} | question, n-gram: 1 |" in card


def test_test_items_that_could_not_be_read_are_on_the_card(make) -> None:
    checks = Checks(leakage={name: decontaminated(make, 1) for name in ("sft", "experts")})
    card = dataset_card("demo", statistics({"sft": []}), (), checks)
    assert card.count("| exam | 1 | exam.jsonl, line 2: no question |") == 1


@pytest.mark.parametrize(
    ("exempt", "tagged"),
    [({}, True), ({"exempt_sources": ["made"]}, False), ({"exempt_kinds": ["conversation"]}, False)],
)
def test_the_card_lists_what_was_left_as_it_is_and_claims_no_more(make, tmp_path, exempt, tagged) -> None:
    for name in ("curated", "sft", "card", "deidentification"):
        (tmp_path / name).mkdir()
    made = [make.dialogue(f"孩子咳嗽{n}天怎么办", "多喝水。", split="train") for n in range(3)]
    books = [make.section("百日咳由百日咳鲍特菌引起。", "书", split="train", kind="textbook") for _ in range(2)]
    for record in books:
        record.source.name = "books"
    settings = DeidentifySettings(**exempt)
    records, rejects, _ = Deidentifier(settings, 17)([*made, *books])
    assert not rejects
    write_records(tmp_path / "curated" / "records.parquet", records)
    write_rows(tmp_path / "sft" / "rows.parquet", [make.row("medkqa", 1)], "instruction")
    rate = {"hits": 48, "n": 50, "value": 0.96, "low": 0.865, "high": 0.989}
    measured = {"enabled": True, "recall": {"names": rate}, "precision": rate}
    (tmp_path / "deidentification" / "measured.json").write_text(json.dumps(measured), encoding="utf-8")
    names = ("curated", "sft", "deidentification")
    write_card("demo", {f"corpus/{name}": tmp_path / name for name in names}, tmp_path / "card")
    card = (tmp_path / "card" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert ("de-identified" in front["tags"]) is tagged
    assert ("this corpus as a whole is not de-identified" in card) is not tagged
    if "textbook" in settings.exempt_kinds:
        assert "| books | textbook | kind exempt by the recipe | 2 |" in card
    if "exempt_sources" in exempt:
        assert "| made | conversation | source exempt by the recipe, by its name | 3 |" in card
    if "exempt_kinds" in exempt:
        assert "| made | conversation | kind exempt by the recipe | 3 |" in card


def test_a_record_without_any_step_of_deidentification_takes_the_tag_away(make, tmp_path) -> None:
    write_records(tmp_path / "records.parquet", [make.dialogue("孩子咳嗽怎么办", "多喝水。")])
    (left,) = untouched(tmp_path / "records.parquet")
    assert (left.source, left.kind, left.records) == ("made", "conversation", 1)
    assert not Checks({"enabled": True}, untouched=[left]).deidentified
    assert Checks({"enabled": True}).deidentified
