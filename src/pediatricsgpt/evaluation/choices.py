"""Multiple choice, true or false, pairing: what a model finds likeliest, and what it says.

By likelihood, the field's usual way (MMLU, CMMLU, lm-evaluation-harness): the log-probability of each option's letter
as the answer to the prompt, the largest is the choice. A local model's figure, of questions with one right option
alone: subsets of letters have different lengths, and their likelihoods no common measure. By letter: the model answers
in its own words and the letters are read out of them, of all kinds; several right options count where exactly these
are named (CMB, CMExam), a pairing has 3 points when whole, 1 in part, 0 else (PediaBench).
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.evaluation.in_groups import InGroups, by_field
from pediatricsgpt.evaluation.letters import read_letters, read_pairing, read_true_false
from pediatricsgpt.evaluation.likelihood import next_log_probabilities
from pediatricsgpt.evaluation.prompt_files import PromptFile, read_prompt
from pediatricsgpt.evaluation.statistics import RESAMPLES, SEED, bootstrap_ratio, bootstrap_share
from pediatricsgpt.manifest import write_atomically
from pediatricsgpt.models.encode import encode_answer
from pediatricsgpt.models.load import Loaded, identity
from pediatricsgpt.records import Message, write_json_lines

CHOICES = "choices.json"
ROWS = "choices.jsonl"
STRATA = ("department", "subject", "age_band", "kind")
READING = 1
"""Version of the way in which letters are read out of answers"""
NO_ENDPOINT = "an endpoint gives no probabilities of given answers"
NO_SINGLE = "no question has exactly one right option"
_PROMPT = Path(__file__).with_name("prompts") / "choice_zh.yaml"
_PAIRING_POINTS, _PARTLY = 3.0, 1.0


@dataclass(frozen=True, slots=True)
class ChoicePrompt(PromptFile):
    """The words around questions with options, with `{question}` and `{options}` to fill in."""

    one: str
    several: str
    true_false: str
    pairing: str

    def messages(self, item: Item) -> list[Message]:
        """The dialogue with its last question in the words of this prompt."""
        several = item.kind == "choice" and len(item.key or ()) > 1
        words = self.several if several else self.one if item.kind == "choice" else getattr(self, item.kind)
        options = "\n".join(f"{letter}. {text}" for letter, text in (item.options or {}).items())
        asked = words.format(question=item.question, options=options)
        return [*item.messages[:-1], Message(role="user", content=asked)]


@functools.cache
def choice_prompt() -> ChoicePrompt:
    """The packaged prompt, in Chinese and without examples."""
    return ChoicePrompt(**read_prompt(_PROMPT.read_bytes()))


@dataclass(slots=True)
class Choice:
    """What a model chose of one item, both ways."""

    item: Item
    log_probabilities: dict[str, float] | None
    """Of each option as the answer, in nats; None where it was not measured"""
    answer: str | None
    """In its own words; None where it was not asked for"""

    @property
    def likeliest(self) -> str | None:
        """The option with the largest log-probability. Of equal ones the first in the alphabet."""
        told = self.log_probabilities
        return min(told, key=lambda letter: (-told[letter], letter)) if told else None

    @property
    def likely_right(self) -> bool | None:
        """Whether that is the right one."""
        return None if self.likeliest is None else (self.likeliest,) == self.item.key

    @property
    def chosen(self) -> tuple[str | None, ...] | None:
        """What the answer names; None where nothing can be read."""
        options = self.item.options or {}
        if self.answer is None:
            return None
        if self.item.kind == "true_false":
            return read_true_false(self.answer)
        if self.item.kind == "pairing":
            return read_pairing(self.answer, len(self.item.key or ()), list(options))
        return read_letters(self.answer, options)

    @property
    def worth(self) -> float:
        """Points that can be had."""
        return _PAIRING_POINTS if self.item.kind == "pairing" else 1.0

    def points(self, chosen: tuple[str | None, ...] | None) -> float:
        """Points for a choice. A pairing that is right in part has 1 of 3, but none where it repeats the options in
        the order in which they were shown, as in PediaBench's own scoring.
        """
        if chosen is None:
            return 0.0
        if chosen == self.item.key:
            return self.worth
        if self.item.kind != "pairing" or chosen == tuple(self.item.options or ()):
            return 0.0
        pairs = zip(chosen, self.item.key or (), strict=True)
        return _PARTLY if any(one == right for one, right in pairs) else 0.0

    def row(self) -> dict[str, Any]:
        """One line of `choices.jsonl`."""
        chosen, item = self.chosen, self.item
        labels = {name: getattr(item, name) for name in ("kind", "department", "subject", "age_band", "group")}
        by_letter = None if chosen is None else [letter or "-" for letter in chosen]
        right = self.likely_right if self.answer is None or self.likely_right is not None else chosen == item.key
        return {
            "id": item.id,
            **{name: value for name, value in labels.items() if value is not None},
            "key": list(item.key or ()),
            "by_likelihood": self.likeliest,
            "log_probabilities": self.log_probabilities,
            "by_letter": by_letter,
            "answer": self.answer,
            "points": None if self.answer is None else self.points(chosen),
            "worth": self.worth,
            "right": right,
        }


class LetterLikelihood(InGroups):
    """Log-probabilities of the options' letters; see `InGroups` for the arguments."""

    def __init__(self, loaded: Loaded, items: Sequence[Item], group: int = 64) -> None:
        super().__init__(loaded, items, group)

    @property
    def signature(self) -> list[Any]:
        """What the figures depend on besides the prompts."""
        return ["letter likelihood", identity(self._loaded), [list(item.options or ()) for item in self._items]]

    def _measured(self, prompts: Sequence[Sequence[Message]], items: Sequence[Item]) -> list[dict[str, float]]:
        letters = [list(item.options or ()) for item in items]
        return letter_log_probabilities(self._loaded, prompts, letters)


