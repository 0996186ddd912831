"""Rubrics as files: ours, HealthBench's, and what is wrong with them said in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks import read_items
from pediatricsgpt.evaluation.rubrics.forms import as_json, load_rubrics, questions

_ORDINARY = {"120"}  # the number to call

OWN = """
name: own
version: "2"
licence: CC0
sources: {a: A book}
items:
  - id: one
    theme: fever
    question: 发烧怎么办？
    criteria:
      - {id: ask, points: 5, source: a, mark: L, text: 问年龄}
      - {id: dose, points: -5, source: a, mark: L, veto: true, text: 没问体重就给剂量}
"""


def _write(folder: Path, text: str, name: str = "own.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_starter_set_is_as_large_and_as_founded_as_promised():
    found = load_rubrics()
    assert len(found.items) >= 30
    assert all(5 <= len(item.criteria) <= 12 for item in found.items)
    assert {item.task for item in found.items} == {"medkqa", "evidiag", "trerecom"}
    assert sum(item.theme == "danger" for item in found.items) >= 10
    for item in found.items:
        for one in item.criteria:
            assert one.mark in ("C", "L", "K"), f"{item.id}.{one.id}"
            assert (one.mark == "K") == (one.source == "unverified"), f"{item.id}.{one.id}"
    assert {one.source for item in found.items for one in item.criteria} == found.sources.keys()


def test_guidelines_that_criteria_cite_are_among_the_shipped_ones(repository):
    """And a number that is cited from one stands in it."""
    found = load_rubrics()
    folder = repository / "examples" / "guidelines"
    shipped = {}
    for file in folder.glob("*.json"):
        guideline = json.loads(file.read_text(encoding="utf-8"))
        shipped[re.sub(r"\s", "", guideline["title"])] = re.sub(r"\s", "", guideline["content"])
    titles = {
        key: title[1] for key, text in found.sources.items() if (title := re.search("国家卫生健康委《(.+)》", text))
    }
    assert len(titles) >= 8
    texts = {key: "".join(text for one, text in shipped.items() if title in one) for key, title in titles.items()}
    texts["myopia-2026"] = next(text for one, text in shipped.items() if "近视防治指南" in one)
    for item in found.items:
        for one in item.criteria:
            if one.source in texts:
                numbers = [number for number in re.findall(r"\d+", one.text) if number not in _ORDINARY]
                lost = [n for n in numbers if not re.search(rf"(?<!\d){n}(?!\d)", texts[one.source])]
                assert texts[one.source], one.source
                assert not lost, f"{item.id}.{one.id}: {lost}"


def test_a_danger_item_cannot_be_won_by_an_answer_that_plays_it_down():
    for item in load_rubrics().items:
        if item.theme == "danger":
            assert any(one.veto and one.points < 0 for one in item.criteria), item.id
            assert any(one.veto and one.points == 10 for one in item.criteria), item.id


def test_nobody_has_reviewed_the_starter_set_and_it_says_so():
    head = load_rubrics().head()
    assert head["unreviewed"] == head["criteria"]
    assert "未经医生审核" in head["note"]


def test_a_signed_set_does_not_say_that_it_is_unreviewed(tmp_path):
    signed = OWN.replace("mark: L,", "mark: L, reviewer: 张医生,")
    head = load_rubrics(_write(tmp_path, signed)).head()
    assert (head["unreviewed"], head["note"]) == (0, "")


def test_the_hash_changes_with_a_point_and_not_with_the_layout(tmp_path):
    first = load_rubrics(_write(tmp_path, OWN)).sha256
    assert load_rubrics(_write(tmp_path, OWN.replace("name: own\n", "# a comment\nname: own\n"))).sha256 == first
    # A doctor's signature is no other rubric, a point or a veto is
    assert load_rubrics(_write(tmp_path, OWN.replace("mark: L,", "mark: L, reviewer: 张医生,"))).sha256 == first
    assert load_rubrics(_write(tmp_path, OWN.replace("points: 5", "points: 6"))).sha256 != first
    assert load_rubrics(_write(tmp_path, OWN.replace("veto: true", "veto: false"))).sha256 != first


def test_a_folder_makes_up_one_set(tmp_path):
    head, items = OWN.split("items:\n")
    _write(tmp_path, head, "set.yaml")
    _write(tmp_path, "items:\n" + items, "b.yaml")
    _write(tmp_path, "items:\n" + items.replace("id: one", "id: two"), "a.yaml")
    assert [item.id for item in load_rubrics(tmp_path).items] == ["two", "one"]


def test_healthbench_lines_are_read_as_they_are_published(tmp_path):
    row = {
        "example_tags": ["theme:emergency_referrals", "physician_agreed_category:x"],
        "ideal_completions_data": None,
        "prompt": [{"role": "user", "content": "My baby has a fever"}],
        "prompt_id": "abc-1",
        "rubrics": [
            {"criterion": "Asks for the age.", "points": 7, "tags": ["level:example", "axis:context_seeking"]},
            {"criterion": "Gives a dose.", "points": -9, "tags": ["level:example", "axis:accuracy"]},
        ],
        "canary": "healthbench:0",
    }
    found = load_rubrics(_write(tmp_path, json.dumps(row) + "\n", "hb.jsonl"))
    (item,) = found.items
    assert (item.id, item.theme, item.possible) == ("abc-1", "emergency_referrals", 7)
    assert [one.points for one in item.criteria] == [7, -9]
    assert item.criteria[0].tags == ("level:example", "axis:context_seeking")
    assert not any(one.veto for one in item.criteria)


def test_our_set_survives_the_way_through_healthbenchs_form(tmp_path):
    ours = load_rubrics()
    back = load_rubrics(_write(tmp_path, as_json(ours), "set.jsonl"))
    assert [item.id for item in back.items] == [item.id for item in ours.items]
    assert [[(c.text, c.points) for c in i.criteria] for i in back.items] == [
        [(c.text, c.points) for c in i.criteria] for i in ours.items
    ]


def test_the_questions_are_what_generate_reads(tmp_path):
    rubrics = load_rubrics()
    path = _write(tmp_path, "".join(json.dumps(row) + "\n" for row in questions(rubrics)), "items.jsonl")
    read = read_items(path)
    assert [item.id for item in read] == [item.id for item in rubrics.items]
    assert all(item.messages[-1]["role"] == "user" for item in read)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("points: 5", "points: 11", "item one: criterion ask: points: Input should be less than or equal to 10"),
        ("points: 5", "points: 0", "measures nothing"),
        ("points: 5", "points: -5", "no criterion has positive points"),
        ("id: dose", "id: ask", "two criteria have the id ask"),
        ("source: a, mark: L, text: 问年龄", "source: b, mark: L, text: 问年龄", "source 'b' is not among the sources"),
        ("mark: L, text: 问年龄", "mark: X, text: 问年龄", "item one: criterion ask: mark:"),
        ("veto: true", "vetoo: true", "item one: criterion dose: vetoo:"),
        ("question: 发烧怎么办？", "messages: [{role: assistant, content: 好}]", "must end with the user's turn"),
        ("licence: CC0\n", "", "licence: Field required"),
        ("theme: fever", "theme: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, old, new, said):
    path = _write(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_rubrics(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_rubrics_are_refused(tmp_path):
    for name, text, said in (
        ("a.yaml", "name: x\n", "no item with criteria"),
        ("b.yaml", "- 1\n", "mapping"),
        ("c.jsonl", '{"id": "x", "prediction": "y"}\n', "'prompt' and 'rubrics'"),
        ("d.jsonl", "", "no item with criteria"),
    ):
        with pytest.raises(UserError, match=said):
            load_rubrics(_write(tmp_path, text, name))
    with pytest.raises(UserError, match="no such file"):
        load_rubrics(tmp_path / "absent.yaml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"set\.yaml"):
        load_rubrics(tmp_path / "empty")
