"""PedCorpus' instructions: each family of sources by its own rule, joined, each row once, the two sides apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pediatricsgpt.corpus.build import behaviour, distill, general, reconstruct, role_play, role_play_teacher
from pediatricsgpt.corpus.build.apart import apart
from pediatricsgpt.corpus.build.rows import Row
from pediatricsgpt.corpus.build.teacher import Built, OnDone
from pediatricsgpt.corpus.settings import BuildSettings
from pediatricsgpt.endpoint import Endpoint
from pediatricsgpt.records import Record, Reject

TeacherRule = Literal["role_play", "reconstruct", "distill"]
TEACHER_RULES: tuple[TeacherRule, ...] = ("role_play", "reconstruct", "distill")


@dataclass(frozen=True, slots=True)
class Instructions:
    """Rows, rejects and the passes of teachers.

    `counts` has `texts`, `dialogues`, `behaviour` and `general`: what went into the rules; `items`, how many questions
    and dialogues they made of it (a teacher makes one of every span), together with behaviour and general rows `read`;
    `kept` and `rejected`; and `preference_pairs`, the records that make pairs.
    """

    rows: list[Row]
    rejects: list[Reject]
    counts: dict[str, Any]
    passes: list[dict[str, Any]] = field(default_factory=list)


def build_instructions(
    records: Sequence[Record],
    settings: BuildSettings,
    recipe_folder: Path,
    teachers: Mapping[TeacherRule, Endpoint] | None = None,
    on_done: OnDone = None,
) -> Instructions:
    """Rows of the instruction schema from curated records, and what made no row, with reasons.

    Textbooks, guidelines and graphs by role play, conversations by reconstruction, distilled sets by progressive
    reconstruction, and the behaviour and general rows. Rows that come out equal are kept once: the first one. Then
    `apart` sees to it that no question and no long answer is on both sides of the split.

    Args:
        records: curated records.
        settings: of all rules.
        recipe_folder: what the files of the settings are relative to.
        teachers: the teacher of each rule that has one; the others go their way without.
        on_done: called with 1 for each answer of a teacher.

    Raises:
        UserError, BudgetReached: a teacher cannot go on; a later run does, with what is paid for.
        RuntimeError: a rule lost or invented something; what was read and what came out is said.
    """
    built = _by_rules(records, settings, teachers or {}, on_done)
    items = built.read
    _account("rules", items, len(built.rows), len(built.rejects))
    own = [*behaviour.instructions(resolved(settings, recipe_folder).behaviour)]
    replay = general.instructions(records, settings.general)
    rows: dict[str, Row] = {}
    again: list[Reject] = []
    for row in [*built.rows, *own, *replay]:
        if row["id"] in rows:
            again.append(Reject("instructions", "same row as another", f"row {row['id']}", row))
        else:
            rows[row["id"]] = row
    kept, crossing = apart(list(rows.values()), records)
    rejects = [*built.rejects, *again, *crossing]
    read = items + len(own) + len(replay)
    _account("instructions", read, len(kept), len(rejects))
    counts = {
        "texts": _of_shape(records, "text"),
        "dialogues": _of_shape(records, "messages"),
        "behaviour": len(own),
        "general": len(replay),
        "preference_pairs": _of_shape(records, "preference"),
        "items": items,
        **built.counts,
    }
    return Instructions(
        kept, rejects, {**counts, "read": read, "kept": len(kept), "rejected": len(rejects)}, built.passes
    )


def resolved(settings: BuildSettings, recipe_folder: Path) -> BuildSettings:
    """The settings with the paths of own behaviour files relative to the recipe's folder."""
    named = settings.behaviour
    files = {name: recipe_folder / path for name in ("file", "safety_file") if (path := getattr(named, name))}
    return settings.model_copy(update={"behaviour": named.model_copy(update=files)})


def _by_rules(
    records: Sequence[Record], settings: BuildSettings, teachers: Mapping[TeacherRule, Endpoint], on_done: OnDone
) -> Built:
    """The three rules that may have a teacher; every section of text and every dialogue goes through one of them."""
    built = Built()
    if teacher := teachers.get("role_play"):
        built += role_play_teacher.build(records, settings.role_play, teacher, on_done)
    else:
        built += _alone(role_play.instructions(records, settings.role_play), _of_shape(records, "text"))
    distilled = sum(record.shape == "messages" and record.family == "distilled" for record in records)
    if teacher := teachers.get("reconstruct"):
        built += reconstruct.build(records, settings.reconstruct, teacher, on_done)
    else:
        told = _of_shape(records, "messages") - distilled
        built += _alone(reconstruct.instructions(records, settings.reconstruct), told)
    if teacher := teachers.get("distill"):
        built += distill.build(records, settings.distill, teacher, on_done)
    else:
        built += _alone(distill.instructions(records, settings.distill), distilled)
    return built


def _alone(made: tuple[list[Row], list[Reject]], read: int) -> Built:
    return Built(*made, read=read)


def _account(what: str, read: int, kept: int, rejected: int) -> None:
    if kept + rejected != read:
        raise RuntimeError(f"{what}: {read} records read, but {kept} rows and {rejected} rejects")


def _of_shape(records: Sequence[Record], shape: str) -> int:
    return sum(record.shape == shape for record in records)
