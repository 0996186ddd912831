"""The CPT stream (paper section 3): plain domain text, mixed with instructions written as completions.

The hybrid instruction mechanism gives what is to be learned the form that a base model already knows: running text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pediatricsgpt.corpus.build.pieces import pieces
from pediatricsgpt.corpus.build.role_play import statement, without_number
from pediatricsgpt.corpus.build.rows import Row, derived, shuffled, trained
from pediatricsgpt.corpus.rules import pattern
from pediatricsgpt.corpus.settings import HybridSettings
from pediatricsgpt.records import PEDIATRIC_TASKS, Message, Record, Step, provenance

STEP = Step("hybrid", 1)
_NOT_TOLD = ("self", "safety")  # behaviour is taught in phase 2, where the loss is on the answer alone


def cpt_set(records: Iterable[Record], rows: Iterable[Row], settings: HybridSettings, seed: int) -> list[Row]:
    """Rows of the CPT schema in a shuffled order, from training records and training rows only.

    Args:
        records: curated records; their sections of text become pieces of form `plain`.
        rows: instruction rows; those of medical and general tasks become form `instruction`.
        settings: how long a piece is, and how much of the stream's characters instructions may be.
        seed: of the order, and of the choice among the instructions.
    """
    plain = [piece for record in records if record.split == "train" for piece in _plain(record, settings)]
    told = [_told(row) for row in rows if trained(row) and row["task"] not in _NOT_TOLD]
    budget = sum(len(row["text"]) for row in plain) * settings.instruction_share / (1 - settings.instruction_share)
    return shuffled([*plain, *_within(shuffled(told, seed), budget)], seed)


def account(records: Iterable[Record], rows: Iterable[Row], built: Sequence[Row]) -> dict[str, int]:
    """What became of the training texts and rows that `cpt_set` was given: used, or left out for which reason.

    Args:
        records: as for `cpt_set`.
        rows: as for `cpt_set`.
        built: what it gave back.
    """
    texts = {record.id for record in records if record.split == "train" and record.shape == "text"}
    train = [row for row in rows if trained(row)]
    behaviour = sum(row["task"] in _NOT_TOLD for row in train)
    told = sum(row["form"] == "instruction" for row in built)
    used = {parent for row in built if row["form"] == "plain" for parent in row["parents"]}
    return {
        "texts": len(texts),
        "texts_used": len(used),
        "texts_without_medicine": len(texts - used),
        "pieces": len(built) - told,
        "instructions": len(train),
        "instructions_used": told,
        "left_out_behaviour": behaviour,
        "left_out_budget": len(train) - behaviour - told,
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
    return derived(row, {"text": as_text(row["messages"], row["task"], row["family"]), "form": "instruction"}, STEP)


def as_text(messages: Sequence[Message], task: str, family: str) -> str:
    """A dialogue as running text: 问/答 for one exchange, 家长/医生 or 患者/医生 for a consultation of several."""
    asker, answerer = "问", "答"
    if sum(message["role"] == "user" for message in messages) > 1 and family != "general":
        asker, answerer = ("家长" if task in PEDIATRIC_TASKS else "患者"), "医生"
    names = {"user": f"{asker}：", "assistant": f"{answerer}：", "system": ""}
    return "\n".join(names[message["role"]] + message["content"] for message in messages)


def _within(rows: Iterable[Row], budget: float) -> Iterator[Row]:
    """Rows from the front until the next one would exceed the budget of characters."""
    for row in rows:
        budget -= len(row["text"])
        if budget < 0:
            return
        yield row
