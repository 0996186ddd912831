"""The chat in a terminal: turns are remembered, commands are not questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.engine import Engine
from pediatricsgpt.records import Message
from pediatricsgpt.serving import terminal


class _Listener:
    """In the place of an engine: keeps what it was asked, and answers in two pieces."""

    def __init__(self) -> None:
        self.asked: list[list[Message]] = []

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        if len(messages[-1]["content"]) > 100:
            raise UserError("too long for the window")
        self.asked.append(list(messages))
        yield from ("量", "体温。")


def _talk(*lines: str) -> tuple[list[list[str]], str]:
    listener: Any = _Listener()
    said: list[str] = []
    terminal.chat(cast(Engine, listener), lines, said.append)
    return [[turn["content"] for turn in messages] for messages in listener.asked], "".join(said)


def test_earlier_turns_are_remembered() -> None:
    asked, said = _talk("发烧", "  ", "三十九度")
    assert asked == [["发烧"], ["发烧", "量体温。", "三十九度"]]
    assert said == "量体温。\n量体温。\n"


def test_new_forgets_and_quit_ends() -> None:
    asked, said = _talk("发烧", "/new", "咳嗽", "/quit", "黄疸")
    assert asked == [["发烧"], ["咳嗽"]]
    assert "已开始新对话" in said


def test_the_notice_names_the_emergency_number_and_the_machine() -> None:
    assert "120" in terminal.NOTICE
    assert "人工智能" in terminal.NOTICE


def test_a_question_that_does_not_fit_is_said_and_forgotten() -> None:
    asked, said = _talk("发烧" * 60, "咳嗽")
    assert asked == [["咳嗽"]]
    assert "too long for the window" in said
    assert "/new" in said
