"""The loop: batches over cards, ends, and a run that is killed and goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from pediatricsgpt.evaluation.consultation import RuleCaregiver, consult, read_cards
from pediatricsgpt.evaluation.consultation.consult import signature
from pediatricsgpt.evaluation.consultation.score import read_transcripts, score
from pediatricsgpt.models.answers import Unanswered
from pediatricsgpt.records import Message
from tests.evaluation.consultation import doctors
from tests.evaluation.consultation.doctors import Doctor

CARDS = read_cards(at_most=8)
TURNS = 40


def test_all_open_consultations_advance_together(tmp_path: Path) -> None:
    doctor = Doctor(doctors.all_at_once, CARDS)
    held = consult(doctor, CARDS, RuleCaregiver(), tmp_path, TURNS)
    assert doctor.batches == [3, 3, 2, 3, 3, 2]
    assert [one.card for one in held] == CARDS
    assert {one.ended for one in held} == {"concluded"}


def test_turns_alternate_and_notes_go_with_them(tmp_path: Path) -> None:
    for one in consult(Doctor(doctors.perfect, CARDS), CARDS, RuleCaregiver(), tmp_path, TURNS):
        roles = [message["role"] for message in one.messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert [note["turn"] for note in one.notes] == list(range(1, len(one.turns) + 1))


def test_the_caregiver_asks_for_the_conclusion_before_the_last_turn(tmp_path: Path) -> None:
    held = consult(Doctor(doctors.looping, CARDS), CARDS, RuleCaregiver(), tmp_path, 4)
    for one in held:
        assert one.ended == "max_turns"
        assert len(one.turns) == 4
        replies = [message["content"] for message in one.messages if message["role"] == "user"]
        assert ["最可能是什么病" in said for said in replies] == [False, False, False, True]


def test_a_caregiver_who_asks_anyway_asks_once(tmp_path: Path) -> None:
    held = consult(Doctor(lambda card, before: "好的。", CARDS), CARDS, RuleCaregiver(), tmp_path, 2)
    assert all(one.messages[2]["content"].count("怎么办") == 1 for one in held)


def test_turns_that_are_cut_off_are_noted(tmp_path: Path) -> None:
    held = consult(Doctor(lambda card, before: "孩子多大？另外我还想…", CARDS), CARDS, RuleCaregiver(), tmp_path, 2)
    assert [score(one)["cut_off"] for one in held] == [2] * len(CARDS)
    again = consult(Doctor(doctors.mute, CARDS), CARDS, RuleCaregiver(), tmp_path, 2)
    assert [one.notes for one in again] == [one.notes for one in held]  # from the file


def test_one_turn_is_a_consultation_too(tmp_path: Path) -> None:
    held = consult(Doctor(doctors.looping, CARDS), CARDS, RuleCaregiver(), tmp_path, 1)
    assert all(len(one.messages) == 2 and one.ended == "max_turns" for one in held)


@pytest.mark.parametrize("dies_after", [0, 3, 7, 8, 30, 61])
def test_a_killed_run_goes_on_with_the_same_answers(tmp_path: Path, dies_after: int) -> None:
    whole = Doctor(doctors.perfect, CARDS)
    consult(whole, CARDS, RuleCaregiver(), tmp_path / "whole", TURNS)
    with pytest.raises(KeyboardInterrupt):
        consult(Doctor(doctors.perfect, CARDS, dies_after), CARDS, RuleCaregiver(), tmp_path / "killed", TURNS)
    rest = Doctor(doctors.perfect, CARDS)
    consult(rest, CARDS, RuleCaregiver(), tmp_path / "killed", TURNS)
    same = [(tmp_path / run / "transcripts.jsonl").read_bytes() for run in ("whole", "killed")]
    assert same[0] == same[1]
    assert whole.asked - dies_after <= rest.asked <= whole.asked - dies_after + 2  # nothing that was kept is asked anew


def test_a_finished_run_asks_the_model_nothing(tmp_path: Path) -> None:
    first = consult(Doctor(doctors.perfect, CARDS), CARDS, RuleCaregiver(), tmp_path, TURNS)
    again = Doctor(doctors.perfect, CARDS)
    assert [one.messages for one in consult(again, CARDS, RuleCaregiver(), tmp_path, TURNS)] == [
        one.messages for one in first
    ]
    assert again.asked == 0


def test_another_model_in_the_same_folder_is_asked_anew(tmp_path: Path) -> None:
    consult(Doctor(doctors.premature, CARDS, name="first"), CARDS, RuleCaregiver(), tmp_path, TURNS)
    second = Doctor(doctors.premature, CARDS, name="second")
    consult(second, CARDS, RuleCaregiver(), tmp_path, TURNS)
    assert second.asked == len(CARDS)


def test_the_order_of_cards_changes_no_consultation(tmp_path: Path) -> None:
    one_way = consult(Doctor(doctors.perfect, CARDS), CARDS, RuleCaregiver(), tmp_path / "a", TURNS)
    other = consult(Doctor(doctors.perfect, CARDS), CARDS[::-1], RuleCaregiver(), tmp_path / "b", TURNS)
    assert {one.card.id: one.messages for one in one_way} == {one.card.id: one.messages for one in other}


class SmallWindow(Doctor):
    """Reads dialogues of five turns at most."""

    def fits(self, messages: Sequence[Message]) -> bool:
        return len(messages) <= 5


def test_a_full_window_ends_a_consultation(tmp_path: Path) -> None:
    held = consult(SmallWindow(doctors.looping, CARDS), CARDS, RuleCaregiver(), tmp_path, TURNS)
    assert {(one.ended, len(one.turns)) for one in held} == {("window", 2)}
    assert all(score(one)["diagnosis_hit"] is False for one in held)


class Refusing(Doctor):
    """Has no answer to the first prompt of each round."""

    def answers(self, prompts, done=()):  # type: ignore[no-untyped-def]
        known = set(done)
        yield from super().answers(prompts, known | {0})
        if 0 not in known:
            raise Unanswered({0: "server refused: 400"})


def test_a_turn_without_an_answer_stops_or_counts_as_empty(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="server refused"):
        consult(Refusing(doctors.premature, CARDS), CARDS, RuleCaregiver(), tmp_path, 3)
    held = consult(Refusing(doctors.premature, CARDS), CARDS, RuleCaregiver(), tmp_path, 3, failed_as_empty=True)
    assert [one.ended for one in held] == ["max_turns"] + ["concluded"] * (len(CARDS) - 1)
    assert held[0].turns == ["", "", ""]


def test_transcripts_can_be_scored_again(tmp_path: Path) -> None:
    held = consult(Doctor(doctors.all_at_once, CARDS), CARDS, RuleCaregiver(), tmp_path, TURNS)
    read = read_transcripts(tmp_path / "transcripts.jsonl", CARDS)
    assert [score(one) for one in read] == [score(one) for one in held]
    first = json.loads((tmp_path / "transcripts.jsonl").read_text("utf-8").splitlines()[0])
    assert set(first) == {"card", "messages", "notes", "ended"}


def test_the_signature_changes_with_what_the_results_depend_on() -> None:
    engine, caregiver = Doctor(doctors.mute, CARDS), RuleCaregiver()
    signatures = {
        signature(engine, CARDS, caregiver, 10),
        signature(engine, CARDS, caregiver, 9),
        signature(engine, CARDS[1:], caregiver, 10),
        signature(Doctor(doctors.mute, CARDS, name="other"), CARDS, caregiver, 10),
    }
    assert len(signatures) == 4
