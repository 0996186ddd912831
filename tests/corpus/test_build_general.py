"""General rows from preference pairs, and the pairs that they bar."""

from __future__ import annotations

from pediatricsgpt.corpus.build.general import barred, instructions
from pediatricsgpt.corpus.build.preferences import general_pairs
from pediatricsgpt.corpus.settings import GeneralSettings, PreferenceSettings
from pediatricsgpt.records import write_rows


def test_a_pair_is_an_instruction_or_a_preference_and_never_both(make, tmp_path) -> None:
    records = [make.preference(f"写第{n}首诗", "好诗。", "坏诗。", split="train") for n in range(400)]
    rows = instructions(records, GeneralSettings(preference_share=0.25))
    assert 70 <= len(rows) <= 130
    assert rows[0]["messages"] == [*records_by(records)[rows[0]["parents"][0]].messages, assistant("好诗。")]
    assert {(row["task"], row["family"]) for row in rows} == {("general", "general")}
    pairs, rejects = general_pairs(records, PreferenceSettings(), barred(rows))
    assert len(pairs) + len(rejects) == 400
    assert [reject.reason for reject in rejects] == ["used as an instruction"] * len(rows)
    assert {parent for row in pairs for parent in row["parents"]}.isdisjoint(barred(rows))
    write_rows(tmp_path / "rows.parquet", rows, "instruction")


def test_the_choice_depends_on_the_pair_alone(make) -> None:
    records = [make.preference(f"写第{n}首诗", "好诗。", "坏诗。", split="train") for n in range(100)]
    half = {row["id"] for row in instructions(records, GeneralSettings(preference_share=0.5))}
    assert half == {row["id"] for row in instructions(records[::-1], GeneralSettings(preference_share=0.5))}
    assert {row["id"] for row in instructions(records, GeneralSettings(preference_share=0.2))} < half
    assert instructions(records, GeneralSettings(preference_share=0)) == []
    assert len(instructions(records, GeneralSettings(preference_share=1))) == 100


def test_only_these_rows_bar_a_pair(make) -> None:
    assert barred([make.row("general", 1), make.row("medkqa", 2)]) == set()


def records_by(records):
    return {record.id: record for record in records}


def assistant(text: str):
    return {"role": "assistant", "content": text}
