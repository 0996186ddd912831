"""GPT-4's scores as preferences between pairs: read as they are, unreadable ones counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.validation.reference import read_disc, scores_in


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Proactivity: 4\nAccuracy: 5\nHelpfulness: 3\nLinguistic Quality: 2", (5, 3, 2)),
        ("```\nProactivity: 4\nAccuracy: 5\nHelpfulness: 3\nLinguistic Quality: 2\n```", (5, 3, 2)),
        ("**Accuracy**: 4/5\n- Helpfulness：3.5\nLinguistic  Quality = 5", (4, 3.5, 5)),
        ('{"Linguistic Quality": 3, "Accuracy": 2}', (2, None, 3)),
        ("accuracy: 4. Helpfulness: 2.", (4, 2, None)),
        ("Accuracy: 6\nHelpfulness: 0", (None, None, None)),
        ("Accuracy: 45", (None, None, None)),
        ("Accuracy: 4\nAccuracy: 3", (None, None, None)),
        ("Accuracy: 4\nAccuracy: 4", (4, None, None)),
        ("Inaccuracy: 3", (None, None, None)),
        ("I cannot score this.", (None, None, None)),
        (None, (None, None, None)),
    ],
)
def test_scores_are_read_from_free_text(text, found):
    names = ("correctness", "usefulness", "fluency")
    assert scores_in(text) == {name: value for name, value in zip(names, found, strict=True) if value is not None}


@given(st.text())
def test_no_text_breaks_the_reading(text):
    assert all(1 <= score <= 5 for score in scores_in(text).values())


def _write(folder: Path, scores: dict[str, dict[str, str]]) -> Path:
    """Files of models -> question -> what GPT-4 wrote."""
    for model, rows in scores.items():
        lines = [{"id": name, "model": model, "scores": text} for name, text in rows.items()]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"scores_{model}_cmd.jsonl").write_text(text, encoding="utf-8")
        dialogues = [
            {
                "id": name,
                "dataset_info": {"department": "儿科"},
                "conversation": [
                    {"role": "patient", "content": f"问{name}"},
                    {"role": "doctor", "content": f"{model}答"},
                    {"role": "patient", "content": "还有呢"},
                    {"role": "doctor", "content": "没有了"},
                ],
            }
            for name in rows
        ]
        (folder / f"dialogues_{model}_cmd.json").write_text(json.dumps(dialogues), encoding="utf-8")
    return folder


def test_equal_scores_are_ties_and_higher_ones_win_whichever_side_they_are_on(tmp_path):
    rows = {f"q{i}": f"Accuracy: {i % 3 + 2}\nHelpfulness: 4" for i in range(12)}
    others = dict.fromkeys(rows, "Accuracy: 3\nHelpfulness: 4")
    found = read_disc(_write(tmp_path, {"m1": rows, "m2": others}))
    assert {pair.models for pair in found.pairs} == {("m1", "m2"), ("m2", "m1")}
    for pair in found.pairs:
        better = (int(pair.group[1:]) % 3 + 2 > 3) - (int(pair.group[1:]) % 3 + 2 < 3)
        assert pair.labels == {"correctness": better if pair.models[0] == "m1" else -better, "usefulness": 0}


def test_the_judge_sees_the_whole_consultation_that_was_scored(tmp_path):
    found = read_disc(_write(tmp_path, {"m1": {"q": "Accuracy: 4"}, "m2": {"q": "Accuracy: 5"}}))
    (pair,) = found.pairs
    assert pair.question.messages == ({"role": "user", "content": "问q"},)
    first = pair.models[0]
    assert pair.question.answers[0] == f"医生：{first}答\n患者：还有呢\n医生：没有了"
    assert (pair.question.department, pair.question.group) == ("儿科", "q")


def test_unreadable_answers_are_counted_and_leave_no_pair(tmp_path):
    found = read_disc(
        _write(tmp_path, {"m1": {"q": "no scores", "r": "Accuracy: 4"}, "m2": {"q": "Accuracy: 5", "r": "Accuracy: 4"}})
    )
    assert [pair.group for pair in found.pairs] == ["r"]
    assert (found.counts["answers"], found.counts["unreadable"], found.counts["partly_unreadable"]) == (4, 1, 3)


def test_a_sample_is_part_of_a_larger_one(shared):
    folder = shared / "data" / "benchmarks" / "disc_eval"
    whole, part = read_disc(folder), read_disc(folder, 50)
    assert part.pairs == whole.pairs[:50]


def test_the_published_scores_are_all_read(shared):
    found = read_disc(shared / "data" / "benchmarks" / "disc_eval")
    assert (found.counts["answers"], found.counts["unreadable"], found.counts["partly_unreadable"]) == (337, 0, 0)
    assert (len(found.pairs), found.counts["questions"]) == (504, 84)
    decided = {name: sum(map(abs, found.outcomes(name).values())) for name in ("correctness", "usefulness", "fluency")}
    assert all(12 <= count <= 140 for count in decided.values())  # ties are most
    assert found.outcomes("consistency") == {}
    for said in ("not of doctors", "criteria other than ours", "decided on the pairs"):
        assert said in found.what


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(UserError, match="needs two files"):
        read_disc(tmp_path)
    folder = _write(tmp_path, {"m1": {"q": "Accuracy: 4"}, "m2": {"q": "Accuracy: 5"}})
    broken = folder / "dialogues_m2_cmd.json"
    broken.write_text('[{"id": "q", "conversation": [{"role": "bot", "content": "x"}]}]', encoding="utf-8")
    with pytest.raises(UserError, match="expected a JSON list"):
        read_disc(folder)
    broken.unlink()
    with pytest.raises(UserError, match="missing beside the scores"):
        read_disc(folder)
    (folder / "scores_m1_cmd.jsonl").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(UserError, match="expected a JSON object"):
        read_disc(folder)
