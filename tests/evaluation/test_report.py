from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import METRICS
from pediatricsgpt.evaluation.report import write_report
from pediatricsgpt.evaluation.report.charts import axis, line_chart
from pediatricsgpt.evaluation.report.files import RunFiles
from pediatricsgpt.evaluation.report.pipeline import state_of
from pediatricsgpt.records import write_json_lines

from .conftest import MODELS, PER_TASK, SmallRun, measurement, write_dfpo, write_evaluation, write_sets
from .page import Page, report, words


def test_the_page_parses_and_needs_nothing_from_outside(whole: SmallRun) -> None:
    html = write_report(whole.folder).read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == []
    assert [given for given, _ in page.scripts] == [{"type": "application/json", "id": "x-data"}, {}]
    assert re.findall(r"(?:https?:)?//[a-z]|url\((?!#)|@import", html) == []
    anchors = [link for link in page.links if link.startswith("#")]
    assert sorted(set(page.links) - set(anchors)) == ["data:,"]
    assert {anchor.removeprefix("#") for anchor in anchors} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_same_files_give_the_same_bytes(whole: SmallRun) -> None:
    first = write_report(whole.folder).read_bytes()
    assert write_report(whole.folder).read_bytes() == first


def test_every_score_appears_with_its_interval_and_n(whole: SmallRun) -> None:
    text = words(report(whole).text)
    for model in MODELS:
        scores = whole.scores(model)
        assert scores["signature"] in text
        for task in scores["groups"]["task"].values():
            assert task["n"] == PER_TASK
            found = [task["metrics"][name] for name in METRICS]
            assert " ".join(f"{one['mean']:.2f} {one['low']:.1f} – {one['high']:.1f}" for one in found) in text


def test_held_out_losses_appear_with_rows_and_tokens(whole: SmallRun) -> None:
    text = words(report(whole).text)
    for place in range(len(MODELS)):
        loss = 7.0 - place / 2
        assert f"{loss:.3f}" in text
        assert f"{loss - 0.25:.3f} – {loss + 0.25:.3f}" in text
    assert "3,210" in text


def test_the_change_of_the_loss_on_the_same_rows_and_perplexities_by_source_appear(whole: SmallRun) -> None:
    text = words(report(whole).text)
    # Every row lost half a nat a token from each model to the next; five rows are too few for a verdict.
    assert len(re.findall("dialogues −0.500 \\S* ?no verdict −0.500 … −0.500 5", text)) == len(MODELS) - 1
    assert re.search("source <books> base 27.0 18.0 – 31.0 8 765", text)
    assert "form plain" in text


def test_text_of_models_and_sources_is_escaped(whole: SmallRun) -> None:
    attack = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    for model in MODELS:
        path = whole.predictions(model)
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        turns = [{"role": "user", "content": attack}]
        hostile = {"messages": turns, "reference": attack, "department": attack, "prediction": attack}
        write_json_lines(path, [{**row, **hostile} for row in rows])
        scores = whole.scores(model)
        scores["groups"]["department"] = {attack: scores["groups"]["task"]["medkqa"]}
        scores["warnings"] = [attack]
        path.with_name("scores.json").write_text(json.dumps(scores), encoding="utf-8")
    measured = {"enabled": True, **measurement()}
    measured["recall"][attack] = measured["recall_by_type"][attack] = measured["recall"]["names"]
    (whole.folder / "corpus/deidentification/measured.json").write_text(json.dumps(measured), encoding="utf-8")
    leakage = json.loads((whole.folder / "corpus/sft/leakage.json").read_text("utf-8"))
    leakage["test_sets"] = {attack: {**leakage["test_sets"]["held_out"], "pairs": {attack: 1}}}
    leakage["pairs"] = [{**pair, "excerpt": attack, "test_set": attack, "how": attack} for pair in leakage["pairs"]]
    (whole.folder / "corpus/sft/leakage.json").write_text(json.dumps(leakage), encoding="utf-8")
    written = {"step": attack, "teacher": attack, "prompt_hash": attack, "wrote": attack, "reasons": [attack]}
    write_json_lines(whole.folder / "corpus/instructions/passes.jsonl", [written])
    reject = {"step": attack, "reason": attack, "where": attack, "row": attack}
    write_json_lines(whole.folder / "corpus/instructions/rejects.jsonl", [reject])
    page = report(whole)
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert "alert" not in page.scripts[1][1]
    assert page.text.count(attack) > 5 * len(MODELS)


def test_a_run_that_stopped_after_the_corpus_says_what_is_missing(with_corpus: SmallRun) -> None:
    page = report(with_corpus)
    text = words(page.text)
    for part in ("CPT", "SFT", "DFPO", "experts", "Held-out loss", "Metrics", "Answers"):
        assert f"{part}: not run yet" in text
    assert "pedgpt run RECIPE --until cpt" in text
    assert "leak-free" in page.ids
    assert "尚未运行" in text


