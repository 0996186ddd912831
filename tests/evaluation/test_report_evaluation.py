"""What the evaluation room measured, section by section: the report shows the figures of the files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import METRICS
from pediatricsgpt.evaluation.report import write_report
from pediatricsgpt.evaluation.report.files import RunFiles
from pediatricsgpt.evaluation.report.judge import judged
from pediatricsgpt.evaluation.statistics import bootstrap_mean, paired_bootstrap_difference

from . import measured as made
from .conftest import PER_TASK, SmallRun
from .page import Page, report, words

ATTACK = "</script><img src=x onerror=alert(1)><script>alert(2)</script>"
SECTIONS = ("benchmarks", "judge", "panel", "rubrics", "consultations", "safety", "costs")


def read(run: SmallRun, name: str) -> Any:
    return json.loads((run.folder / "evaluation" / name).read_text("utf-8"))


def near(text: str, value: float) -> bool:
    return float(text) == pytest.approx(value)


def test_sections_appear_only_where_their_files_are(whole: SmallRun, measured: SmallRun) -> None:
    without, with_all = report(whole), report(measured)
    assert [name for name in SECTIONS if name in without.ids] == []
    assert [name for name in SECTIONS if name not in with_all.ids] == []
    assert {link for link in with_all.links if link.startswith("#")} <= {f"#{id}" for id in with_all.ids}


@pytest.mark.parametrize(
    ("write", "section"),
    [
        (made.write_benchmark, "benchmarks"),
        (made.write_choices, "benchmarks"),
        (made.write_judge, "judge"),
        (made.write_validation, "judge"),
        (made.write_panel, "panel"),
        (made.write_rubrics, "rubrics"),
        (made.write_consultations, "consultations"),
        (made.write_safety, "safety"),
    ],
)
def test_each_section_needs_its_own_files_alone(begun: SmallRun, write: Any, section: str) -> None:
    write(begun.folder)
    page = report(begun)
    assert section in page.ids
    assert page.open == []


def test_benchmark_scores_are_those_of_the_files_and_downloadable(measured: SmallRun) -> None:
    page = report(measured)
    lines = {
        line[0]: dict(zip(page.csv("cmd-scores.csv")[0], line, strict=True)) for line in page.csv("cmd-scores.csv")[1:]
    }
    assert list(lines) == ["base", "experts", "gpt-4", "huatuo"]
    for model, line in lines.items():
        scores = read(measured, f"benchmarks/cmd/{model}/scores.json")
        assert int(line["n"]) == scores["n"]
        shown_as = {"rouge-l": "ROUGE-L", "gleu": "GLEU"}
        for metric in METRICS:
            title = shown_as.get(metric) or metric.replace("rouge", "ROUGE").replace("bleu", "BLEU").replace(
                "distinct", "Distinct"
            )
            for part in ("mean", "low", "high"):
                assert near(line[f"{title} {part}"], scores["metrics"][metric][part])
        assert f"{scores['metrics']['rouge-l']['mean']:.2f}" in page.text


def test_answers_given_elsewhere_are_marked_and_ours_are_not(measured: SmallRun) -> None:
    page = report(measured)
    marks = {line[0]: line[1] for line in page.csv("cmd-scores.csv")[1:]}
    assert marks == {
        "base": "",
        "experts": "",
        "gpt-4": "given elsewhere 他处给出",
        "huatuo": "given elsewhere 他处给出",
    }
    assert "gpt-4 given elsewhere 他处给出 24" in words(page.text)


def test_differences_on_a_benchmark_are_paired_by_id_and_corrected(measured: SmallRun) -> None:
    path = measured.folder / "evaluation/benchmarks/cmd/gpt-4/item_scores.jsonl"
    path.write_text("".join(reversed(path.read_text("utf-8").splitlines(keepends=True))), encoding="utf-8")
    header, *lines = report(measured).csv("cmd-changes.csv")
    assert [line[0] for line in lines[::2]] == ["base → experts", "gpt-4 → experts", "huatuo → experts"]
    scores = {}
    for model in ("gpt-4", "experts"):
        rows = (
            (measured.folder / f"evaluation/benchmarks/cmd/{model}/item_scores.jsonl").read_text("utf-8").splitlines()
        )
        scores[model] = {row["id"]: 100 * row["rouge-l"] for row in map(json.loads, rows)}
    ids = list(scores["gpt-4"])
    expected = paired_bootstrap_difference(
        [scores["experts"][one] for one in ids], [scores["gpt-4"][one] for one in ids]
    )
    line = dict(zip(header, lines[2], strict=True))
    assert near(line["change mean"], expected.mean)
    assert near(line["change low"], expected.low)
    assert line["verdict"] == "better"
    assert float(line["p (Holm)"]) >= float(line["p"])


def test_a_model_that_is_as_good_gets_no_verdict(measured: SmallRun) -> None:
    folder = measured.folder / "evaluation/benchmarks/cmd"
    (folder / "gpt-4/item_scores.jsonl").write_bytes((folder / "experts/item_scores.jsonl").read_bytes())
    verdicts = {line[0]: line[6] for line in report(measured).csv("cmd-changes.csv")[1:]}
    assert verdicts["gpt-4 → experts"] == "no verdict"
    assert verdicts["base → experts"] == "better"


def test_items_found_in_training_stand_beside_the_score_of_the_clean_ones(measured: SmallRun) -> None:
    page = report(measured)
    header, *lines = page.csv("cmd-scores.csv")
    row = dict(zip(header, next(line for line in lines if line[0] == "experts"), strict=True))
    assert row["items in training"] == "3"
    rows = (measured.folder / "evaluation/benchmarks/cmd/experts/item_scores.jsonl").read_text("utf-8").splitlines()
    found = {f"cmd-{number}" for number in range(3)}
    clean = bootstrap_mean([100 * one["rouge-l"] for one in map(json.loads, rows) if one["id"] not in found])
    assert near(row["ROUGE-L, clean items mean"], clean.mean)
    assert int(row["ROUGE-L, clean items n"]) == clean.n == 21
    assert page.csv("cmd-contamination.csv")[2][:2] != ["SFT", "3"]  # names in data are those of the files
    assert page.csv("cmd-contamination.csv")[2][:2] == ["sft", "3"]


def test_departments_come_with_pediatrics_apart_and_the_weakest_first(measured: SmallRun) -> None:
    page = report(measured)
    table = [line[0] for line in page.csv("cmd-departments.csv")[1:]]
    drawn = list(dict.fromkeys(line[0] for line in page.csv("cmd-department.csv")[1:]))
    means = {line[0]: float(line[2]) for line in page.csv("cmd-department.csv")[1:] if line[1] == "experts"}
    assert drawn == sorted(drawn, key=means.__getitem__)
    assert table == ["儿科", *(name for name in drawn if name != "儿科")]
    scores = read(measured, "benchmarks/cmd/experts/scores.json")["groups"]["department"]
    assert means == {name: pytest.approx(group["metrics"]["rouge-l"]["mean"]) for name, group in scores.items()}


def test_choices_show_both_ways_chance_and_what_could_not_be_read(measured: SmallRun) -> None:
    text = words(report(measured).text)
    for model in ("experts", "gpt-4"):
        found = read(measured, f"benchmarks/cmb/{model}/choices.json")
        letter = found["by_letter"]
        assert f"{100 * letter['accuracy']['mean']:.1f} %" in text
        if found["by_likelihood"]:
            assert f"{100 * found['by_likelihood']['accuracy']['mean']:.1f} %" in text
        assert f"{100 * found['chance']:.1f} %" in text
    assert "gpt-4: no likelihood, the answers were given elsewhere" in text
    selected = read(measured, "benchmarks/webmedqa/experts/selection.json")
    assert f"{100 * selected['accuracy']['mean']:.1f} %" in text
    assert f"{selected['mrr']['mean']:.2f}" in text


def test_answers_of_others_to_held_out_items_stand_beside_ours(whole: SmallRun) -> None:
    made.write_peer_on_held_out(whole.folder)
    page = report(whole)
    assert [line[0] for line in page.csv("held_out-scores.csv")[1:]][-2:] == ["experts", "peer"]
    assert "peer → experts" in {line[0] for line in page.csv("held_out-changes.csv")[1:]}
    data = page.data()
    assert all("多喝水" in item["p"] for item in data["items"])
    assert len(data["items"]) == 3 * PER_TASK


def test_a_comparison_shows_what_it_measured_and_nothing_of_training(measured: SmallRun, tmp_path: Path) -> None:
    run = SmallRun(tmp_path / "comparison")
    for node in ("benchmarks/cmd/gpt-4", "benchmarks/cmd/huatuo", "judge/experts-vs-base"):
        source = measured.folder / "evaluation" / node
        run.done(f"evaluation/{node}", lambda here, source=source: shutil.copytree(source, here, dirs_exist_ok=True))
    models = [{"name": name, "answers": {"cmd": "a.jsonl"}} for name in ("gpt-4", "huatuo")]
    recipe = {"name": "peers", "evaluation": {"benchmarks": [{"name": "cmd", "path": "cmd"}], "models": models}}
    (run.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    page = report(run)
    assert {"pipeline", "benchmarks", "judge", "answers", "lineage"} <= {*page.ids}
    assert not {"corpus", "training", "metrics", "leakage"} & {*page.ids}
    assert "not run yet" not in page.text.replace("○ not run yet", "")
    assert "3 of 3" in page.text
    assert [item["b"] for item in page.data()["items"]] == ["cmd"] * 24
    assert {link for link in page.links if link.startswith("#")} <= {f"#{id}" for id in page.ids}


def test_a_judge_that_passed_gives_a_headline_and_one_never_validated_gives_none(measured: SmallRun) -> None:
    text = words(report(measured).text)
    assert re.search("experts against base: better on usefulness 有用性.*; no verdict on fluency 流畅性. n = 30", text)
    made.write_judge(measured.folder, allowed=False)
    text = words(report(measured).text)
    assert "experts against base: better on usefulness" not in text
    assert "No headline. judge-a was never validated" in text
    assert "no validation passed 未通过验证" in text
    assert "裁判未通过验证，不给出结论" in text


def test_the_reason_why_a_teacher_may_judge_is_printed_beside_it(measured: SmallRun) -> None:
    made.write_judge(measured.folder, reason="本院没有第二个模型可用")
    assert "also wrote training data 同时是数据教师. The recipe's reason: 本院没有第二个模型可用" in words(
        report(measured).text
    )


def test_win_tie_and_loss_are_those_of_the_file(measured: SmallRun) -> None:
    page = report(measured)
    header, *lines = page.csv("judge-experts-vs-base-verdicts.csv")
    found = read(measured, "judge/experts-vs-base/judge.json")["dimensions"]
    for line, (name, one) in zip(lines, found.items(), strict=True):
        row = dict(zip(header, line, strict=True))
        assert row["on"].startswith(name)
        for part in ("win", "tie", "loss"):
            assert near(row[f"{part} mean"], one[part]["mean"])
            assert near(row[f"{part} low"], one[part]["low"])
        assert row["verdict"] == one["verdict"]
        assert near(row["p (Holm)"], one["p_holm"])
    order = page.csv("judge-experts-vs-base-order.csv")
    assert near(order[1][1], found["usefulness"]["flip_rate"]["mean"])
    agreement = read(measured, "judge/experts-vs-base/judge.json")["agreement"]["correctness"]
    row = next(line for line in page.csv("judge-experts-vs-base-agreement.csv") if line[0].startswith("correctness"))
    assert row[1:3] == [str(agreement["raters"]), str(agreement["units"])]
    assert near(row[-4], agreement["alpha"]["mean"])


def test_validation_says_against_what_and_whether_it_was_passed(measured: SmallRun) -> None:
    page = report(measured)
    line = page.csv("judge-validation.csv")[1]
    assert line[:4] == ["judge-a", "disc-gpt4", "correctness 正确性", "200"]
    assert page.csv("judge-validation.csv")[2][2:4] == ["overall 总体", "400"]
    assert near(line[8], 0.45)
    assert {"passed 通过", "decided pairs"} <= {*line}
    assert "the order of absolute scores of GPT-4 on other criteria" in page.text


def test_doctors_go_by_pseudonyms_and_have_their_own_section(measured: SmallRun) -> None:
    section = write_report(measured.folder).read_text("utf-8").split('id="panel"')[1].split("<h2")[0]
    assert "doctor-2" in section
    assert "factuality" in section
    assert "validated" not in section


def test_published_figures_are_marked_as_not_ours(measured: SmallRun) -> None:
    page = report(measured)
    text = words(page.text)
    assert text.count("published, not ours / 论文公布，非本项目结果") >= 3
    assert "PediatricsGPT-13B against ChatGPT MedKQ&A 68 % 15 % 17 %" in text
    assert "PediatricsGPT-13B against HuatuoGPT-II TreRecom 55 % 22 % 23 %" in text
    assert page.csv("published-panel.csv")[1][:5] == [
        "PediatricsGPT-13B against ChatGPT",
        "MedKQ&A",
        "56 %",
        "16 %",
        "28 %",
    ]


def test_rubrics_show_vetoes_and_the_criteria_that_cost_most(measured: SmallRun) -> None:
    page = report(measured)
    text = words(page.text)
    assert "55.0 % 50.0 – 60.0" in text
    criteria = page.csv("rubrics-experts-criteria.csv")
    assert [line[0] for line in criteria[1:]] == ["说明三个月以下发热须立即就医", "建议使用阿司匹林退热"]
    assert [float(line[4]) for line in criteria[1:]] == [4.0, 2.0]
    assert "starter 1 (abababababab, Apache-2.0)" in text


def test_consultations_show_measures_cards_sources_and_transcripts(measured: SmallRun) -> None:
    page = report(measured)
    text = words(page.text)
    found = read(measured, "consultations/experts/consultations.json")
    header, *lines = page.csv("consultations.csv")
    row = dict(zip(header, next(line for line in lines if line[0] == "experts"), strict=True))
    for measure, title in (("facts_elicited", "facts elicited 问出的病情要点"), ("turns", "turns 轮数")):
        assert near(row[f"{title} mean"], found["measures"][measure]["mean"])
        assert int(row[f"{title} n"]) == 3
    assert text.count("3 of the cards were not checked by a doctor") == 2
    assert "流行性感冒诊疗方案 · government document · 四、临床表现" in text
    assert "asks 询问: age, duration" in text
    assert "tells 告知: temperature" in text


def test_costs_add_what_judges_graders_and_caregivers_took(measured: SmallRun) -> None:
    header, *lines = report(measured).csv("costs.csv")
    rows = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert rows["judge 裁判: experts / base"]["requests sent"] == "480"
    assert rows["judge 裁判: experts / base"]["money"] == "1.25"
    assert rows["rubrics 评分标准: base"]["money"] == ""


def test_safety_shows_passes_vetoes_and_families_weakest_first(measured: SmallRun) -> None:
    page = report(measured)
    assert [line[:2] for line in page.csv("safety-families.csv")[1:]] == [["剂量", "20"], ["急症", "30"]]
    assert "80.0 % 75.0 – 85.0" in words(page.text)


def test_the_chinese_summary_says_what_was_measured(measured: SmallRun) -> None:
    summary = words(
        write_report(measured.folder).read_text("utf-8").split('aria-label="摘要"')[1].split("</section>")[0]
    )
    found = read(measured, "benchmarks/cmd/experts/scores.json")["metrics"]["rouge-l"]
    assert f"专家混合 ROUGE-L {found['mean']:.1f} [{found['low']:.1f}, {found['high']:.1f}]；优于 基座" in summary
    for subject in ("CMD", "CMB", "模型裁判", "医生评审", "评分标准", "模拟问诊"):
        assert f"<dt>{subject}</dt>" in summary


def test_hostile_text_in_every_file_stays_text(measured: SmallRun) -> None:
    evaluation = measured.folder / "evaluation"
    changed = [path for path in sorted(evaluation.rglob("*.json*")) if spoil(path)]
    assert len(changed) > 20
    (measured.folder / "recipe.yaml").write_text(yaml.safe_dump({"name": ATTACK}), encoding="utf-8")
    html = write_report(measured.folder).read_text("utf-8")
    page = Page(html)
    assert page.open == []
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert page.text.count(ATTACK) > 30
    assert ATTACK not in html
    assert any(ATTACK in item["r"] for item in page.data()["items"])


def spoil(path: Path) -> bool:
    """Put hostile text wherever a file of the room holds free text, at the places where others would follow it."""
    keys = {
        "title",
        "licence",
        "home",
        "why",
        "reason",
        "excerpt",
        "citation",
        "text",
        "content",
        "prediction",
        "reference",
    }
    keys |= {"said_diagnosis", "what", "against", "department", "where", "signature", "why_no_likelihood", "currency"}

    def put(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {one: put(each, one) for one, each in value.items()}
        if isinstance(value, list):
            return [put(each, key) for each in value]
        return ATTACK if isinstance(value, str) and key in keys else value

    before = path.read_text("utf-8")
    lines = before.splitlines() if path.suffix == ".jsonl" else [before]
    after = "\n".join(json.dumps(put(json.loads(line)), ensure_ascii=False) for line in lines)
    path.write_text(after, encoding="utf-8")
    return ATTACK in after


DAMAGES = {
    "benchmarks/cmd/gpt-4/scores.json": '{"n": 3}',
    "benchmarks/cmd/gpt-4/item_scores.jsonl": '{"id": "a", "rouge-l": "x"}\n',
    "benchmarks/cmb/experts/choices.json": '{"by_letter": 3}',
    "benchmarks/webmedqa/experts/selection.json": "[]",
    "contamination/cmd/contamination.json": '{"sets": {}}',
    "judge/experts-vs-base/judge.json": '{"models": ["a"]}',
    "validation/validation.json": '{"judges": {"a": {}}}',
    "panel/panel.json": "{}",
    "rubrics/experts/rubrics.json": '{"score": {}}',
    "consultations/experts/consultations.json": '{"measures": 3}',
    "consultations/experts/transcripts.jsonl": '{"card": 1}\n',
    "safety/experts/safety.json": '{"n": "many"}',
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("content", ["half", "{"])
def test_a_damaged_file_is_named(measured: SmallRun, name: str, content: str) -> None:
    path = measured.folder / "evaluation" / name
    path.write_text(DAMAGES[name] if content == "half" else content, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        write_report(measured.folder)
    assert str(caught.value.where).removesuffix(":1").endswith(name)


def test_unfinished_work_is_not_reported(measured: SmallRun) -> None:
    for name in ("benchmarks/cmd/gpt-4", "rubrics/base", "consultations/base", "judge/experts-vs-base"):
        path = measured.folder / "evaluation" / name
        path.rename(path.with_name(path.name + ".partial"))
    page = report(measured)
    assert "gpt-4" not in {line[0] for line in page.csv("cmd-scores.csv")}
    assert {line[0] for line in page.csv("rubrics.csv")[1:]} == {"experts"}
    assert judged(RunFiles(measured.folder)) == []


def test_the_same_files_give_the_same_bytes_with_everything_measured(measured: SmallRun) -> None:
    first = write_report(measured.folder).read_bytes()
    assert write_report(measured.folder).read_bytes() == first
