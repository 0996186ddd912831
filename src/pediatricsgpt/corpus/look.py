"""Looking into a built corpus: statistics, rows, rejects, and one row back to its file and line or page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Locator, read_json_lines, read_records, read_rows

if TYPE_CHECKING:
    from rich.table import Table

SETS = ("cpt", "sft", "experts", "preferences", "held_out")
_SHORT = 200


def corpus_folder(folder: Path) -> Path:
    """The corpus of a run's folder, or the folder itself if it is one.

    Raises:
        UserError: there is none.
    """
    for candidate in (folder / "corpus", folder):
        if (candidate / "curated").is_dir():
            return candidate
    raise UserError("no built corpus here; run `pedgpt corpus build RECIPE` first", folder)


def statistics(folder: Path) -> dict[str, Any]:
    """What `corpus/card/statistics.json` says, and of the preference pairs, once they are made, their own statistics.

    Raises:
        UserError: the corpus was not built to its end.
    """
    path = corpus_folder(folder) / "card" / "statistics.json"
    if not path.is_file():
        raise UserError("the corpus is not built to its end; run `pedgpt corpus build RECIPE`", path)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    pairs = corpus_folder(folder) / "preferences"
    if (pairs / "manifest.json").is_file() and (pairs / "statistics.json").is_file():
        made = json.loads((pairs / "statistics.json").read_text(encoding="utf-8"))
        found = {part: {**found[part], **made[part]} for part in found}
    return found


def rows(folder: Path, which: str, count: int) -> Iterator[str]:
    """The first rows of a set, as text.

    Raises:
        UserError: there is no such set, or it is not built.
    """
    if which not in SETS:
        raise UserError(f"no set '{which}'; there are {', '.join(SETS)}")
    for row in read_rows(corpus_folder(folder) / which / "rows.parquet")[:count]:
        yield f"-- {row['id']}  {row.get('task') or row.get('form') or row.get('aspect')}  {_place(row['source'])}"
        yield _text_of(row)
        yield ""


def rejects(folder: Path, count: int) -> Iterator[str]:
    """How many items each step dropped for which reason, then the first few of each step."""
    corpus = corpus_folder(folder)
    for path in sorted(corpus.rglob("rejects.jsonl")):
        # Only finished steps: another one may be at work, or was stopped in the middle.
        unfinished = any(part.endswith(".partial") for part in path.relative_to(corpus).parts)
        if unfinished or not (path.parent / "manifest.json").is_file():
            continue
        dropped = [row for _, row in read_json_lines(path)]
        if dropped:
            yield f"== {path.relative_to(corpus).parent}: {len(dropped)} rejected"
        for reason, number in Counter(row["reason"].split(":")[0] for row in dropped).most_common():
            yield f"   {number:6}  {reason}"
        for row in dropped[:count]:
            yield f"   - {row['where']}: {row['reason']}: {_shortened(json.dumps(row['row'], ensure_ascii=False))}"


def lineage(folder: Path, row_id: str) -> Iterator[str]:
    """Everything that is known of one row: labels, text, steps, parents, and its place in its source.

    Raises:
        UserError: no row of the corpus has this id.
    """
    corpus = corpus_folder(folder)
    found = _find(corpus, row_id)
    if not found:
        raise UserError(f"no row '{row_id}' in this corpus (a dropped one is in `corpus show --rejects`)", corpus)
    for place, row in found:
        yield f"{row_id} in {place}"
        yield from _described(row)
        yield "  text:"
        yield from (f"    {line}" for line in _text_of(row).split("\n"))
    for parent in found[0][1]["parents"]:
        yield ""
        yield f"made from {parent}:"
        yield from (f"  {line}" for line in lineage(folder, parent))


def _find(corpus: Path, row_id: str) -> list[tuple[str, dict[str, Any]]]:
    """All places that hold a row: the sets, the instructions, the curated records; repetitions of a set once."""
    found = []
    for name in (*SETS, "instructions"):
        path = corpus / name / "rows.parquet"
        if path.is_file():
            found += [(name, row) for row in read_rows(path) if row["id"] == row_id][:1]
    records = read_records(corpus / "curated" / "records.parquet")
    return found + [("curated", record.as_dict()) for record in records if record.id == row_id]


def _described(row: dict[str, Any]) -> Iterator[str]:
    source = row["source"]
    labels = ("task", "form", "aspect", "family", "department", "age_band", "age_months", "pediatric", "split", "group")
    for name in labels:
        if row.get(name) not in (None, ""):
            yield f"  {name}: {row[name]}"
    yield f"  source: {source['name']} ({source['kind']})"
    yield f"  place: {_place(source)}"
    yield f"  file hash: sha256 {source['file_hash']}"
    for name in ("licence", "consent", "purpose", "retrieved"):
        if source[name]:
            yield f"  {name}: {source[name]}"
    steps = (f"{step['name']} v{step['version']} (teacher: {step['teacher']})" for step in row["steps"])
    yield f"  steps: {' -> '.join(steps)}"


def _place(source: dict[str, Any]) -> str:
    return f"{source['file']}, {Locator(**source['locator'])}"


def _text_of(row: dict[str, Any]) -> str:
    """What a row of any contract says."""
    if row.get("text"):
        title = " / ".join(row.get("title") or [])
        return f"[{title}]\n{row['text']}" if title else str(row["text"])
    parts = [f"{turn['role']}: {turn['content']}" for turn in row.get("messages") or row.get("prompt") or []]
    for side in ("chosen", "rejected"):
        parts += [f"{side}: {turn['content']}" for turn in row.get(side) or []]
    return "\n".join(parts)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHORT else text[:_SHORT] + "…"


def statistics_tables(found: dict[str, Any]) -> Iterator[Table]:
    """The statistics as tables: one of the sets, one of what was dropped."""
    from rich.table import Table

    sets = Table(title="sets", title_justify="left")
    for column in ("set", "rows", "characters", "tasks"):
        sets.add_column(column, justify="left" if column in ("set", "tasks") else "right")
    for name, one in found["sets"].items():
        tasks = ", ".join(f"{task} {number:,}" for task, number in (one.get("task") or one.get("form") or {}).items())
        sets.add_row(name, f"{one['rows']:,}", f"{one['characters']:,}", tasks)
    yield sets
    if sides := found["sets"].get("preferences", {}).get("sides"):
        yield _sides_table(sides)
    dropped = Table(title="dropped", title_justify="left")
    dropped.add_column("step")
    dropped.add_column("reason")
    dropped.add_column("rows", justify="right")
    for step, reasons in found["rejects"].items():
        for reason, number in reasons.items():
            dropped.add_row(step, reason, f"{number:,}")
    yield dropped


def _sides_table(sides: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="sides of the preference pairs", title_justify="left")
    for column in ("side", "median length", "longer", "greeting", "list"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side, one in sides.items():
        shares = (f"{100 * one[name]:.0f} %" for name in ("longer", "greeting", "list"))
        table.add_row(side, f"{one['length'].get('p50', 0):,}", *shares)
    return table
