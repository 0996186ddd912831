"""Differences in the report are of the same items, of whole cases, and one way of measuring at a time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.evaluation.report.contamination import clean, contamination
from pediatricsgpt.evaluation.report.files import RunFiles
from pediatricsgpt.evaluation.report.paired_table import paired
from pediatricsgpt.evaluation.report.singles import groups_of, unequal
from pediatricsgpt.evaluation.statistics import bootstrap_mean, paired_bootstrap_difference, paired_p
from pediatricsgpt.records import write_json_lines

from . import measured as made
from .conftest import SmallRun
from .page import report, words

CMD = "evaluation/benchmarks/cmd"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rewrite(path: Path, change: Callable[[int, dict[str, Any]], dict[str, Any] | None]) -> None:
    found = [change(place, row) for place, row in enumerate(rows_of(path))]
    write_json_lines(path, [row for row in found if row is not None])


def table(run: SmallRun, file: str) -> list[dict[str, str]]:
    header, *lines = report(run).csv(file)
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_items_of_one_case_count_as_one():
    mine = {f"q{n}": {"rouge-l": 0.5 + n / 1000} for n in range(60)}
    theirs = {f"q{n}": {"rouge-l": 0.4 + n % 7 / 1000} for n in range(60)}
    cases = {f"q{n}": f"case {n % 5}" for n in range(60)}
    scores = {"a": theirs, "b": mine}
    alone = paired("t", "", scores, [("a", "b")], ["rouge-l"]).rows[0]
    together = paired("t", "", scores, [("a", "b")], ["rouge-l"], cases).rows[0]
    assert (alone[3], together[3]) == ("better", "no verdict")
    ours, others = ([100 * side[one]["rouge-l"] for one in mine] for side in (mine, theirs))
    groups = list(cases.values())
    assert together[2] == paired_bootstrap_difference(ours, others, groups=groups)
    assert together[5] == paired_p(ours, others, groups) == pytest.approx(2 / 2**5)
    assert together[7] == 60


def test_the_cases_are_those_of_the_predictions_whoever_says_them(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, rows in ((first, [{"id": "1", "group": "g"}, {"id": "2"}]), (second, [{"id": "3", "group": "h"}])):
        folder.mkdir()
        write_json_lines(folder / "predictions.jsonl", rows)
    assert groups_of(RunFiles(tmp_path), ["a", "b"], {"a": ["1", "2"], "b": ["3"]}) == {"1": "g", "3": "h"}


def test_a_benchmark_of_few_cases_gets_no_verdict_in_the_report(measured: SmallRun):
    assert {row["verdict"] for row in table(measured, "cmd-changes.csv")} == {"better"}
    for model in made.OTHERS:
        path = measured.folder / CMD / model / "predictions.jsonl"
        rewrite(path, lambda place, row: row | {"group": f"patient {place % 4}"})
    found = table(measured, "cmd-changes.csv")
    assert {row["verdict"] for row in found} == {"no verdict"}
    assert {row["n"] for row in found} == {"24"}
    assert min(float(row["p"]) for row in found) >= 2 / 2**4


def test_models_with_other_items_are_named_and_compared_on_the_common_ones(measured: SmallRun):
    assert "not the same items" not in report(measured).text
    path = measured.folder / CMD / "gpt-4/item_scores.jsonl"
    rewrite(path, lambda place, row: row if place < 20 else None)
    text = words(report(measured).text)
    assert "not the same items (base 24, experts 24, gpt-4 20, huatuo 24; common to all 20)" in text
    counts = {row["from → to"]: row["n"] for row in table(measured, "cmd-changes.csv")}
    assert counts["gpt-4 → experts"] == "20"
    assert counts["huatuo → experts"] == "24"


def test_equal_sets_and_models_without_items_need_no_warning():
    assert unequal({"a": ["1", "2"], "b": ["2", "1"], "c": []}) == []
    assert unequal({"a": ["1", "2"], "b": ["1", "3"]})[0][0] == "all"


def test_differences_are_shown_without_the_items_found_in_training_too(measured: SmallRun):
    whole, clean = table(measured, "cmd-changes.csv"), table(measured, "cmd-changes-clean.csv")
    assert [row["from → to"] for row in clean] == [row["from → to"] for row in whole]
    assert {row["n"] for row in clean} == {"21"}
    scores = {}
    for model in ("gpt-4", "experts"):
        rows = rows_of(measured.folder / CMD / model / "item_scores.jsonl")
        scores[model] = [100 * row["rouge-l"] for row in rows if row["id"] not in {"cmd-0", "cmd-1", "cmd-2"}]
    expected = paired_bootstrap_difference(scores["experts"], scores["gpt-4"])
    row = next(row for row in clean if (row["from → to"], row["metric"]) == ("gpt-4 → experts", "ROUGE-L"))
    assert float(row["change mean"]) == pytest.approx(expected.mean)


def test_clean_choices_are_counted_one_way_at_a_time(measured: SmallRun):
    made.write_contamination(measured.folder, "cmb")
    leaked = {"cmb-0", "cmb-1", "cmb-2"}
    found = {row["model"]: row for row in table(measured, "cmb-choices.csv")}
    for model in ("experts", "gpt-4"):
        path = measured.folder / f"evaluation/benchmarks/cmb/{model}/choices.jsonl"
        rows = [row for row in rows_of(path) if row["id"] not in leaked]
        letter = bootstrap_mean([float(row["by_letter"] == row["key"]) for row in rows])
        assert float(found[model]["by letter, clean items mean"]) == pytest.approx(letter.mean)
        assert found[model]["by letter, clean items n"] == "17"
    likely = [
        float([row["by_likelihood"]] == row["key"])
        for row in rows_of(measured.folder / "evaluation/benchmarks/cmb/experts/choices.jsonl")
        if row["id"] not in leaked
    ]
    assert float(found["experts"]["by likelihood, clean items mean"]) == pytest.approx(sum(likely) / 17)
    assert found["gpt-4"]["by likelihood, clean items mean"] == ""


def test_choices_are_compared_letter_with_letter_alone(measured: SmallRun):
    found = table(measured, "cmb-choices-changes.csv")
    assert [(row["from → to"], row["metric"]) for row in found] == [("gpt-4 → experts", "by letter")]
    assert (found[0]["n"], found[0]["verdict"], float(found[0]["change mean"])) == ("20", "no verdict", 0.0)


def test_what_contamination_did_not_look_for_is_said(measured: SmallRun):
    path = measured.folder / "evaluation/contamination/cmd/contamination.json"
    content = json.loads(path.read_text("utf-8"))
    content |= {"unchecked": 4, "settings": {"ngram": 13, "overlap": 0.5, "threshold": 0.8}}
    path.write_text(json.dumps(content), encoding="utf-8")
    note = contamination(RunFiles(measured.folder), "cmd").table.note
    assert "at least 50% of a side's 13-grams" in note
    assert "4 of the items are too short or too common to be looked for" in note


def test_departments_with_few_items_are_pointed_out(measured: SmallRun):
    assert "4 of 4 groups have fewer than 30 items" in words(report(measured).text)


def test_figures_about_order_come_with_their_n(measured: SmallRun):
    row = table(measured, "judge-experts-vs-base-order.csv")[0]
    found = json.loads((measured.folder / "evaluation/judge/experts-vs-base/judge.json").read_text("utf-8"))
    one = found["dimensions"]["usefulness"]
    assert row["n pairs of verdicts"] == str(one["flip_rate"]["n"]) == "60"
    assert row["n decided verdicts"] == str(one["first_shown"]["n"])
    assert row["items without a whole verdict"] == "0"


def test_rubrics_show_the_sets_note_warnings_strata_and_vetoes(measured: SmallRun):
    path = measured.folder / "evaluation/rubrics/experts/rubrics.json"
    content = json.loads(path.read_text("utf-8"))
    content["rubric_set"]["note"] = "3/3 条标准未经医生审核"
    content["warnings"] = ["3/3 条标准未经医生审核", "1 of 3 criteria have no grade"]
    content["strata"] = {"age_band": {"neonate": {"n": 4, "score": made.spread(0.4, 4)}}, "task": {}}
    content["items"] = [{"id": "f", "score": -0.5, "vetoes": ["2"]}, {"id": "g", "score": None, "vetoes": []}]
    path.write_text(json.dumps(content), encoding="utf-8")
    other = measured.folder / "evaluation/rubrics/base/rubrics.json"
    other.write_text(json.dumps(json.loads(other.read_text("utf-8")) | {"items": content["items"]}), encoding="utf-8")
    text = words(report(measured).text)
    assert text.count("experts: 3/3 条标准未经医生审核") == 1
    assert "experts: 1 of 3 criteria have no grade" in text
    assert table(measured, "rubrics-vetoes.csv")[0]["veto criterion"] == "建议使用阿司匹林退热"
    neonate = table(measured, "rubrics-age_band.csv")[0]
    assert (neonate["n"], float(neonate["experts mean"])) == ("4", pytest.approx(40))
    assert [row["n"] for row in table(measured, "rubrics-themes.csv")] == ["4", "6"]
    assert [(row["from → to"], row["n"]) for row in table(measured, "rubrics-changes.csv")] == [("base → experts", "1")]


def test_consultations_show_definitions_ends_replies_of_the_rules_and_differences(measured: SmallRun):
    path = measured.folder / "evaluation/consultations/experts/consultations.json"
    content = json.loads(path.read_text("utf-8"))
    content["replaced"] = {"n": 2, "of": 7, "reasons": {"invented": 2}}
    content["cut_off"] = {"n": 1, "of": 6}
    path.write_text(json.dumps(content), encoding="utf-8")
    text = words(report(measured).text)
    assert content["definitions"]["premature_closure"] in text
    assert "Ended: with a conclusion 给出结论 3." in text
    assert "2 of 7 replies of the caregiver were given by the rules in the endpoint's place (invented 2)" in text
    assert "1 of 6 turns of the model were cut" in text
    rows = {row["metric"]: row for row in table(measured, "consultations-changes.csv")}
    assert rows["facts elicited"]["n"] == "3"
    assert rows["facts elicited"]["verdict"] == "no verdict"
    assert float(rows["facts elicited"]["change mean"]) > 0


def test_answers_that_failed_were_cut_or_left_out_are_counted_beside_the_scores(whole: SmallRun):
    made.write_benchmark(whole.folder)
    node = "evaluation/benchmarks/cmd/gpt-4"
    shutil.copy(whole.folder / "evaluation/base/manifest.json", whole.folder / node / "manifest.json")
    path = whole.folder / node / "manifest.json"
    counts = {"items": 20, "failed": 3, "items_too_long": 4, "cut_off": 2, "missing": 0}
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"counts": counts}), encoding="utf-8")
    text = words(report(whole).text)
    assert "gpt-4: 3 items had no answer from the server and count as empty" in text
    assert "gpt-4: 4 items do not fit the model's window and are left out" in text
    assert "gpt-4: 2 answers were cut" in text
    assert "gpt-4: 0" not in text


def test_a_score_of_clean_items_is_of_whole_cases_too(measured: SmallRun):
    found = contamination(RunFiles(measured.folder), "cmd")
    values = {f"cmd-{n}": float(n % 4) for n in range(24)}
    cases = {name: f"case {value}" for name, value in values.items()}
    kept = {name: value for name, value in values.items() if name not in found.found}
    assert len(kept) == 21
    assert clean(values, found, cases) == bootstrap_mean(list(kept.values()), groups=[cases[name] for name in kept])
    assert clean(values, found) == bootstrap_mean(list(kept.values()))
    assert clean(values, found) != clean(values, found, cases)
