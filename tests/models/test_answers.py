"""Answers that are kept: nothing is lost, nothing is asked twice, and nothing is taken from somebody else."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.answers import CutOff, Prompt, Unanswered, answer_all, answer_file
from pediatricsgpt.records import Message

PROMPTS = [Prompt(f"q{number}", [Message(role="user", content=f"第{number}问")]) for number in range(7)]


class Echo:
    """Answers a question with itself, two at a time; some not at all, some not to their end; and may stop early."""

    def __init__(self, name: str = "m", refuses: Iterable[int] = (), cuts: Iterable[int] = (), stops: int = 99) -> None:
        self.signature: list[Any] = [name]
        self.refuses, self.cuts, self.stops = set(refuses), set(cuts), stops
        self.asked: list[int] = []

    def fits(self, messages: Sequence[Message]) -> bool:
        return True

    def answers(
        self, prompts: Sequence[Sequence[Message]], done: Iterable[int] = ()
    ) -> Iterator[list[tuple[int, str]]]:
        waiting = [index for index in range(len(prompts)) if index not in set(done)]
        for place in range(0, len(waiting), 2):
            if len(self.asked) >= self.stops:
                raise UserError("the server is down", self.signature[0])
            group = waiting[place : place + 2]
            self.asked += group
            said = {index: f"答：{prompts[index][-1]['content']}" for index in group if index not in self.refuses}
            yield [(index, CutOff(text) if index in self.cuts else text) for index, text in said.items()]
        if refused := {index: "no" for index in waiting if index in self.refuses}:
            raise Unanswered(refused)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(engine: Echo, out: Path, **options: Any) -> Any:
    return answer_file(engine, PROMPTS, out, lambda index, said: {"id": PROMPTS[index].id, "said": said}, **options)


def test_a_run_that_broke_off_asks_only_the_rest(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    first, second = Echo(stops=4), Echo()
    with pytest.raises(UserError, match="down"):
        _write(first, out)
    assert not out.exists()
    _write(second, out)
    assert sorted(first.asked + second.asked) == list(range(7))
    assert [row["said"] for row in _rows(out)] == [f"答：第{number}问" for number in range(7)]
    assert [path.name for path in tmp_path.iterdir()] == ["o.jsonl"]


def test_a_prompt_without_an_answer_is_named_and_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    with pytest.raises(UserError, match=r"2 of 7 prompts got no answer \(the first, q3: no\)") as error:
        _write(Echo(refuses=[5, 3]), out)
    assert error.value.exit_code == 1
    assert not out.exists()
    again = Echo()
    account = _write(again, out)
    assert again.asked == [3, 5]
    assert (account.answers, account.failed, account.empty) == (7, 0, 0)


def test_a_prompt_without_an_answer_is_empty_only_on_request(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    account = _write(Echo(refuses=[3]), out, failed_as_empty=True)
    assert (account.answers, account.failed, account.empty) == (7, 1, 1)
    assert _rows(out)[3] == {"id": "q3", "said": "", "failed": "no"}
    again = Echo()
    assert _write(again, out).failed == 0  # and it can still be asked for, alone
    assert again.asked == [3]
    assert _rows(out)[3] == {"id": "q3", "said": "答：第3问"}


def test_what_was_cut_off_stays_marked_over_an_interruption(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    with pytest.raises(UserError, match="down"):
        _write(Echo(cuts=[1, 6], stops=4), out)
    assert _write(Echo(cuts=[1, 6]), out).cut_off == 2
    assert [row["id"] for row in _rows(out) if row.get("cut_off")] == ["q1", "q6"]


def test_answers_of_another_model_are_set_aside_told_and_taken_up_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(UserError, match="down"):
        answer_all(Echo("a", stops=4), PROMPTS, path)
    with caplog.at_level(logging.WARNING), pytest.raises(UserError, match="down"):
        answer_all(Echo("b", stops=2), PROMPTS, path)
    assert "held 4 answers of another model, or of other settings" in caplog.text
    again = Echo("a")
    answer_all(again, PROMPTS, path)
    assert again.asked == [4, 5, 6]
    other = Echo("b")
    answer_all(other, PROMPTS, path)
    assert other.asked == [2, 3, 4, 5, 6]


def test_answers_to_other_questions_are_told_as_such(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answer_all(Echo(), PROMPTS, tmp_path / "a.jsonl")
    answer_all(Echo(), PROMPTS[:3], tmp_path / "a.jsonl")
    assert "held 7 answers to other questions" in caplog.text


@pytest.mark.parametrize("torn", [b'{"signature": "ab', b"", b'{"signature": "x"}\n{"index": 0, "an'])
def test_a_torn_beginning_is_begun_anew(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(torn)
    assert len(answer_all(Echo(), PROMPTS, path)) == 7
    assert len(answer_all(Echo(stops=0), PROMPTS, path)) == 7


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    refused: list[str] = []

    def second(count: int) -> None:
        if count == 2:
            with pytest.raises(UserError, match="another process is writing these answers") as error:
                _write(Echo(), out)
            refused.append(str(error.value))

    _write(Echo(), out, advance=second)
    assert len(refused) == 3
    assert len(_rows(out)) == 7
