from __future__ import annotations

import io
import json
import random

import pytest
from rich.console import Console

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.metrics import METRICS
from pediatricsgpt.evaluation.paired import compare_files, render_comparisons
from pediatricsgpt.evaluation.statistics import holm, paired_bootstrap_difference, paired_p

LETTERS = "宝发热咳嗽腹泻的了不是水药医院诊查体温"


def rows(n: int, keep: float, model: str, seed: int = 1) -> list[dict[str, str]]:
    """Answers that keep some share of the reference; of equal references for equal `n`."""
    references, rng = random.Random(0), random.Random(seed)
    found = []
    for index in range(n):
        reference = "".join(references.choices(LETTERS, k=30))
        said = "".join(letter if rng.random() < keep else rng.choice(LETTERS) for letter in reference)
        found.append({"id": f"q{index}", "prediction": said, "reference": reference, "model": model, "task": "medkqa"})
    return found


def write(path, items):
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path):
    better, same, worse = rows(40, 0.8, "better"), rows(40, 0.8, "same", seed=2), rows(40, 0.4, "worse")
    random.Random(4).shuffle(same)  # files need not have the same order
    named = {"a": better, "b": same, "c": worse}
    return [write(tmp_path / f"{name}.jsonl", items) for name, items in named.items()]


def test_each_model_is_compared_with_each_and_all_tests_are_corrected_together(files):
    report = compare_files(files, "char")
    pairs = [("better", "same"), ("better", "worse"), ("same", "worse")]
    assert [(one.a, one.b, one.metric) for one in report.comparisons] == [(*pair, m) for pair in pairs for m in METRICS]
    assert [one.p_holm for one in report.comparisons] == holm([one.p for one in report.comparisons])
    found = {(one.a, one.b, one.metric): one for one in report.comparisons}
    assert found["better", "worse", "rouge-l"].verdict == "better"
    assert found["better", "same", "rouge-l"].verdict == "no verdict"
    assert report.n == 40


def test_differences_are_those_of_the_items_paired_by_id(files):
    report = compare_files(files[:2], "char")
    scores = {name: {row["id"]: row for row in one.item_rows()} for name, one in report.reports.items()}
    ids = [f"q{index}" for index in range(40)]
    for one in report.comparisons:
        a, b = ([100 * scores[name][item][one.metric] for item in ids] for name in ("better", "same"))
        expected = paired_bootstrap_difference(a, b)
        assert (one.difference.mean, one.difference.low) == pytest.approx((expected.mean, expected.low))
        assert one.p == pytest.approx(paired_p(a, b), abs=0.02)  # both draw their own flips


def test_a_p_value_that_the_correction_raises_takes_the_verdict_away(tmp_path):
    """Six items that all agree: p is 2 / 2^6 = 0.031 for one metric, and too much for ten."""
    better = [{"id": str(at), "prediction": "发热咳嗽", "reference": "发热咳嗽"} for at in range(6)]
    worse = [{**item, "prediction": "发热"} for item in better]
    paths = [write(tmp_path / "x.jsonl", better), write(tmp_path / "y.jsonl", worse)]
    (alone,) = compare_files(paths, "char", ["rouge-l"]).comparisons
    assert (alone.p, alone.verdict) == (2 / 64, "better")
    all_ = {one.metric: one for one in compare_files(paths, "char").comparisons}
    assert all_["rouge-l"].difference.verdict == "better"
    assert all_["rouge-l"].p_holm > 0.05
    assert all_["rouge-l"].verdict == "no verdict"


def test_cases_are_flipped_and_drawn_as_a_whole(tmp_path, files):
    grouped = []
    for path in files[:2]:
        items = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        items = [{**item, "id": f"{item['id']}-{part}", "group": item["id"]} for part in range(5) for item in items]
        grouped.append(write(tmp_path / f"grouped-{path.name}", items))
    once, five = compare_files(files[:2], "char").comparisons, compare_files(grouped, "char").comparisons
    for alone, together in zip(once, five, strict=True):
        assert together.difference.n == 200
        assert together.difference.low == pytest.approx(alone.difference.low)
        assert together.p == pytest.approx(alone.p, abs=0.002)


