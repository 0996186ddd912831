"""PedCorpus' instructions: each family of sources by its own rule, joined, each row once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pediatricsgpt.corpus.build import behaviour, distill, reconstruct, role_play
from pediatricsgpt.corpus.build.rows import Row
from pediatricsgpt.corpus.settings import BuildSettings
from pediatricsgpt.records import Record, Reject


def build_instructions(
    records: Sequence[Record], settings: BuildSettings, recipe_folder: Path
) -> tuple[list[Row], list[Reject]]:
    """Rows of the instruction schema from curated records, and what made no row, with reasons.

    Textbooks, guidelines and graphs by role play, conversations by reconstruction, distilled sets by selection, and
    the self-cognition rows. Rows that come out equal are kept once: the first one.
    """
    named = settings.behaviour.file
    own = settings.behaviour.model_copy(update={"file": recipe_folder / named if named else None})
    played, not_played = role_play.instructions(records, settings.role_play)
    told, not_told = reconstruct.instructions(records, settings.reconstruct)
    distilled, not_distilled = distill.instructions(records)
    rows: dict[str, Row] = {}
    again: list[Reject] = []
    for row in [*played, *told, *distilled, *behaviour.instructions(own)]:
        if row["id"] in rows:
            again.append(Reject("instructions", "same row as another", f"row {row['id']}", row))
        else:
            rows[row["id"]] = row
    return list(rows.values()), [*not_played, *not_told, *not_distilled, *again]
