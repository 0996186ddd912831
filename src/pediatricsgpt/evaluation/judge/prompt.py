"""What a judge is asked and what it must answer: the prompt is a file with version and hash, the answer a schema."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, field_validator, model_validator

from pediatricsgpt.evaluation.judge.present import Shown
from pediatricsgpt.evaluation.judge.verdicts import Word
from pediatricsgpt.evaluation.prompt_files import PromptFile, filled, read_prompt
from pediatricsgpt.records import Message

DIMENSIONS = ("usefulness", "correctness", "consistency", "fluency")
FILE = "pairwise.yaml"
_WORDS: dict[str, Word] = {"甲": "left", "乙": "right", "平": "tie"}
_SPEAKERS = {"user": "家长", "assistant": "医生"}
_AROUND = re.compile(r"^(?:回答|答案|方案)?[“\"'「]?(甲|乙|平)[”\"'」]?(?:手|局|方|更好|更优|胜|较好)?[。.]?$")
# A reason without a word of its own, or the prompt's own words: whoever only copies the form has judged nothing
_NO_REASON = re.compile(r"[\s.…—，、。（）()甲乙]+|（?甲、乙差在哪里，不超过40个字）?")
_SAME = {"相同", "相当", "一样", "难分高下", "不分高下", "tie"}
# What marks an answer's ends in the prompt must not stand within one
_MARK = re.compile(r"【(?=\s*(?:回答|参考答案|维度|问题|对话))")


class Choice(BaseModel):
    """The judge's word on one dimension."""

    reason: str = ""
    better: Literal["甲", "乙", "平"]

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, value: Any) -> Any:
        return {"better": value} if isinstance(value, str) else value

    @field_validator("better", mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        """回答甲, 甲更好 and 平手 mean what they say; anything else is asked for again."""
        said = value.strip() if isinstance(value, str) else value
        if said in _SAME:
            return "平"
        match = _AROUND.match(said) if isinstance(said, str) else None
        return match[1] if match else value

    @field_validator("reason")
    @classmethod
    def _own(cls, reason: str) -> str:
        """None at all is accepted, as of a judge that names the better one alone; the form copied is not."""
        if _NO_REASON.fullmatch(reason):
            raise ValueError("the reason is that of the form; compare the two answers")
        return reason

    @property
    def word(self) -> Word:
        """As a verdict says it."""
        return _WORDS[self.better]


class Comparison(BaseModel):
    """The form of the judge's answer."""

    usefulness: Choice
    correctness: Choice
    consistency: Choice
    fluency: Choice

    def words(self) -> dict[str, Word]:
        """Dimension -> verdict."""
        return {name: getattr(self, name).word for name in DIMENSIONS}


@dataclass(frozen=True, slots=True)
class Prompt(PromptFile):
    """The prompt file of the judges."""

    system: str
    user: str
    dimensions: tuple[Mapping[str, str], ...]

    def messages(self, shown: Shown, order: int) -> list[Message]:
        """What a judge is sent.

        Args:
            shown: the question and the two answers.
            order: 0 shows model A's answer first, 1 model B's.
        """
        first, second = shown.answers if order == 0 else shown.answers[::-1]
        turns = [turn for turn in shown.question.messages if turn["role"] in _SPEAKERS]
        asked = filled(
            self.user,
            dimensions=self.dimensions,
            dialogue=len(turns) > 1,
            question=_question(turns),
            reference=_plain((shown.question.reference or "").strip()),
            first=_plain(first),
            second=_plain(second),
        )
        return [Message(role="system", content=self.system.strip()), Message(role="user", content=asked.strip())]


@functools.cache
def prompt() -> Prompt:
    """The packaged prompt."""
    data = resources.files(__package__).joinpath("prompts", FILE).read_bytes()
    read = read_prompt(data)
    dimensions = tuple({"name": name, **_unwrapped(read["dimensions"][name])} for name in DIMENSIONS)
    return Prompt(**{**read, "dimensions": dimensions})


def _unwrapped(texts: Mapping[str, str]) -> dict[str, str]:
    """Chinese lines of a file joined without the spaces that YAML would put between them."""
    return {name: "".join(text.splitlines()) for name, text in texts.items()}


def _question(turns: list[Message]) -> str:
    if len(turns) == 1:
        return _plain(turns[0]["content"].strip())
    return "\n".join(f"{_SPEAKERS[turn['role']]}：{_plain(turn['content'].strip())}" for turn in turns)


def _plain(text: str) -> str:
    return _MARK.sub("［", text)
