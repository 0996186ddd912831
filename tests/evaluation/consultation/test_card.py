"""Case cards: the form, errors with file and line, and the packaged set against its sources."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.consultation.card import Card, read_cards
from pediatricsgpt.evaluation.consultation.caregiver import Turn, asked_facts
from pediatricsgpt.evaluation.consultation.data import lists
from pediatricsgpt.evaluation.consultation.hearing import hear
from tests.evaluation.consultation.doctors import EXAMPLES

CARDS = read_cards()


def card(**changes: Any) -> dict[str, Any]:
    """A small card that is as it must be, with changes."""
    content: dict[str, Any] = {
        "id": "cough",
        "title": "咳嗽",
        "theme": "respiratory",
        "age": "5岁",
        "sex": "女",
        "complaint": "医生，孩子老咳嗽。",
        "duration": "三天了。",
        "facts": [
            {"id": "dry", "text": "干咳没有痰。", "asked_by": ["cough", "sputum"], "essential": True},
            {"id": "temperature", "text": "烧到39度。", "asked_by": ["fever"], "essential": True},
            {"id": "breathless", "text": "喘气费力。", "asked_by": ["breathing"], "danger": True},
        ],
        "absent": ["rash"],
        "danger_topics": ["breathing"],
        "diagnosis": {"name": "支气管炎"},
        "urgency": "emergency",
        "source": {"title": "某指南", "licence": "CC0", "where": "第1页"},
        "made_from": "编写",
    }
    return {**content, **changes}


def written(folder: Path, *cards: dict[str, Any]) -> Path:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(list(cards), allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def refusal(folder: Path, *cards: dict[str, Any]) -> str:
    written(folder, *cards)
    with pytest.raises(UserError) as error:
        read_cards(folder)
    return str(error.value)


def test_there_are_at_least_forty_cards_of_many_themes_and_age_bands() -> None:
    themes, bands = Counter(one.theme for one in CARDS), Counter(one.age_band for one in CARDS)
    assert len(CARDS) >= 40
    assert len(themes) >= 10
    assert set(bands) == {"neonate", "young_infant", "infant", "toddler", "preschool", "school", "adolescent"}


@pytest.mark.parametrize("one", CARDS, ids=lambda one: one.id)
def test_every_fact_is_reached_by_some_question(one: Card) -> None:
    for fact in one.facts:
        for topic in fact.topics:
            turn = Turn(one, (), hear(EXAMPLES[topic]), frozenset(other.id for other in one.facts if other != fact))
            assert fact in asked_facts(turn), topic
        for word in fact.words:
            assert fact in asked_facts(Turn(one, (), hear(f"{word}怎么样？"), frozenset())), word


@pytest.mark.parametrize("one", CARDS, ids=lambda one: one.id)
def test_no_card_leaks_its_diagnosis_or_its_basics(one: Card) -> None:
    said = "".join(one.spoken)
    assert not [name for name in one.diagnosis.names if name.lower() in said.lower()]
    assert one.age not in one.opening
    assert not one.weight or one.weight not in one.opening
    assert one.reviewer == ""


@pytest.mark.parametrize("one", CARDS, ids=lambda one: one.id)
def test_the_caregiver_has_an_answer_on_every_danger_topic(one: Card) -> None:
    answered = {*one.absent, *one.unknown, *(topic for fact in one.facts for topic in fact.topics)}
    assert set(one.danger_topics) <= answered


def test_every_example_question_is_understood_and_every_topic_has_answers() -> None:
    for name, topic in lists("topics")["topics"].items():
        assert name in hear(topic["example"]).topics, name
        assert topic["unknown"].endswith("。")
        assert name in ("age", "sex", "weight", "duration") or topic["absent"].endswith("。")


def test_quotes_stand_in_their_sources(shared: Path) -> None:
    sources = {bare(path.name): text_of(path) for path in (shared / "data" / "guidelines" / "nhc_json").iterdir()}
    for name, key in (("cmb_clin_cases.json", "CMB-Clin"), ("huatuogpt_med_dialog_100.json", "HuatuoGPT")):
        sources[key] = text_of(shared / "data" / "benchmarks" / name)
    for one in CARDS:
        assert one.source.quotes
        title = bare(one.source.title)
        source = next(text for name, text in sources.items() if title in name or name in one.source.title)
        for quote in one.source.quotes:
            assert re.sub(r"\s", "", quote) in source, (one.id, quote)


def bare(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z\u4e00-\u9fff]", "", name)


def text_of(path: Path) -> str:
    return re.sub(r"\s", "", "".join(_strings(json.loads(path.read_text(encoding="utf-8")))))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for each in inside for text in _strings(each)]


def test_one_card_or_a_list_of_cards_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(card(), allow_unicode=True), encoding="utf-8")
    written(tmp_path, card(id="second"), card(id="third"))
    assert [one.id for one in read_cards(tmp_path)] == ["cough", "second", "third"]


def test_at_most_spreads_over_all_files() -> None:
    chosen = read_cards(at_most=10)
    assert len(chosen) == 10
    assert len({one.theme for one in chosen}) >= 5
    assert chosen == read_cards(at_most=10)


def test_an_error_names_file_line_and_field(tmp_path: Path) -> None:
    message = refusal(tmp_path, card(), card(id="other", urgency="later"))
    line = 1 + next(
        number for number, text in enumerate((tmp_path / "own.yaml").read_text("utf-8").splitlines()) if "later" in text
    )
    assert message.startswith(f"{tmp_path / 'own.yaml'}:{line}: urgency: ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"complain": "咳"}, "complain: unknown field; did you mean complaint?"),
        ({"complaint": "医生，我家5岁的孩子咳嗽。"}, "tells age or weight"),
        ({"complaint": "医生，是支气管炎吗，老咳嗽？"}, "the caregiver says the diagnosis 支气管炎"),
        ({"age": "很小"}, "'很小' is no age"),
        ({"absent": ["fever"]}, "fever is absent and yet answered by a fact"),
        ({"absent": ["fevr"]}, "no such topic: fevr; did you mean fever?"),
        ({"danger_topics": []}, "danger_topics"),
        ({"urgency": "home"}, "a fact is a sign of danger, but urgency is home"),
        ({"sex": "男孩"}, "sex: "),
        ({"facts": []}, "facts: "),
    ],
)
def test_a_card_that_is_wrong_is_refused_in_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    message = refusal(tmp_path, card(**changes))
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fact", "said"),
    [
        ({"asked_by": ["brething"]}, "facts.2.asked_by: no such topic: brething; did you mean breathing?"),
        ({"id": "weight"}, "'weight' is a field of the card itself"),
        ({"id": "dry"}, "two facts are named dry"),
        ({"dangr": True}, "facts.2.dangr: unknown field; did you mean danger?"),
    ],
)
def test_a_fact_that_is_wrong_is_refused(tmp_path: Path, fact: dict[str, Any], said: str) -> None:
    facts = card()["facts"]
    assert said in refusal(tmp_path, card(facts=[*facts[:2], {**facts[2], **fact}]))


def test_a_card_without_an_essential_fact_cannot_measure_closure(tmp_path: Path) -> None:
    facts = [{**fact, "essential": False} for fact in card()["facts"]]
    assert "no fact that has to be asked for is essential" in refusal(tmp_path, card(facts=facts))


def test_broken_files_are_said_in_one_line(tmp_path: Path) -> None:
    assert "stands twice" in refusal(tmp_path, card(), card())
    path = tmp_path / "own.yaml"
    path.write_text("- id: [\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"own\.yaml:\d+: no valid YAML"):
        read_cards(tmp_path)
    path.write_bytes("- id: 咳".encode("gb18030"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_cards(tmp_path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="expected a card"):
        read_cards(tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="no cards"):
        read_cards(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_cards(tmp_path / "none")
