"""Looking into a corpus: only finished steps, and the preference pairs once they are made."""

from __future__ import annotations

import json

from pediatricsgpt.corpus import look
from pediatricsgpt.corpus.build.preferences import general_pairs, statistics
from pediatricsgpt.corpus.settings import PreferenceSettings
from pediatricsgpt.records import Reject, write_json_lines


def _step(folder, reason: str, manifest: bool = True) -> None:
    folder.mkdir(parents=True)
    write_json_lines(folder / "rejects.jsonl", [Reject("clean", reason, "a").as_dict()])
    if manifest:
        (folder / "manifest.json").write_text("{}")


def test_rejects_are_those_of_finished_steps(tmp_path) -> None:
    corpus = tmp_path / "run.partial" / "corpus"
    _step(corpus / "curated", "finished")
    _step(corpus / "instructions", "no manifest", manifest=False)
    _step(corpus / "preferences.partial", "at work")
    _step(corpus / "sources" / "a", "read")
    lines = list(look.rejects(corpus, 1))
    assert [line for line in lines if line.startswith("==")] == ["== curated: 1 rejected", "== sources/a: 1 rejected"]
    assert "no manifest" not in " ".join(lines)


def test_statistics_show_the_preference_pairs_once_they_are_made(make, tmp_path) -> None:
    for name in ("curated", "card", "preferences"):
        (tmp_path / name).mkdir()
    card = {"sets": {"sft": {"rows": 3, "characters": 9}}, "rejects": {"clean": {"too short": 1}}}
    (tmp_path / "card" / "statistics.json").write_text(json.dumps(card))
    pairs = general_pairs([make.preference("写一首诗", "好诗。", "坏诗。", split="train")], PreferenceSettings())[0]
    (tmp_path / "preferences" / "statistics.json").write_text(json.dumps(statistics(pairs, [])))
    assert list(look.statistics(tmp_path)["sets"]) == ["sft"]
    (tmp_path / "preferences" / "manifest.json").write_text("{}")
    found = look.statistics(tmp_path)
    assert list(found["sets"]) == ["sft", "preferences"]
    assert found["rejects"] == {"clean": {"too short": 1}}
    titles = [table.title for table in look.statistics_tables(found)]
    assert titles == ["sets", "sides of the preference pairs", "dropped"]
