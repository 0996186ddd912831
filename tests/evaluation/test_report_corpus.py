"""What the report says of the corpus: drops, de-identification, leakage, licences, encodings, teachers."""

from __future__ import annotations

import json

import pytest

from pediatricsgpt.evaluation.report import write_report
from pediatricsgpt.evaluation.report.leakage import marked
from pediatricsgpt.evaluation.report.words import percent
from pediatricsgpt.records import read_rows, write_json_lines, write_rows

from .conftest import PER_TASK, SmallRun, measurement, write_deidentification, write_sets
from .page import report, words


def test_a_group_on_both_sides_turns_the_leakage_statement_red(with_corpus: SmallRun) -> None:
    assert {"leak-free", "leak-found"} & set(report(with_corpus).ids) == {"leak-free"}
    write_sets(with_corpus, held_out="train")
    page = report(with_corpus)
    assert {"leak-free", "leak-found"} & set(page.ids) == {"leak-found"}
    assert "No: 6 groups stand on both sides" in words(page.text)
    assert "6 组同时出现在训练集与留出集" in words(page.text)


def test_groups_are_counted_over_all_sets(whole: SmallRun) -> None:
    text = words(report(whole).text)
    assert f"Yes. 6 groups in training, {PER_TASK} held out, 0 on both sides." in text
    assert "cpt, sft, preferences, experts against held_out" in text


def test_drops_are_shown_with_counts_reasons_and_examples(with_corpus: SmallRun) -> None:
    text = words(report(with_corpus).text)
    assert "read 读取 21 20 1 heading without text 1" in text
    assert "clean 清洗 21 20 1 too short 1" in text
    assert "deidentify 去标识化 21 21 0 –" in text
    assert "decontaminate sft 测试集去污染 19 18 1 in test set held_out 1" in text
    assert "too short: 3 characters 第99条" in text


def test_of_a_near_duplicate_it_is_shown_what_was_kept_instead(with_corpus: SmallRun) -> None:
    text = words(report(with_corpus).text)
    assert "near-duplicate: 0.83 of" in text
    assert "第98条" in text
    assert "kept instead 保留的是： 第3条" in text


def test_of_two_long_texts_the_place_where_they_part_is_shown(with_corpus: SmallRun) -> None:
    path = with_corpus.folder / "corpus/curated/rejects.jsonl"
    rejects = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    kept = read_rows(with_corpus.folder / "corpus/curated/records.parquet")
    for row in kept:
        row["text"] = "同" * 500 + "甲"
    write_rows(with_corpus.folder / "corpus/curated/records.parquet", kept, "record")
    rejects[1]["row"]["text"] = "同" * 500 + "乙"
    write_json_lines(path, rejects)
    text = words(report(with_corpus).text)
    assert f"…{'同' * 40}乙" in text
    assert f"…{'同' * 40}甲" in text


def test_recall_and_precision_stand_with_interval_n_and_floor(with_corpus: SmallRun) -> None:
    text = words(report(with_corpus).text)
    measured = measurement()
    for group, rate in measured["recall"].items():
        assert f"{100 * rate['low']:.1f} %" in text, group
    for rate in (*measured["recall_by_type"].values(), *measured["precision_by_kind"].values()):
        assert f"{rate['hits']:,} {rate['n']:,}" in text
    assert "items replaced in 21 records name 姓名 12 phone 手机号 3" in text
    assert "A residual risk stays." in text
    assert "Left as they are by their kind (published books and tables): guidelines." in text


@pytest.mark.parametrize(
    ("floor", "verdict"),
    [(0.5, "above"), (0.94, "above, but the interval reaches below it"), (0.95, "below"), (1.0, "below")],
)
def test_recall_is_held_against_the_floor_of_the_recipe(with_corpus: SmallRun, floor: float, verdict: str) -> None:
    write_deidentification(with_corpus, floor_names=floor)
    text = words(report(with_corpus).text)
    lowered = " lowered" if floor < 0.95 else ""
    assert f"94.6 % {100 * floor:.1f} %{lowered} {verdict} 92.2 % – 96.3 % 458 484" in text
    assert ("accepts a lower recall on names than the usual one" in text) == (floor < 0.95)


@pytest.mark.parametrize(("exempt", "shown"), [(["guideline"], True), (["textbook"], False)])
def test_what_was_dropped_before_deidentification_is_shown_of_published_kinds_alone(
    with_corpus: SmallRun, exempt: list[str], shown: bool
) -> None:
    write_json_lines(
        with_corpus.folder / "corpus/sources/guidelines/rejects.jsonl",
        [{"step": "read", "reason": "no answer", "where": "line 1", "row": "患儿李小明，电话13800138000"}],
    )
    path = with_corpus.folder / "corpus/deidentification/manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    manifest["settings"]["deidentify"]["exempt_kinds"] = exempt
    path.write_text(json.dumps(manifest), encoding="utf-8")
    text = report(with_corpus).text
    assert ("李小明" in text) == shown
    assert ("not shown: dropped before de-identification" in text) == (not shown)


