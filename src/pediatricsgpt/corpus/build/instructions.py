"""PedCorpus' instructions: each family of sources by its own rule, joined, each row once, the two sides apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.corpus.build import behaviour, distill, reconstruct, role_play
from pediatricsgpt.corpus.build.apart import apart
from pediatricsgpt.corpus.build.rows import Row
from pediatricsgpt.corpus.settings import BuildSettings
from pediatricsgpt.records import Record, Reject


@dataclass(frozen=True, slots=True)
class Instructions:
    """Rows and rejects. `counts` has `texts`, `dialogues` and `behaviour`, together `read`; `kept` and `rejected`;
    and `preference_pairs`, the records that make pairs and no instructions.
    """

    rows: list[Row]
    rejects: list[Reject]
    counts: dict[str, int]


def build_instructions(records: Sequence[Record], settings: BuildSettings, recipe_folder: Path) -> Instructions:
    """Rows of the instruction schema from curated records, and what made no row, with reasons.

    Textbooks, guidelines and graphs by role play, conversations by reconstruction, distilled sets by selection, and
    the self-cognition rows. Rows that come out equal are kept once: the first one. Then `apart` sees to it that no
    question and no long answer is on both sides of the split.

    Raises:
        RuntimeError: a rule lost or invented something; what was read and what came out is said.
    """
    named = settings.behaviour.file
    own = settings.behaviour.model_copy(update={"file": recipe_folder / named if named else None})
    played, not_played = role_play.instructions(records, settings.role_play)
    told, not_told = reconstruct.instructions(records, settings.reconstruct)
    distilled, not_distilled = distill.instructions(records)
    about_itself = behaviour.instructions(own)
    rows: dict[str, Row] = {}
    again: list[Reject] = []
    for row in [*played, *told, *distilled, *about_itself]:
        if row["id"] in rows:
            again.append(Reject("instructions", "same row as another", f"row {row['id']}", row))
        else:
            rows[row["id"]] = row
    kept, crossing = apart(list(rows.values()), records)
    rejects = [*not_played, *not_told, *not_distilled, *again, *crossing]
    counts = {
        "texts": _of_shape(records, "text"),
        "dialogues": _of_shape(records, "messages"),
        "behaviour": len(about_itself),
        "preference_pairs": _of_shape(records, "preference"),
    }
    read = len(records) - counts["preference_pairs"] + counts["behaviour"]
    if len(kept) + len(rejects) != read:
        raise RuntimeError(f"instructions: {read} records read, but {len(kept)} rows and {len(rejects)} rejects")
    return Instructions(kept, rejects, {**counts, "read": read, "kept": len(kept), "rejected": len(rejects)})


def _of_shape(records: Sequence[Record], shape: str) -> int:
    return sum(record.shape == shape for record in records)