def letter_log_probabilities(
    loaded: Loaded, prompts: Sequence[Sequence[Message]], letters: Sequence[Sequence[str]], batch_tokens: int = 4096
) -> list[dict[str, float]]:
    """For each prompt, letter -> its log-probability in nats as the beginning of the answer.

    The end of the answer is not counted: whether a model would explain itself is not the question.
    """
    starts, endings = [], []
    for prompt, some in zip(prompts, letters, strict=True):
        told = [encode_answer(loaded.tokenizer, prompt, Message(role="assistant", content=one)) for one in some]
        starts.append(told[0][0])
        endings.append([answer[:-1] for _, answer in told])
    found = next_log_probabilities(loaded, starts, endings, batch_tokens)
    return [
        {letter: round(value, 6) for letter, value in zip(some, values, strict=True)}
        for some, values in zip(letters, found, strict=True)
    ]


def single(item: Item) -> bool:
    """Whether likelihood can choose: one right option, and no pairing."""
    return item.kind != "pairing" and len(item.key or ()) == 1


def write_choices(
    folder: Path,
    choices: Sequence[Choice],
    benchmark: str,
    model: str,
    prompt: ChoicePrompt | None,
    why_no_likelihood: str | None = None,
) -> dict[str, Any]:
    """Write `choices.jsonl` and `choices.json`; returns what the latter says.

    Args:
        prompt: how it was asked; None where nobody here knows.
        why_no_likelihood: why there are no log-probabilities.
    """
    rows = folder / (ROWS + ".partial")
    write_json_lines(rows, [choice.row() for choice in choices])
    rows.replace(folder / ROWS)
    told = [choice for choice in choices if choice.log_probabilities]
    said = [choice for choice in choices if choice.answer is not None]
    how = f"{prompt.name} v{prompt.version}, zero-shot" if prompt else "asked elsewhere"
    found = {
        "benchmark": benchmark,
        "model": model,
        "n": len(choices),
        "signature": f"choices | n {len(choices)} | {how} | letters read v{READING} | bootstrap by case, {RESAMPLES} "
        f"resamples, seed {SEED}",
        "prompt": prompt.described() if prompt else None,
        "by_likelihood": _both(told, by_letter=False) if told else None,
        "by_letter": _both(said, by_letter=True) if said else None,
        "chance": _chance(told or said),
        "chosen": {way: dict(sorted(_letters(choices, way).items())) for way in ("by_likelihood", "by_letter")},
        "strata": by_field(STRATA, [choice.item for choice in choices], choices, _stratum),
        "why_no_likelihood": why_no_likelihood if not told else None,
    }
    write_atomically(folder / CHOICES, json.dumps(found, ensure_ascii=False, indent=1))
    return found


def _chance(choices: Sequence[Choice]) -> float | None:
    """The accuracy of somebody who draws lots, of questions with one right option."""
    shares = [1 / len(choice.item.options or ()) for choice in choices if single(choice.item)]
    return sum(shares) / len(shares) if shares else None


def _stratum(choices: Sequence[Choice]) -> dict[str, Any]:
    told = [choice for choice in choices if choice.log_probabilities]
    said = [choice for choice in choices if choice.answer is not None]
    return {
        "n": len(choices),
        "by_likelihood": _accuracy(told, by_letter=False) if told else None,
        "by_letter": _accuracy(said, by_letter=True) if said else None,
    }


def _both(choices: Sequence[Choice], by_letter: bool) -> dict[str, Any]:
    """Accuracy (all right or not), the share of all points that can be had, and what could not be read."""
    points = [choice.points(_chosen(choice, by_letter)) for choice in choices]
    cases = [choice.item.case for choice in choices]
    share = asdict(bootstrap_ratio(points, [choice.worth for choice in choices], groups=cases))
    found = {"accuracy": _accuracy(choices, by_letter), "points": share}
    return {**found, "unreadable": sum(one.chosen is None for one in choices)} if by_letter else found


def _accuracy(choices: Sequence[Choice], by_letter: bool) -> dict[str, Any]:
    right = [float(_chosen(choice, by_letter) == choice.item.key) for choice in choices]
    return asdict(bootstrap_share(right, groups=[choice.item.case for choice in choices]))


def _chosen(choice: Choice, by_letter: bool) -> tuple[str | None, ...] | None:
    return choice.chosen if by_letter else (choice.likeliest,)


def _letters(choices: Sequence[Choice], way: str) -> Counter[str]:
    """How often each letter was chosen of questions with one right option: a model may love its A."""
    alone = [choice for choice in choices if single(choice.item)]
    named = [_chosen(choice, way == "by_letter") or () for choice in alone]
    return Counter(letter for some in named for letter in some if letter)
