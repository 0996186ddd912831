"""Looking into a corpus: only finished steps, what was dropped and why, and the way back from any row."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus import look
from pediatricsgpt.corpus.build.preferences import general_pairs, statistics
from pediatricsgpt.corpus.settings import PreferenceSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import Manifest
from pediatricsgpt.records import Locator, Reject, write_json_lines, write_records, write_rows


def _step(folder: Path, *rejects: Reject, manifest: bool = True) -> None:
    folder.mkdir(parents=True)
    write_json_lines(folder / "rejects.jsonl", [reject.as_dict() for reject in rejects])
    if manifest:
        (folder / "manifest.json").write_text("{}")


def _manifest(folder: Path, content: str, **inputs: str) -> None:
    """As `run.py` writes it; inputs by their names in the corpus."""
    folder.mkdir(exist_ok=True)
    named = {f"corpus/{name}": value for name, value in inputs.items()}
    manifest = Manifest(f"corpus/{folder.name}", "f", content, named, {}, "c", 17, whole=f"{content}, all of it")
    (folder / "manifest.json").write_text(json.dumps(dataclasses.asdict(manifest)))


@pytest.fixture
def corpus(make: Any, tmp_path: Path) -> Path:
    """A corpus with rejects of three steps, in two places."""
    clean = [Reject("clean", f"too short: {n} characters", f"a.json, line {n}", f"短{n}") for n in range(1, 4)]
    record = make.dialogue("孩子咳嗽怎么办？", "多喝温水。")
    quality = [Reject("quality", "advertisement: 0.9", "b.json, line 1", record.as_dict())]
    _step(tmp_path / "curated", *clean[:2], *quality, clean[2])
    _step(tmp_path / "sources" / "books", Reject("read", "heading without text", "c.txt, line 1", "目录"))
    return tmp_path


def test_rejects_are_those_of_finished_steps(tmp_path: Path) -> None:
    corpus = tmp_path / "run.partial" / "corpus"
    _step(corpus / "curated", Reject("clean", "finished", "a"))
    _step(corpus / "instructions", Reject("clean", "no manifest", "a"), manifest=False)
    _step(corpus / "preferences.partial", Reject("clean", "at work", "a"))
    _step(corpus / "sources" / "a", Reject("clean", "read", "a"))
    lines = list(look.rejects(corpus, 1))
    assert [line for line in lines if line.startswith("==")] == ["== curated: 1 rejected", "== sources/a: 1 rejected"]
    assert "no manifest" not in " ".join(lines)


def test_rejects_are_counted_by_step_and_reason_and_the_first_of_each_step_shown(corpus: Path) -> None:
    lines = list(look.rejects(corpus, 2))
    assert lines[:3] == ["== curated: 4 rejected", "        3  clean: too short", "        1  quality: advertisement"]
    shown = [line.strip() for line in lines if line.startswith("   - ")]
    assert [line.split(":")[0] for line in shown] == [
        "- clean, a.json, line 1",
        "- clean, a.json, line 2",
        "- quality, b.json, line 1",
        "- read, c.txt, line 1",
    ]


@pytest.mark.parametrize(
    ("step", "reason", "counts"),
    [
        ("clean", None, ["        3  clean: too short"]),
        ("curated", None, ["        3  clean: too short", "        1  quality: advertisement"]),
        ("books", None, ["        1  read: heading without text"]),
        ("sources/books", None, ["        1  read: heading without text"]),
        (None, "advert", ["        1  quality: advertisement"]),
        ("clean", "3 char", ["        1  clean: too short"]),
    ],
)
def test_rejects_of_one_step_or_reason(corpus: Path, step: str | None, reason: str | None, counts: list[str]) -> None:
    lines = list(look.rejects(corpus, 1, step, reason))
    assert [line for line in lines if re.match(r" +[\d,]+  \w+: ", line)] == counts
    assert sum(line.startswith("==") for line in lines) == 1


def test_items_of_a_named_step_are_shown_whole(make: Any, tmp_path: Path) -> None:
    long = "咳" * 500
    _step(tmp_path / "curated", Reject("clean", "too long", "a", make.section(long, "咳嗽").as_dict()))
    assert long not in "".join(look.rejects(tmp_path, 1))
    assert long in "".join(look.rejects(tmp_path, 1, "clean"))


def test_an_unknown_step_or_reason_is_answered_with_those_that_there_are(corpus: Path) -> None:
    with pytest.raises(UserError, match=r"by 'cleen'; steps with drops: clean, curated, quality, read, sources/books"):
        list(look.rejects(corpus, 1, "cleen"))
    with pytest.raises(UserError, match=r"'too long'; reasons that there are: too short, advertisement"):
        list(look.rejects(corpus, 1, "curated", "too long"))


def test_a_corpus_that_dropped_nothing_shows_nothing(tmp_path: Path) -> None:
    _step(tmp_path / "curated")
    assert list(look.rejects(tmp_path, 3)) == []
    with pytest.raises(UserError, match="steps with drops: none"):
        list(look.rejects(tmp_path, 3, "clean"))


@pytest.mark.parametrize(
    ("locator", "place"),
    [
        (Locator(page=7, section="治疗"), "page 7, section 治疗"),
        (Locator(line=3, row=2), "line 3, row 2"),
        (Locator(seconds=12.5), "seconds 12.5"),
    ],
)
def test_a_row_of_any_set_leads_to_its_place_in_its_file(
    make: Any, tmp_path: Path, locator: Locator, place: str
) -> None:
    for name in ("curated", "instructions", "sft", "cpt"):
        (tmp_path / name).mkdir()
    record = make.dialogue("孩子咳嗽怎么办？", "多喝温水。", split="train")
    record.source.locator = locator
    write_records(tmp_path / "curated" / "records.parquet", [record])
    row = make.row("general", 1)
    row |= {"parents": [record.id], "source": record.source.as_dict()}
    for name in ("instructions", "sft"):
        write_rows(tmp_path / name / "rows.parquet", [row], "instruction")
    names = ("group", "source", "steps", "split")
    text = {"text": "家长：咳嗽", "form": "instruction", "id": "feed", "parents": [row["id"]]}
    write_rows(tmp_path / "cpt" / "rows.parquet", [text | {name: row[name] for name in names}], "cpt")
    lines = list(look.lineage(tmp_path, "feed"))
    assert lines[0] == "feed in cpt"
    assert f"made from {row['id']}:" in lines
    assert f"  made from {record.id}:" in lines
    assert f"    {record.id} in curated" in lines
    assert f"      place: made.json, {place}" in lines


def test_a_row_of_a_rule_file_says_that_it_has_no_record(make: Any, tmp_path: Path) -> None:
    for name in ("curated", "sft"):
        (tmp_path / name).mkdir()
    write_records(tmp_path / "curated" / "records.parquet", [])
    row = make.row("self", 1)
    row["source"] = {**row["source"], "file": "behaviour.yaml"}
    row["source"]["locator"] = {**row["source"]["locator"], "section": "identity"}
    write_rows(tmp_path / "sft" / "rows.parquet", [row], "instruction")
    last = list(look.lineage(tmp_path, row["id"]))[-1]
    assert last == "  no record of this corpus: an entry of behaviour.yaml, section identity"


def test_a_dropped_row_says_which_step_dropped_it(make: Any, tmp_path: Path) -> None:
    record = make.dialogue("孩子咳嗽怎么办？", "多喝温水。")
    _step(tmp_path / "curated", Reject("quality", "advertisement: 0.9", "b.json", record.as_dict()))
    write_records(tmp_path / "curated" / "records.parquet", [])
    lines = list(look.lineage(tmp_path, record.id))
    assert lines[0] == f"{record.id} in the rejects of curated, dropped by quality (advertisement: 0.9)"
    with pytest.raises(UserError, match="no row 'beef' in this corpus, and none was dropped"):
        look.lineage(tmp_path, "beef")


def test_rows_of_a_set_are_shown_with_their_place(make: Any, tmp_path: Path) -> None:
    for name in ("curated", "sft"):
        (tmp_path / name).mkdir()
    write_rows(tmp_path / "sft" / "rows.parquet", [make.row("general", n) for n in range(200)], "instruction")
    lines = list(look.rows(tmp_path, "sft", 150))
    assert sum(line.startswith("-- ") for line in lines) == 150
    assert "user: general问题149？\nassistant: 这是第149个回答。" in lines
    with pytest.raises(UserError, match="not built yet"):
        list(look.rows(tmp_path, "cpt", 1))
    with pytest.raises(UserError, match="there are cpt, sft"):
        list(look.rows(tmp_path, "sfd", 1))


def test_statistics_show_the_preference_pairs_once_they_are_made(make: Any, tmp_path: Path) -> None:
    for name in ("curated", "card", "preferences"):
        (tmp_path / name).mkdir()
    card = {"sets": {"sft": {"rows": 3, "characters": 9}}, "rejects": {"clean": {"too short": 1}}}
    (tmp_path / "card" / "statistics.json").write_text(json.dumps(card))
    pairs = general_pairs([make.preference("写一首诗", "好诗。", "坏诗。", split="train")], PreferenceSettings())[0]
    (tmp_path / "preferences" / "statistics.json").write_text(json.dumps(statistics(pairs, [])))
    assert list(look.statistics(tmp_path)["sets"]) == ["sft"]
    _manifest(tmp_path / "instructions", "i1")
    _manifest(tmp_path / "preferences", "p1", instructions="i1")
    found = look.statistics(tmp_path)
    assert list(found["sets"]) == ["sft", "preferences"]
    assert found["rejects"] == {"clean": {"too short": 1}}
    titles = [table.title for table in look.statistics_tables(found)]
    assert titles == ["sets", "sides of the preference pairs", "dropped"]
    _manifest(tmp_path / "instructions", "i2")
    sets = look.statistics(tmp_path)["sets"]
    assert sets["preferences"]["stale"] == "corpus/instructions is no more what it was made from"
    assert "stale" not in sets["sft"]
    table = next(look.statistics_tables(look.statistics(tmp_path)))
    assert list(table.columns[0].cells) == ["sft", "preferences (stale: run again)"]
    _manifest(tmp_path / "card", "k1", sft="s1, all of it")
    _manifest(tmp_path / "sft", "s1", instructions="i2")
    assert "stale" not in look.statistics(tmp_path)["sets"]["sft"]
    _manifest(tmp_path / "sft", "s2", instructions="i2")
    sets = look.statistics(tmp_path)["sets"]
    assert sets["sft"]["stale"] == "corpus/sft is no more what it was made from"


@pytest.fixture
def built(make: Any, tmp_path: Path) -> Path:
    """A corpus with one set, its records and its card."""
    for name in ("curated", "sft", "card"):
        (tmp_path / name).mkdir()
    record = make.dialogue("孩子咳嗽怎么办？", "多喝温水。")
    write_records(tmp_path / "curated" / "records.parquet", [record])
    rows = [make.row("general", number) for number in range(200)]
    write_rows(tmp_path / "sft" / "rows.parquet", rows, "instruction")
    card = {"sets": {"sft": {"rows": 200, "characters": 9}}, "rejects": {"clean": {"too short": 1}}}
    (tmp_path / "card" / "statistics.json").write_text(json.dumps(card))
    return tmp_path


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwritten(path: Path) -> None:
    """The footer is sound, a page in the middle is not."""
    content = bytearray(path.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    path.write_bytes(content)


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _of_another_form(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), path)


@pytest.mark.parametrize("damage", [_cut, _overwritten, _emptied, _of_another_form])
def test_a_damaged_set_is_named_with_what_to_do(built: Path, damage: Any) -> None:
    damage(built / "sft" / "rows.parquet")
    for show in (lambda: list(look.rows(built, "sft", 200)), lambda: list(look.lineage(built, "a"))):
        with pytest.raises(
            UserError, match=r"damaged file \(.+\); delete its folder and run `pedgpt corpus build"
        ) as found:
            show()
        assert found.value.where == str(built / "sft" / "rows.parquet")
        assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    "text", ["", '{"sets": {', "[]", '{"sets": {}}', '{"sets": {"sft": {"rows": "3", "characters": 1}}, "rejects": {}}']
)
def test_damaged_statistics_are_named_with_what_to_do(built: Path, text: str) -> None:
    (built / "card" / "statistics.json").write_text(text)
    with pytest.raises(UserError, match=r"statistics.json: damaged file .+ delete its folder and run"):
        look.statistics(built)


@pytest.mark.parametrize("line", ["{", "[]", '{"step": "clean", "row": 1}', '{"step": 1, "reason": "", "where": ""}'])
def test_damaged_rejects_are_named_with_their_line(corpus: Path, line: str) -> None:
    path = corpus / "curated" / "rejects.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError, match=r"rejects.jsonl:5: "):
        list(look.rejects(corpus, 1))