@pytest.mark.parametrize(
    ("share", "shown"), [(1.0, "100.0 %"), (0.9996, "99.96 %"), (0.9999999, "100.0 %"), (0.946, "94.6 %"), (0, "0.0 %")]
)
def test_a_share_just_below_the_whole_is_not_shown_as_the_whole(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_switched_off_deidentification_is_the_first_thing_to_look_at(with_corpus: SmallRun) -> None:
    path = with_corpus.folder / "corpus/deidentification/measured.json"
    path.write_text(json.dumps({"enabled": False}), encoding="utf-8")
    page = report(with_corpus)
    assert "deidentification-off" in page.ids
    assert "! De-identification is switched off." in words(page.text)


def test_every_training_set_is_listed_against_every_test_set(whole: SmallRun) -> None:
    text = words(report(whole).text)
    assert "cpt held_out 4 0 0 24 2 0 0 0.0 % nothing" in text
    assert "sft held_out 19 1 1 24 2 0 1 4.2 % question, near 1" in text
    assert "与测试集内容重合的训练数据 2 条，均已剔除" in text


def test_a_matched_pair_stands_side_by_side_with_what_is_shared(with_corpus: SmallRun) -> None:
    html = write_report(with_corpus.folder).read_text(encoding="utf-8")
    shared = "<mark>宝宝两个月，发热三十八度五，要不要马上去医院</mark>？"
    assert f"{shared}（77）" in html
    assert f"{shared}（0）" in html


def test_test_items_that_could_not_be_read_are_named(with_corpus: SmallRun) -> None:
    assert "could not be read" not in report(with_corpus).text
    for name in ("cpt", "sft", "experts"):
        _change(with_corpus, name, unread=5, unread_first=["exam.jsonl, line 2: no question"])
    text = words(report(with_corpus).text)
    named = "5 items of held_out could not be read and were not looked for 未能读取的测试题 "
    assert text.count(f"{named}exam.jsonl, line 2: no question …") == 1
    assert "sft held_out 19 1 1 24 2 5 1 4.2 % question, near 1" in text


def _change(run: SmallRun, name: str, **values: object) -> None:
    """Other values of the held-out rows in a set's leakage report."""
    path = run.folder / "corpus" / name / "leakage.json"
    leakage = json.loads(path.read_text("utf-8"))
    leakage["test_sets"]["held_out"] |= values
    path.write_text(json.dumps(leakage), encoding="utf-8")


def test_matches_that_were_not_removed_are_warned_of(with_corpus: SmallRun) -> None:
    _change(with_corpus, "sft", removed=0)
    text = words(report(with_corpus).text)
    assert "! 1 rows of sft hold items of the test set held_out. They were not removed." in text
    assert "其中 1 条未剔除" in text


@pytest.mark.parametrize(
    ("text", "excerpt", "shared"),
    [
        ("你好，发热三天。", "发热三天", "发热三天"),
        ("发热，三天了", "发热三天", "发热，三天"),
        ("IgM阳性", "igm阳性", "IgM阳性"),
        ("咳嗽", "发热", ""),
        ("咳嗽", "", ""),
        ("", "发热", ""),
    ],
)
def test_an_excerpt_is_found_across_punctuation_and_case(text: str, excerpt: str, shared: str) -> None:
    found = marked(text, excerpt)
    assert found.shared == shared
    assert found.before + found.shared + found.after == text


def test_licences_are_counted_from_the_rows_of_each_set(with_corpus: SmallRun) -> None:
    text = words(report(with_corpus).text)
    assert f"held_out guidelines {3 * PER_TASK} 100.0 % PRC government document no personal data training" in text


def test_encodings_and_other_counts_of_the_readers_are_shown(with_corpus: SmallRun) -> None:
    text = words(report(with_corpus).text)
    assert "guidelines guideline 1 gb18030 21 20 1" in text
    assert "guidelines pages 7" in text


def test_what_a_teacher_wrote_and_took_is_shown_where_there_was_one(with_corpus: SmallRun) -> None:
    assert "teacher" not in report(with_corpus).ids
    one = {"parent": "a", "step": "reconstruct", "teacher": "judge-7b", "prompt_hash": "ab12"}
    passes = [
        {**one, "wrote": {"turns": ["多喝温水。"]}, "reasons": []},
        {**one, "wrote": None, "reasons": ["dose: 5 ml is not in the source", "dose: 3 ml is missing"]},
    ]
    write_json_lines(with_corpus.folder / "corpus/instructions/passes.jsonl", passes)
    path = with_corpus.folder / "corpus/instructions/manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    spent = {"reconstruct_requests": 2, "reconstruct_cached": 1, "reconstruct_tokens": 4321, "reconstruct_money": 0.5}
    manifest["counts"] |= spent
    path.write_text(json.dumps(manifest), encoding="utf-8")
    text = words(report(with_corpus).text)
    assert "reconstruct 对话重构 2 1 4,321 0.50" in text
    assert "reconstruct judge-7b ab12 2 1 dose 2" in text
    assert "多喝温水" in text
