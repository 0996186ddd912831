"""The sets of a corpus in other tools' shapes: JSON lines for TRL, LLaMA-Factory, or with everything.

Every row keeps its `id`, so that `corpus show --id` leads from any exported row back to its source. Beside the sets
lies `LICENCES.md`: under which licence how many rows stand.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pediatricsgpt.corpus.look import SETS, contract_of, corpus_folder, damaged
from pediatricsgpt.corpus.stale import stale
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import read_rows, write_json_lines

Row = Mapping[str, Any]
FORMS = ("trl", "llamafactory", "jsonl")
LICENCES = "LICENCES.md"
DATASET_INFO = "dataset_info.json"
# Every tag by its name: LLaMA-Factory takes one that is left out for none, not for its default.
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
    "observation_tag": "observation",
    "function_tag": "function_call",
}


def export(folder: Path, form: str, out: Path, say: Callable[[str], None] = print) -> dict[str, int]:
    """Write every set that is built as JSON lines into a new folder.

    A set that is older than what it was made from is left out: it may hold rows that are held out now.

    Args:
        folder: a run's folder, or its corpus.
        form: `trl` (`text`; `messages`; `prompt`, `chosen`, `rejected`, as TRL's trainers take them), `llamafactory`
            (the same with one message a side, and its `dataset_info.json`), or `jsonl` (all columns, provenance
            included).
        out: the folder to make; it must not be there yet or be empty.
        say: told, in a line each, which sets are left out and why.

    Returns:
        Rows by set.

    Raises:
        UserError: the form is unknown, no set is built or fit to be handed on, `out` holds something, or a file of the
            corpus is damaged.
    """
    if form not in FORMS:
        raise UserError(f"no form '{form}'; there are {', '.join(FORMS)}")
    corpus = corpus_folder(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("there is something already; name a new folder", out)
    built = _built(corpus, say)
    out.parent.mkdir(parents=True, exist_ok=True)
    # A folder of our own beside it: whatever has a name there already is not ours.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        partial = Path(place) / "sets"
        partial.mkdir()
        counts = _write_sets(corpus, built, form, partial)
        if out.is_dir():
            out.rmdir()
        partial.rename(out)
    return counts


def _built(corpus: Path, say: Callable[[str], None]) -> list[str]:
    """The finished sets that fit what they were made from."""
    built = [name for name in SETS if (corpus / name / "manifest.json").is_file()]
    if not built:
        raise UserError("no set is built yet; run `pedgpt corpus build RECIPE` first", corpus)
    old = {name: why for name in built if (why := stale(corpus, name))}
    again = "`pedgpt run RECIPE` makes it again"
    if len(old) == len(built):
        name, why = next(iter(old.items()))
        raise UserError(f"every set is stale, {name} because {why}; {again}", corpus)
    for name, why in old.items():
        say(f"{name} is left out: it is stale, {why}; {again}")
    return [name for name in built if name not in old]


def _write_sets(corpus: Path, built: Sequence[str], form: str, out: Path) -> dict[str, int]:
    counts, licences = {}, Counter[tuple[str, ...]]()
    for name in built:
        path = corpus / name / "rows.parquet"
        with damaged(path):
            rows = read_rows(path, contract_of(name))
        write_json_lines(out / f"{name}.jsonl", map(_SHAPES[form], rows))
        counts[name] = len(rows)
        licences.update((name, *(row["source"][field] for field in ("name", "licence", "consent"))) for row in rows)
    (out / LICENCES).write_text(licence_table(licences), encoding="utf-8")
    if form == "llamafactory":
        info = {f"pedcorpus_{name}": _dataset_info(name) for name in built}
        (out / DATASET_INFO).write_text(json.dumps(info, indent=2), encoding="utf-8")
    return counts


def licence_table(rows: Mapping[tuple[str, ...], int]) -> str:
    """A Markdown table of the rows by set, source, licence and consent."""
    lines = ["# Licences (许可)", "", "Whoever shares these rows must honour the licence of each source.", ""]
    lines += ["| set | source | licence | consent | rows |", "|---|---|---|---|---:|"]
    for (name, source, licence, consent), number in sorted(rows.items()):
        cells = (each.replace("|", "\\|").replace("\n", " ") for each in (name, source, licence, consent))
        lines.append(f"| {' | '.join(cells)} | {number:,} |")
    return "\n".join(lines) + "\n"


def _trl(row: Row) -> dict[str, Any]:
    columns = ("text",) if "text" in row else ("messages",) if "messages" in row else ("prompt", "chosen", "rejected")
    return {"id": row["id"], **{column: row[column] for column in columns}}


def _llamafactory(row: Row) -> dict[str, Any]:
    shaped = _trl(row)
    for side in ("chosen", "rejected"):
        if side in shaped:
            if len(shaped[side]) != 1:
                raise UserError(f"row {row['id']}: LLaMA-Factory takes one message a side, '{side}' has several")
            shaped[side] = shaped[side][0]
    return shaped


_SHAPES: Mapping[str, Callable[[Row], Mapping[str, Any]]] = {"trl": _trl, "llamafactory": _llamafactory, "jsonl": dict}


def _dataset_info(name: str) -> dict[str, Any]:
    """The entry of one set, as LLaMA-Factory's data README describes it."""
    file = {"file_name": f"{name}.jsonl"}
    if name == "cpt":
        return {**file, "columns": {"prompt": "text"}}
    if name == "preferences":
        columns = {"messages": "prompt", "chosen": "chosen", "rejected": "rejected"}
        return {**file, "formatting": "sharegpt", "ranking": True, "columns": columns, "tags": _TAGS}
    return {**file, "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": _TAGS}
