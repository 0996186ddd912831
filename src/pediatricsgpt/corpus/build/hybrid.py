"""The CPT stream (paper section 3): plain domain text, mixed with instructions written as completions.

The hybrid instruction mechanism gives what is to be learned the form that a base model already knows: running text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from typing import Any

import yaml

from pediatricsgpt.corpus.build.pieces import pieces
from pediatricsgpt.corpus.build.role_play import statement, without_number
from pediatricsgpt.corpus.build.rows import Row, derived, rank, shuffled, trained
from pediatricsgpt.corpus.rules import pattern
from pediatricsgpt.corpus.settings import HybridSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import PEDIATRIC_TASKS, Message, Record, Step, provenance

STEP = Step("hybrid", 2)
GENERAL_KIND = "text"
_NOT_TOLD = ("self", "safety")  # behaviour is taught in phase 2, where the loss is on the answer alone
_LONGEST_SUBJECT = 40

Length = Callable[[str], int]


def cpt_set(
    records: Iterable[Record], rows: Iterable[Row], settings: HybridSettings, seed: int, length: Length | None = None
) -> list[Row]:
    """Rows of the CPT schema in a shuffled order, from training records and training rows only.

    All domain text is in it; general text and instructions are drawn up to their shares of the whole.

    Args:
        records: curated records; their sections of text become pieces of form `plain`.
        rows: instruction rows; those of medical and general tasks become form `instruction`.
        settings: how long a piece is, and the shares.
        seed: of the order, and of the choice among general texts and instructions.
        length: how many tokens a text has; needed where `settings.unit` is tokens, characters are counted here.

    Raises:
        UserError: the two shares together leave nothing for the domain.
        ValueError: tokens are to be counted, and nothing was given that counts them.
    """
    length = _length(settings, length)
    domain: list[Row] = []
    general: list[Row] = []
    for record in records:
        if record.split == "train":
            (general if is_general(record) else domain).extend(_plain(record, settings))
    if not domain:
        domain, general = general, []  # nothing to hold its share against
    told = [_told(row) for row in rows if trained(row) and row["task"] not in _NOT_TOLD]
    plain, at_hand = (sum(length(row["text"]) for row in part) for part in (domain, told))
    replay_budget = _replay_budget(plain, at_hand, settings) if general else 0
    replay = list(_within(shuffled(general, seed), replay_budget, length))
    whole = plain + sum(length(row["text"]) for row in replay)
    budget = whole * settings.instruction_share / (1 - settings.instruction_share)
    return shuffled([*domain, *replay, *_within(shuffled(told, seed), budget, length)], seed)


def _length(settings: HybridSettings, length: Length | None) -> Length:
    if settings.unit == "characters":
        return length or len
    if length is None:
        raise ValueError("the shares are counted in tokens: give the tokenizer's length of a text")
    return length


def _replay_budget(domain: int, told: int, settings: HybridSettings) -> float:
    """Units of general text that are at most their share of the whole, however many instructions there will be.

    Args:
        domain: units of domain text.
        told: units of all instructions that could be drawn.
        settings: the two shares.
    """
    rest = 1 - settings.instruction_share - settings.general_share
    if rest <= 0:
        raise UserError(
            f"instruction_share {settings.instruction_share} and general_share {settings.general_share} leave nothing "
            "for domain text; lower one of them",
            "corpus.build.cpt",
        )
    if told < domain * settings.instruction_share / rest:  # fewer than their share
        return (domain + told) * settings.general_share / (1 - settings.general_share)
    return domain * settings.general_share / rest


def is_general(record: Record) -> bool:
    """Whether a record is general text, which is in the stream against forgetting."""
    return record.source.kind == GENERAL_KIND and not record.pediatric


def account(
    records: Sequence[Record], rows: Iterable[Row], built: Sequence[Row], length: Length = len
) -> dict[str, int]:
    """What became of the training texts and rows that `cpt_set` was given: used, or left out for which reason.

    Args:
        records: as for `cpt_set`.
        rows: as for `cpt_set`.
        built: what it gave back.
        length: as for `cpt_set`; `units_*` are counted in it.
    """
    texts = {record.id: is_general(record) for record in records if record.split == "train" and record.shape == "text"}
    train = [row for row in rows if trained(row)]
    behaviour = sum(row["task"] in _NOT_TOLD for row in train)
    told = [row for row in built if row["form"] == "instruction"]
    plain = [row for row in built if row["form"] == "plain"]
    general = [row for row in plain if texts[row["parents"][0]]]
    used = {parent for row in plain for parent in row["parents"]}
    units_general = sum(length(row["text"]) for row in general)
    return {
        "texts": len(texts),
        "texts_used": len(used),
        "texts_without_medicine": sum(not general for name, general in texts.items() if name not in used),
        "texts_general_not_drawn": sum(general for name, general in texts.items() if name not in used),
        "pieces": len(plain),
        "pieces_general": len(general),
        "instructions": len(train),
        "instructions_used": len(told),
        "left_out_behaviour": behaviour,
        "left_out_budget": len(train) - behaviour - len(told),
        "units_domain": sum(length(row["text"]) for row in plain) - units_general,
        "units_general": units_general,
        "units_instruction": sum(length(row["text"]) for row in told),
    }


def _plain(record: Record, settings: HybridSettings) -> Iterator[Row]:
    """Pieces of a section, each under its headings; a fact of a knowledge graph as a sentence.

    Lists of names and references teach no medicine and make none.
    """
    if record.shape != "text" or pattern("questions", "no_text").search(without_number((record.title or [""])[-1])):
        return
    graph = record.source.kind == "knowledge_graph"
    heading = "" if graph else " ".join(filter(None, map(without_number, record.title)))
    for piece in pieces(statement(record) if graph else record.text, settings.max_characters):
        content = {"text": f"{heading}\n{piece}" if heading else piece, "form": "plain"}
        yield {**content, **provenance(content, record, STEP)}


def _told(row: Row) -> Row:
    text = as_text(row["messages"], row["task"], row["family"], int(rank(0, row["id"])[:8], 16))
    return derived(row, {"text": text, "form": "instruction"}, STEP)


def as_text(messages: Sequence[Message], task: str, family: str, form: int = 0) -> str:
    """A dialogue as running text, in one of the forms of `completion.yaml`.

    Args:
        messages: the dialogue; a system turn stands before it.
        task: of the row; the pediatric ones have forms of their own.
        family: of the row.
        form: any number; it chooses among the forms, 0 is the plainest.
    """
    before = "".join(f"{turn['content']}\n" for turn in messages if turn["role"] == "system")
    turns = [turn for turn in messages if turn["role"] != "system"]
    if [turn["role"] for turn in turns] == ["user", "assistant"]:
        question, answer = turns[0]["content"], turns[1]["content"]
        return before + _single(question, answer, task in PEDIATRIC_TASKS, form)
    speakers = "general" if family == "general" else "pediatric" if task in PEDIATRIC_TASKS else "patient"
    named = _forms()[f"{speakers}_speakers"]
    asker, answerer = named[form % len(named)]
    names = {"user": asker, "assistant": answerer}
    return before + "\n".join(f"{names[turn['role']]}：{turn['content']}" for turn in turns)


def _single(question: str, answer: str, pediatric: bool, form: int) -> str:
    templates: list[str] = _forms()["single"] + (_forms()["pediatric"] if pediatric else [])
    template = templates[form % len(templates)]
    subject = question.rstrip("？?。.！! ")
    if "{subject}" in template and (len(subject) > _LONGEST_SUBJECT or "\n" in subject):
        template = templates[0]  # a long question makes no heading
    values = {"question": question, "answer": answer, "subject": subject}
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)


@functools.cache
def _forms() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(
        resources.files(__package__).joinpath("completion.yaml").read_text(encoding="utf-8")
    )
    return content


def _within(rows: Iterable[Row], budget: float, length: Length) -> Iterator[Row]:
    """Rows from the front until the next one would exceed the budget."""
    for row in rows:
        budget -= length(row["text"])
        if budget < 0:
            return
        yield row
