"""Writing a training set: without what the test sets hold, and with some rows apart by which its phase is watched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pediatricsgpt.records import Reject, SchemaName, read_rows, write_json_lines, write_rows
from pediatricsgpt.run import Context

ROWS = "rows.parquet"
VALIDATION = "validation.parquet"
"""Rows of a set's kind by which its phase is watched while it trains; of scores only the perplexity of texts is taken
on them"""
GENERAL_VALIDATION = "validation_general.parquet"
"""Those of them that are general text"""
REJECTS = "rejects.jsonl"
LEAKAGE = "leakage.json"
HELD_OUT = "corpus/held_out"


def write_rejects(context: Context, rejects: list[Reject]) -> None:
    """Keep what a step left out."""
    write_json_lines(context.folder / REJECTS, [reject.as_dict() for reject in rejects])


def write_json(path: Path, value: Any) -> None:
    """Figures for people and for the report."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def write_training_set(
    context: Context, rows: list[dict[str, Any]], contract: SchemaName, rejects: list[Reject] | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Write a training set without what the test sets hold, with its leakage report and its rejects.

    The rows by which the phase is watched are written beside it.

    Returns:
        The rows that are left to train on, and counts for the manifest.
    """
    kept, dropped, report = without_test_items(context, rows)
    trained, validation = apart(context, kept)
    write_set(context, trained, contract, [*(rejects or []), *dropped], report)
    write_validation(context, validation, contract)
    return trained, {"rows": len(trained), "validation_rows": len(validation), "decontaminated": len(dropped)}


def apart(context: Context, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows to train on, and those by which the phase is watched."""
    from pediatricsgpt.corpus.split import take_validation

    return take_validation(rows, context.recipe.corpus.split.validation, context.recipe.seed)


def write_validation(
    context: Context, rows: list[dict[str, Any]], contract: SchemaName, name: str = VALIDATION
) -> None:
    """The rows of a set by which a phase is watched; no file where there are none."""
    if rows:
        write_rows(context.folder / name, rows, contract)


def without_test_items(
    context: Context, rows: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[Reject], dict[str, Any]]:
    """Rows that hold nothing of the held-out rows and the named test sets, the others, and the leakage report."""
    from pediatricsgpt.corpus.decontaminate import build_index, decontaminate, load_test_set, row_items

    settings = context.recipe.corpus.decontaminate
    test_sets = {"held_out": row_items(read_rows(context.inputs[HELD_OUT] / ROWS, "instruction"))}
    named = [load_test_set(one, context.recipe_folder) for one in settings.against]
    test_sets |= {one.name: one.items for one in named}
    unread = {one.name: one.rejects for one in named}
    return decontaminate(rows, build_index(test_sets, settings), settings, context.folder.stem, unread)


def write_set(
    context: Context, rows: list[dict[str, Any]], contract: SchemaName, rejects: list[Reject], report: dict[str, Any]
) -> None:
    """Write a set as it is, with its rejects and its leakage report."""
    write_rows(context.folder / ROWS, rows, contract)
    write_rejects(context, rejects)
    write_json(context.folder / LEAKAGE, report)