def test_different_questions_are_refused_and_intersected_on_request(tmp_path, files):
    some = [json.loads(line) for line in files[0].read_text("utf-8").splitlines()][4:]
    some.append({**some[0], "id": "extra"})
    path = write(tmp_path / "some.jsonl", some)
    with pytest.raises(UserError) as error:
        compare_files([files[2], path], "char")
    assert f"{files[2]} lacks 1 (extra)" in error.value.message
    assert f"{path} lacks 4 (q0, q1, q2 and 1 more)" in error.value.message
    assert "--intersect compares on the 36 common ones" in error.value.message
    report = compare_files([files[2], path], "char", intersect=True)
    assert report.n == 36
    assert report.warnings[0].endswith("compared on the 36 common ones")
    strangers = write(tmp_path / "strangers.jsonl", [{**item, "id": f"x{item['id']}"} for item in some])
    with pytest.raises(UserError, match="none is common to all"):
        compare_files([files[0], strangers], "char", intersect=True)


@pytest.mark.parametrize(
    ("change", "what"),
    [({"reference": "别的"}, "reference"), ({"messages": [{"role": "user", "content": "咳嗽"}]}, "question")],
)
def test_one_id_with_two_questions_is_refused_with_both_lines(tmp_path, change, what):
    messages = [{"role": "user", "content": "发热"}]
    items = [{**item, "messages": messages} for item in rows(3, 0.5, "m")]
    first = write(tmp_path / "first.jsonl", items)
    second = write(tmp_path / "second.jsonl", [items[0], {**items[1], **change}, items[2]])
    with pytest.raises(UserError, match=f"item 'q1' has another {what} than at {first}:2") as error:
        compare_files([first, second], "char")
    assert error.value.where == f"{second}:2"


def test_models_are_called_as_the_files_say_where_that_tells_them_apart(tmp_path, files):
    assert list(compare_files(files[:2], "char").reports) == ["better", "same"]
    twin = write(tmp_path / "twin.jsonl", rows(40, 0.5, "better", seed=3))
    assert list(compare_files([files[0], twin], "char").reports) == ["a", "twin"]
    with pytest.raises(UserError, match="given twice"):
        compare_files([files[0], files[0]], "char")
    with pytest.raises(UserError, match="unknown metric 'rouge'"):
        compare_files(files, "char", ["rouge"])


def test_a_corpus_profile_compares_corpora(files):
    report = compare_files(files, "char-corpus")
    found = {(one.a, one.b, one.metric): one for one in report.comparisons}
    one = found["better", "worse", "bleu-4"]
    sides = [report.reports[name].overall.summary["bleu-4"].mean for name in ("better", "worse")]
    assert one.difference.mean == pytest.approx(sides[0] - sides[1])
    assert one.verdict == "better"


def test_tables_show_n_both_sides_and_the_verdict(files):
    report = compare_files([files[0], files[2]], "char")
    console = Console(file=io.StringIO(), width=140)
    for table in render_comparisons(report):
        console.print(table)
    shown = console.file.getvalue()
    for words in ("better against worse", "better better", "n 40", "corrected (Holm) for 10 comparisons", "<0.00"):
        assert words in shown
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["comparisons"][0].keys() == {"a", "b", "metric", "mean", "low", "high", "n", "p", "p_holm", "verdict"}
    assert plain["models"]["better"]["n"] == plain["n"] == 40


def test_one_file_that_names_the_cases_is_enough(files):
    plain = compare_files([files[0], files[2]], "char", ["rouge-l"]).comparisons[0]
    items = [json.loads(line) for line in files[2].read_text("utf-8").splitlines()]
    write(files[2], [item | {"group": f"patient {place % 4}"} for place, item in enumerate(items)])
    found = compare_files([files[0], files[2]], "char", ["rouge-l"]).comparisons[0]
    assert (plain.verdict, found.verdict) == ("better", "no verdict")
    assert found.p == pytest.approx(2 / 2**4)
