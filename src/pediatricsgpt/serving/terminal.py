"""The chat in a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.engine import Engine
from pediatricsgpt.records import Message

NOTICE = (
    "本程序为研究工具，回答由人工智能生成，未经医师审核，不能代替面诊，不得据此诊断或用药。\n"
    "孩子出现呼吸困难、抽搐、意识不清、面色发青或发灰等情况，请立即拨打 120 或前往急诊。"
)
HELP = "输入问题后回车；/new 开始新对话，/quit 退出。"


def typed(console: Console) -> Iterator[str]:
    """What the user types, line by line, until the input ends."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            yield console.input("[bold]家长：[/bold]")


def chat(engine: Engine, lines: Iterable[str], say: Callable[[str], None]) -> None:
    """Talk until there is no further line.

    Args:
        lines: what the user says; a line that starts with `/` is a command (`HELP`).
        say: shows a piece of text as it comes.
    """
    messages: list[Message] = []
    for line in lines:
        question = line.strip()
        if question in ("/quit", "/exit"):
            return
        if question == "/new":
            messages = []
            say("已开始新对话。\n")
        elif question:
            messages.append(Message(role="user", content=question))
            try:
                answer = "".join(_spoken(engine.stream(messages), say))
            except UserError as error:  # the dialogue has outgrown the model's window
                say(f"{error.message}\n（/new 开始新对话）\n")
                messages.pop()
            except KeyboardInterrupt:  # the user has heard enough: the answer ends, the chat goes on
                say("\n")
                messages.pop()
            else:
                messages.append(Message(role="assistant", content=answer))


def _spoken(pieces: Iterator[str], say: Callable[[str], None]) -> Iterator[str]:
    """Pass an answer on while it is being shown; it ends with a line break."""
    for piece in pieces:
        say(piece)
        yield piece
    say("\n")
