"""General rows for SFT and replay: the preferred sides of some general preference pairs, as instructions.

What the assistant knew before must stay. The pairs that are used here are barred from the preference set, so that no
answer is learned twice. General dialogues and the general items of distilled sets come by their own rules.
"""

from __future__ import annotations

from collections.abc import Iterable

from pediatricsgpt.corpus.build.rows import Row, instruction_row, rank
from pediatricsgpt.corpus.settings import GeneralSettings
from pediatricsgpt.records import Record, Step

STEP = Step("general", 1)


def instructions(records: Iterable[Record], settings: GeneralSettings) -> list[Row]:
    """Rows of task `general` from a share of the preference records; which ones depends on their ids alone.

    Held-out pairs make held-out rows.
    """
    rows: list[Row] = []
    for record in records:
        if (
            record.shape == "preference"
            and int(rank(0, "general", record.id)[:8], 16) < settings.preference_share * 2**32
        ):
            rows.append(instruction_row(record, [*record.messages, *record.chosen], "general", STEP))
    return rows


def barred(rows: Iterable[Row]) -> set[str]:
    """The ids of the preference records that these instruction rows were made from."""
    return {parent for row in rows if row["steps"][-1]["name"] == STEP.name for parent in row["parents"]}
