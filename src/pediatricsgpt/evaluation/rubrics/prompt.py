"""What a grader is asked about one criterion, and the form of its answer."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pydantic import BaseModel, field_validator

from pediatricsgpt.evaluation.prompt_files import PromptFile, filled, read_prompt
from pediatricsgpt.evaluation.rubrics.forms import Criterion, RubricItem
from pediatricsgpt.records import Message

FILE = "grader.yaml"
_SPEAKERS = {"system": "（系统说明）", "user": "家长", "assistant": "医生"}
_YES, _NO = {"是", "符合", "满足", "达到", "yes"}, {"否", "不符合", "不满足", "未达到", "no"}
# What marks an answer's ends in the prompt must not stand within one
_MARK = re.compile(r"【(?=\s*(?:对话|需要评判|评分标准))")


class Grade(BaseModel):
    """The form of the grader's answer."""

    explanation: str = ""
    criteria_met: bool

    @field_validator("criteria_met", mode="before")
    @classmethod
    def _in_words(cls, value: Any) -> Any:
        said = value.strip().lower() if isinstance(value, str) else value
        return True if said in _YES else False if said in _NO else value


@dataclass(frozen=True, slots=True)
class Prompt(PromptFile):
    """The prompt file of the graders."""

    system: str
    user: str

    def messages(self, item: RubricItem, answer: str, criterion: Criterion) -> list[Message]:
        """What a grader is sent: the conversation, the answer to it, and one criterion with its points."""
        conversation = "\n".join(f"{_SPEAKERS[turn.role]}：{_plain(turn.content.strip())}" for turn in item.messages)
        asked = filled(
            self.user,
            conversation=conversation,
            answer=_plain(answer.strip()),
            points=f"{criterion.points:g}",
            criterion=criterion.text,
        )
        return [Message(role="system", content=self.system.strip()), Message(role="user", content=asked.strip())]


@functools.cache
def prompt() -> Prompt:
    """The packaged prompt."""
    return Prompt(**read_prompt(resources.files(__package__).joinpath(FILE).read_bytes()))


def _plain(text: str) -> str:
    return _MARK.sub("［", text)
