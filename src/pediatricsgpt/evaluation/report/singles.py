"""Values of single items, and the case that each belongs to: what paired differences and intervals are made from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pediatricsgpt.evaluation.metrics import METRICS
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.files import RunFiles, expected

_COUNTED = {
    "failed": "items had no answer from the server and count as empty, with score 0",
    "items_too_long": "items do not fit the model's window and are left out",
    "missing": "items have no answer and are left out",
    "cut_off": "answers were cut at max_new_tokens",
    "selection_too_long": "items do not fit the window with all candidates and are left out of the selection",
}
"""Counts of a measuring step that change what its means say"""
_ROWS = ("predictions.jsonl", "choices.jsonl", "selection.jsonl")


def item_scores(run: RunFiles, name: str) -> dict[str, dict[str, float]]:
    """Item id -> metric -> value 0..1, from a file of single scores; empty if there is none.

    Raises:
        UserError: the file is damaged.
    """
    found = {}
    for line in run.stream(name):
        with expected(run.folder / name):
            found[str(line["id"])] = {metric: float(line[metric]) for metric in METRICS if metric in line}
    return found


def groups_of(run: RunFiles, folders: Iterable[str], items: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Item id -> the case that it belongs to, of items of which several belong to one.

    Args:
        run: whose files.
        folders: of models, all measured on the same benchmark.
        items: folder -> ids of its items; a folder without any that is not known yet is not read.

    Raises:
        UserError: a file is damaged.
    """
    found: dict[str, str] = {}
    known: set[str] = set()
    for folder in folders:
        if known.issuperset(items.get(folder, ())):
            continue
        for name in (f"{folder}/{file}" for file in _ROWS):
            for line in run.stream(name):
                with expected(run.folder / name):
                    if "id" in line:
                        known.add(str(line["id"]))
                        if line.get("group"):
                            found[str(line["id"])] = str(line["group"])
    return found


def counted(run: RunFiles, node: str) -> list[str]:
    """What a step counted that changes what its means say: items left out, answers that failed or were cut."""
    found = [(run.count(node, name), said) for name, said in _COUNTED.items()]
    return [f"{number:,} {said}" for number, said in found if isinstance(number, int) and number]


def unequal(items: Mapping[str, Collection[str]]) -> list[tuple[str, str]]:
    """A warning where models were not measured on the same items: their means are of different questions.

    Args:
        items: model -> ids of its items; models without any do not count.
    """
    sets = {model: frozenset(ids) for model, ids in items.items() if ids}
    if len(set(sets.values())) < 2:
        return []
    counts = ", ".join(f"{words.model(model)} {len(ids):,}" for model, ids in sets.items())
    common = len(frozenset.intersection(*sets.values()))
    text = (
        f"not the same items ({counts}; common to all {common:,}), for example because some do not fit a model's "
        "window: means stand for different questions, only the paired differences are of the same ones"
    )
    return [("all", text)]