def test_a_run_of_which_only_the_recipe_is_there_still_has_a_report(begun: SmallRun) -> None:
    text = words(report(begun).text)
    assert "0 of 20" in text
    assert "Everything: not run yet" in text
    assert "guidelines" in text


def test_an_empty_folder_has_a_report_and_no_folder_has_none(tmp_path: Path) -> None:
    assert "not run yet" in write_report(tmp_path).read_text(encoding="utf-8")
    with pytest.raises(UserError, match="no such run folder"):
        write_report(tmp_path / "none")


def test_a_fall_of_the_chosen_answers_is_warned_of(whole: SmallRun) -> None:
    warning = "The chosen answers became less likely, and the rejected ones too: their log-probability lies 15.0 nats"
    assert warning in words(report(whole).text)
    write_dfpo(whole, fall=-0.4)
    text = words(report(whole).text)
    assert warning not in text
    assert "15.0 nats above that of the model before" in text


def test_a_small_base_is_called_no_doctor_and_a_large_one_is_not(whole: SmallRun) -> None:
    assert "A model of 9.4 M parameters, trained in 50 s, is no doctor." in words(report(whole).text)
    path = whole.folder / "base/manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace("9400000", "7600000000"), encoding="utf-8")
    page = report(whole)
    assert "no doctor" not in page.text
    assert "7.6 B parameters" in words(page.text)
    assert "研究工具，不构成医疗建议" in page.text


def test_steps_made_from_older_inputs_are_outdated(whole: SmallRun) -> None:
    run = RunFiles(whole.folder)
    assert {state_of(run, node) for node in run.nodes} == {"done"}
    write_sets(whole, held_out="other")
    run = RunFiles(whole.folder)
    assert [node for node in run.nodes if state_of(run, node) == "outdated"] == [
        "corpus/preferences",
        *(f"evaluation/{model}" for model in MODELS),
    ]
    assert "Made from older inputs, run again: corpus/preferences, evaluation/base" in words(report(whole).text)


def test_unfinished_steps_are_neither_done_nor_untouched(with_corpus: SmallRun) -> None:
    (with_corpus.folder / "base.partial").mkdir()
    assert state_of(RunFiles(with_corpus.folder), "base") == "unfinished"
    assert state_of(RunFiles(with_corpus.folder), "cpt") == "not run yet"


def test_changes_come_with_verdicts_and_few_pairs_with_none(whole: SmallRun) -> None:
    text = words(report(whole).text)
    assert "base → CPT ROUGE-L +22.33 ▲ better +22.33 … +22.33" in text
    assert "30 paired comparisons; p-values by flipping signs, corrected for all of them together (Holm)" in text
    write_evaluation(whole, "experts", "短", per_task=2)
    text = words(report(whole).text)
    assert "better" not in text.replace("Lower is better", "")
    assert "no verdict" in text


def test_scores_that_do_not_fit_their_predictions_are_pointed_out(whole: SmallRun) -> None:
    path = whole.predictions("cpt").with_name("scores.json")
    scores = whole.scores("cpt")
    scores["groups"]["task"]["medkqa"]["metrics"]["rouge-l"]["mean"] += 1
    path.write_text(json.dumps(scores), encoding="utf-8")
    assert "task medkqa: rouge-l of base and CPT" in words(report(whole).text).replace("and cpt", "and CPT")


def test_published_rows_are_marked_as_not_ours(begun: SmallRun) -> None:
    text = words(report(begun).text)
    assert "Published by the paper on its own test set: not comparable, not ours" in text
    assert "PediatricsGPT-13B 60.85 36.56 35.64 61.65 63.17" in text
    assert "medkqa, PediatricsGPT-13B: BLEU-2 (63.17) is above BLEU-1 (61.65)" in text


def test_lineage_has_hashes_and_no_place_of_this_machine(whole: SmallRun) -> None:
    text = words(report(whole).text)
    for node, content in whole.contents.items():
        assert f"{node} {content[:12]}" in text
    assert "experts dfpo ← corpus/preferences ← sft ← cpt ← base ← corpus/experts ← corpus/sft" in text
    assert "fever.txt abababababab" in text
    assert "/home/somebody" not in text


def damage_manifest(folder: Path) -> str:
    (folder / "sft/manifest.json").write_text("{", encoding="utf-8")
    return "sft/manifest.json"


def damage_manifest_field(folder: Path) -> str:
    path = folder / "sft/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "counts": []}), encoding="utf-8")
    return "sft/manifest.json"


def damage_log(folder: Path) -> str:
    (folder / "sft/metrics.jsonl").write_text('{"loss": 1}\n{"lo', encoding="utf-8")
    return "sft/metrics.jsonl:2"


def damage_scores(folder: Path) -> str:
    (folder / "evaluation/sft/scores.json").write_text('{"groups": {"task": {"medkqa": 1}}}', encoding="utf-8")
    return "evaluation/sft/scores.json"


def damage_loss(folder: Path) -> str:
    (folder / "evaluation/sft/held_out_loss.json").write_text('{"mean": "low"}', encoding="utf-8")
    return "evaluation/sft/held_out_loss.json"


