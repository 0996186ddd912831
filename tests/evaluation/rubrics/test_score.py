"""From grades to scores, by hand and by HealthBench's definition written down slowly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pediatricsgpt.evaluation.rubrics.forms import RubricItem, RubricSet
from pediatricsgpt.evaluation.rubrics.grade import Graded
from pediatricsgpt.evaluation.rubrics.score import item_score, score


def _item(*criteria: tuple[float, bool], name: str = "one", theme: str = "t") -> RubricItem:
    rows = [{"id": f"c{i}", "text": f"文{i}", "points": p, "veto": v} for i, (p, v) in enumerate(criteria)]
    return RubricItem.model_validate({"id": name, "theme": theme, "question": "问？", "criteria": rows})


def _set(*items: RubricItem) -> RubricSet:
    return RubricSet(name="n", version="1", licence="CC0", items=items)


def _rows(item: RubricItem, *met: bool | None) -> list[Graded]:
    return [
        Graded(item.id, one.id, one.points, is_met, one.veto, "", "grader")
        for one, is_met in zip(item.criteria, met, strict=True)
    ]


def test_points_met_over_positive_points():
    item = _item((10, False), (5, False), (-6, False))
    for met, expected in (
        ((True, True, False), 1.0),
        ((True, False, False), 10 / 15),
        ((True, True, True), 9 / 15),
        ((False, False, True), -6 / 15),
    ):
        found = item_score(item, dict(zip(("c0", "c1", "c2"), met, strict=True)))
        assert found.score == found.healthbench == pytest.approx(expected)


@given(
    st.lists(st.tuples(st.integers(-10, 10).filter(bool), st.booleans()), min_size=1, max_size=8).filter(
        lambda rows: any(points > 0 for points, _ in rows)
    )
)
def test_without_vetoes_and_invalid_grades_the_score_is_healthbenchs(rows):
    item = _item(*((points, False) for points, _ in rows))
    total = achieved = 0
    for points, met in rows:
        total += points if points > 0 else 0
        achieved += points if met else 0
    found = item_score(item, {f"c{i}": met for i, (_, met) in enumerate(rows)})
    assert found.score == pytest.approx(achieved / total)


def test_a_bad_veto_strikes_when_met_and_a_good_one_when_not():
    item = _item((10, True), (5, False), (-10, True))
    assert item_score(item, {"c0": True, "c1": True, "c2": False}).vetoes == ()
    assert item_score(item, {"c0": True, "c1": True, "c2": True}).vetoes == ("c2",)
    missed = item_score(item, {"c0": False, "c1": True, "c2": False})
    assert (missed.vetoes, missed.score, missed.healthbench) == (("c0",), 0.0, pytest.approx(5 / 15))
    assert item_score(item, {"c0": False, "c1": False, "c2": True}).score == pytest.approx(-10 / 15)


def test_a_criterion_without_a_grade_leaves_both_sums():
    item = _item((10, False), (5, False), (-5, True))
    found = item_score(item, {"c0": True, "c1": None, "c2": None})
    assert (found.score, found.invalid, found.vetoes) == (1.0, 2, ())
    assert item_score(item, {"c2": True}).score == 0.0  # the veto is known, whatever the rest would be
    assert item_score(item, {}).score is None


def test_means_are_clipped_and_items_are_not():
    good, bad = _item((4, False), (-10, False), name="a"), _item((4, False), (-10, False), name="b", theme="u")
    figures = score(_set(good, bad), (good, bad), [*_rows(good, True, False), *_rows(bad, False, True)])
    assert [one["score"] for one in figures["items"]] == [1.0, -2.5]
    assert figures["score"]["mean"] == 0.0  # (1 - 2.5) / 2, clipped
    assert figures["raw_points"]["mean"] == -3.0
    assert list(figures["themes"]) == ["u", "t"]  # the weakest first


def test_vetoed_items_are_counted_apart():
    items = [_item((10, True), (5, False), name=f"i{i}") for i in range(4)]
    rows = [row for i, item in enumerate(items) for row in _rows(item, i > 0, True)]
    figures = score(_set(*items), items, rows)
    assert figures["vetoed"]["items"] == 1
    assert figures["vetoed"]["share"]["mean"] == 0.25
    assert figures["score"]["mean"] == pytest.approx(0.75)
    assert figures["healthbench_score"]["mean"] == pytest.approx((3 + 5 / 15) / 4)
    assert figures["score"]["n"] == 4
    assert figures["score"]["low"] <= 0.75 <= figures["score"]["high"]


def test_what_was_not_graded_is_counted_and_said():
    item, other = _item((10, False), (5, False), name="a"), _item((10, False), name="b")
    figures = score(_set(item, other), (item, other), [*_rows(item, True, None), *_rows(other, None)])
    assert (figures["invalid"], figures["unscored"], figures["n"]) == (2, 1, 2)
    assert (figures["score"]["mean"], figures["score"]["low"], figures["score"]["n"]) == (1.0, pytest.approx(0.025), 1)
    assert any("2 of 3 criteria have no grade" in one for one in figures["warnings"])
    assert [one["met"] for one in figures["criteria"]] == [1.0, None, None]
    assert [one["n"] for one in figures["criteria"]] == [1, 0, 0]


def test_axes_count_the_criteria_of_one_tag_alone():
    rows = [
        {"id": "a", "text": "甲", "points": 4, "tags": ["axis:accuracy"]},
        {"id": "b", "text": "乙", "points": 6, "tags": ["axis:completeness"]},
        {"id": "c", "text": "丙", "points": -2, "tags": ["axis:accuracy"]},
        {"id": "d", "text": "丁", "points": -5, "tags": ["axis:communication"]},
    ]
    item = RubricItem.model_validate({"id": "one", "theme": "t", "question": "问？", "criteria": rows})
    axes = score(_set(item), (item,), _rows(item, True, False, True, True))["axes"]
    assert {axis: one["score"]["mean"] for axis, one in axes.items()} == {"accuracy": 0.5, "completeness": 0.0}


def test_strata_add_up_where_some_items_have_no_label():
    items = [_item((10, False), name=f"i{n}").model_copy(update={"age_band": "infant"} if n else {}) for n in range(3)]
    found = score(_set(*items), items, [row for item in items for row in _rows(item, True)])
    assert {value: one["n"] for value, one in found["strata"]["age_band"].items()} == {"infant": 2, "(none)": 1}
    assert found["strata"]["task"] == {}


@pytest.mark.parametrize(("word", "told"), [(True, "'met' of all 6"), (False, "'not met' of all 6")])
def test_a_grader_that_says_one_word_of_everything_is_named(word, told):
    item = _item(*((points, False) for points in (9, 8, 7, 6, -5, -4)))
    figures = score(_set(item), [item], _rows(item, *[word] * 6))
    assert any(told in one for one in figures["warnings"])
    other = score(_set(item), [item], _rows(item, *[word] * 5, not word))
    assert not any("wanted and dangerous" in one for one in other["warnings"])


def test_few_criteria_or_wanted_ones_alone_may_all_be_met():
    few, wanted = _item((9, False), (-5, False)), _item(*[(3, False)] * 8)
    for item in (few, wanted):
        figures = score(_set(item), [item], _rows(item, *[True] * len(item.criteria)))
        assert not any("wanted and dangerous" in one for one in figures["warnings"])
