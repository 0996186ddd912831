"""The chat in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pediatricsgpt.models.engine import Engine
from pediatricsgpt.records import Message

NOTICE = (
    "本程序为研究工具，回答由人工智能生成，未经医师审核，不能代替面诊，不得据此诊断或用药。\n"
    "孩子出现呼吸困难、抽搐、意识不清、面色发青或发灰等情况，请立即拨打 120 或前往急诊。"
)
HELP = "输入问题后回车；/new 开始新对话，/quit 退出。"


def chat(engine: Engine, ask: Callable[[], str | None], say: Callable[[str], None]) -> None:
    """Talk until there is no further question.

    Args:
        ask: the next line of the user; None ends the chat.
        say: shows a piece of text as it comes.
    """
    messages: list[Message] = []
    while (line := ask()) is not None:
        question = line.strip()
        if question in ("/quit", "/exit"):
            return
        if question == "/new":
            messages = []
            say("已开始新对话。\n")
        elif question:
            messages.append(Message(role="user", content=question))
            answer = "".join(_spoken(engine.stream(messages), say))
            messages.append(Message(role="assistant", content=answer))


def _spoken(pieces: Iterator[str], say: Callable[[str], None]) -> Iterator[str]:
    """Pass an answer on while it is being shown; it ends with a line break."""
    for piece in pieces:
        say(piece)
        yield piece
    say("\n")