def damage_rows(folder: Path) -> str:
    (folder / "corpus/sft/rows.parquet").write_bytes(b"PAR1")
    return "corpus/sft/rows.parquet"


def damage_recipe(folder: Path) -> str:
    (folder / "recipe.yaml").write_text("a: [", encoding="utf-8")
    return "recipe.yaml"


def damage_statistics(folder: Path) -> str:
    (folder / "corpus/card/statistics.json").write_text('{"sets": 3}', encoding="utf-8")
    return "corpus/card/statistics.json"


def damage_predictions(folder: Path) -> str:
    (folder / "evaluation/sft/predictions.jsonl").write_text("[1]\n", encoding="utf-8")
    return "evaluation/sft/predictions.jsonl:1"


def damage_measurement(folder: Path) -> str:
    (folder / "corpus/deidentification/measured.json").write_text('{"enabled": true}', encoding="utf-8")
    return "corpus/deidentification/measured.json"


def damage_leakage(folder: Path) -> str:
    (folder / "corpus/sft/leakage.json").write_text('{"rows": 3}', encoding="utf-8")
    return "corpus/sft/leakage.json"


@pytest.mark.parametrize("damage", [value for name, value in sorted(globals().items()) if name.startswith("damage_")])
def test_a_damaged_file_is_named_and_the_old_report_stays(whole: SmallRun, damage: Callable[[Path], str]) -> None:
    path = write_report(whole.folder)
    before = path.read_bytes()
    where = damage(whole.folder)
    with pytest.raises(UserError) as caught:
        write_report(whole.folder)
    assert str(caught.value.where).endswith(where)
    assert path.read_bytes() == before


def test_a_diverged_model_is_shown_without_a_curve(whole: SmallRun) -> None:
    nan = float("nan")
    write_json_lines(whole.folder / "cpt/metrics.jsonl", [{"loss": nan, "step": 1}, {"loss": 3.0, "step": 2}])
    loss = {"mean": nan, "low": nan, "high": nan, "rows": 24, "tokens": 3210, "left_out_too_long": 1}
    (whole.folder / "evaluation/cpt/held_out_loss.json").write_text(json.dumps(loss), encoding="utf-8")
    html = write_report(whole.folder).read_text(encoding="utf-8")
    assert "1 logged values are not finite and are left out" in html
    assert "nan%" not in html


def test_what_the_gate_measured_and_why_a_phase_stopped_is_shown(whole: SmallRun) -> None:
    path = whole.folder / "sft/manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    held = {"own": {"before": 3.0, "after": 2.5, "rows": 64}, "<general>": {"before": 2.0, "after": 2.125, "rows": 48}}
    stopped = "at step 20: held-out loss of '<general>' rose; step 10 is kept"
    path.write_text(
        json.dumps({**manifest, "counts": {**manifest["counts"], "held_out": held, "stopped": stopped}}), "utf-8"
    )
    lines = [{"step": 0, "held_out/own": 3.0, "held_out/<general>": 2.0}]
    lines += [{"step": 10, "loss": 2.0, "held_out/own": 2.5, "held_out/<general>": 2.125}]
    write_json_lines(whole.folder / "sft/metrics.jsonl", lines)
    html = write_report(whole.folder).read_text(encoding="utf-8")
    section = html.split('id="phase-sft"')[1].split("</section>")[0]
    assert "This phase stopped at step 20: held-out loss of &#39;&lt;general&gt;&#39; rose; step 10 is kept." in section
    assert "held-out loss over training steps; &lt;general&gt; ends at 2.12; own ends at 2.50" in section
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in section.split("</tbody>")[0].split("<tr>")[2:4]]
    assert rows[0][:5] == ["&lt;general&gt;", "2.000", "2.125", "+0.125", "48"]
    assert rows[1][0] == "own"
    assert rows[1][-4:] == ["3.000", "2.500", "\u22120.500", "64"]
    assert "n = 2 logged values" in section


def test_line_charts_stay_inside_and_small() -> None:
    chart = line_chart("loss", {"loss": [(step, 1000 / (step + 1)) for step in range(5000)]})
    assert chart is not None
    assert chart.note == "each point is the mean of 21 logged values"
    places = [tuple(map(float, pair.split())) for pair in chart.lines[0].path[1:].split("L")]
    assert len(places) <= 240
    assert all(chart.left <= x <= chart.right and 0 <= y <= chart.bottom for x, y in places)
    assert line_chart("nothing", {"loss": []}) is None


@pytest.mark.parametrize("values", [[(3.0, 3.0)], [(-1e-9, 1e-9)], [(-2000.0, -1000.0)], [(0.0, 0.0)]])
def test_axes_have_marks_for_any_values(values: list[tuple[float, float]]) -> None:
    found = axis(values, zero=True)
    assert found is not None
    assert len(found.ticks) >= 2
    assert all(0 <= tick.place <= 100 for tick in found.ticks)
