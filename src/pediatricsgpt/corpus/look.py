"""Looking into a built corpus: statistics, rows, rejects, and one row back to its file and line or page."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.corpus.stale import stale
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Locator, SchemaName, read_json_lines, schema

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table

SETS = ("cpt", "sft", "experts", "preferences", "held_out")
_SHORT = 200
_FEW = 64
_UNFINISHED = (".partial", ".old")


def corpus_folder(folder: Path) -> Path:
    """The corpus of a run's folder, or the folder itself if it is one.

    Raises:
        UserError: there is none.
    """
    for candidate in (folder / "corpus", folder):
        if (candidate / "curated").is_dir():
            return candidate
    raise UserError("no built corpus here; run `pedgpt corpus build RECIPE` first", folder)


def contract_of(name: str) -> SchemaName:
    """The data contract of the rows in a folder of the corpus."""
    named: dict[str, SchemaName] = {"cpt": "cpt", "preferences": "preference", "curated": "record"}
    return named.get(name, "instruction")


def _again(path: Path) -> str:
    command = "run" if path.parent.name == "preferences" else "corpus build"
    return f"delete its folder and run `pedgpt {command} RECIPE` again"


@contextlib.contextmanager
def damaged(path: Path) -> Iterator[None]:
    """While a file of a built corpus is read: what cannot be read is a UserError that says what to do.

    Raises:
        UserError: it is no Parquet or JSON file, or not one of the form that this version writes.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:_SHORT]}"
        raise UserError(f"damaged file ({reason}); {_again(path)}", path) from error


def statistics(folder: Path) -> dict[str, Any]:
    """What `corpus/card/statistics.json` says, and of the preference pairs, once they are made, their own statistics.

    A set that has to be made again has `stale`: why.

    Raises:
        UserError: the corpus was not built to its end, or a file of it is damaged.
    """
    corpus = corpus_folder(folder)
    path = corpus / "card" / "statistics.json"
    if not path.is_file():
        raise UserError("the corpus is not built to its end; run `pedgpt corpus build RECIPE`", path)
    found = _statistics_of(path)
    pairs = corpus / "preferences"
    if (pairs / "manifest.json").is_file() and (pairs / "statistics.json").is_file():
        made = _statistics_of(pairs / "statistics.json")
        found = {part: {**found[part], **made[part]} for part in ("sets", "rejects")}
    for name, one in found["sets"].items():
        # The numbers of the card are no better than the card.
        if why := stale(corpus, name) or ("" if name == "preferences" else stale(corpus, "card")):
            one["stale"] = why
    return found


def _statistics_of(path: Path) -> dict[str, Any]:
    with damaged(path):
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for one in found["sets"].values():
            _numbers(one["rows"], one["characters"])
        for reasons in found["rejects"].values():
            _numbers(*reasons.values())
    return found


def _numbers(*values: Any) -> None:
    if not all(isinstance(value, int) for value in values):
        raise TypeError("a count that is no number")


def rows(folder: Path, which: str, count: int) -> Iterator[str]:
    """The first rows of a set, as text. No more of it is read than is shown.

    Raises:
        UserError: there is no such set, it is not built, or its file is damaged.
    """
    if which not in SETS:
        raise UserError(f"no set '{which}'; there are {', '.join(SETS)}")
    for row in islice(_rows_of(corpus_folder(folder) / which / "rows.parquet"), count):
        yield f"-- {row['id']}  {row.get('task') or row.get('form') or row.get('aspect')}  {_place(row['source'])}"
        yield _text_of(row)
        yield ""


def _rows_of(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError("this set is not built yet", path)
    with damaged(path), pq.ParquetFile(path) as file:
        _check_columns(file.schema_arrow, path)
        for batch in file.iter_batches(_FEW):
            yield from batch.to_pylist()


def _check_columns(found: pa.Schema, path: Path) -> None:
    missing = [name for name in schema(contract_of(path.parent.name)).names if name not in found.names]
    if missing:
        raise KeyError(f"no column {', '.join(missing)}")


def rejects(folder: Path, count: int, step: str | None = None, reason: str | None = None) -> Iterator[str]:
    """How many items each step dropped for which reason, then the first few of each step.

    The files are gone through twice, to count and to show, so that no more than one item is held at a time.

    Args:
        folder: a run's folder, or its corpus.
        count: how many items of each step are shown.
        step: only this one: its folder (`curated`, `sources/NAME`) or its name (`clean`); then its items are shown
            whole.
        reason: only items whose reason holds these words.

    Raises:
        UserError: nothing was dropped by such a step or for such a reason (those that there are are named), or a file
            is damaged.
    """
    corpus = corpus_folder(folder)
    files = dict(_reject_files(corpus))
    counted = {place: _reasons(path, place, step, reason) for place, path in files.items()}
    if (step or reason) and not any(counted.values()):
        raise UserError(_nothing(files, step, reason), corpus)
    for place, numbers in counted.items():
        if not numbers:
            continue
        yield f"== {place}: {sum(numbers.values()):,} rejected"
        for (name, kind), number in sorted(numbers.items(), key=lambda item: (-item[1], item[0])):
            yield f"   {number:6,}  {name}: {kind}"
        for row in _first_of_each_step(_chosen(files[place], place, step, reason), numbers, count):
            yield f"   - {row['step']}, {row['where']}: {row['reason']}"
            yield from _shown(row["row"], whole=step is not None)


def _reject_files(corpus: Path) -> Iterator[tuple[str, Path]]:
    """The rejects of finished steps: another one may be at work, or was stopped in the middle."""
    for path in sorted(corpus.rglob("rejects.jsonl")):
        place = path.relative_to(corpus).parent
        if not any(part.endswith(_UNFINISHED) for part in place.parts) and (path.parent / "manifest.json").is_file():
            yield place.as_posix(), path


def _chosen(path: Path, place: str, step: str | None, reason: str | None) -> Iterator[dict[str, Any]]:
    for row in _dropped(path):
        of_step = step is None or step in (place, place.removeprefix("sources/"), row["step"])
        if of_step and (reason or "") in row["reason"]:
            yield row


def _dropped(path: Path) -> Iterator[dict[str, Any]]:
    for line, row in read_json_lines(path):
        # Another program may have written a line; `row` itself may be anything.
        if not isinstance(row, dict) or not all(isinstance(row.get(name), str) for name in ("step", "reason", "where")):
            raise UserError(f"damaged file (no reject with step, reason and where); {_again(path)}", f"{path}:{line}")
        yield {"row": None, **row}


def _reasons(path: Path, place: str, step: str | None, reason: str | None) -> Counter[tuple[str, str]]:
    """How often each (step, reason without its details) occurs among the rejects that are asked for."""
    return Counter((row["step"], row["reason"].split(":")[0]) for row in _chosen(path, place, step, reason))


def _nothing(files: dict[str, Path], step: str | None, reason: str | None) -> str:
    """What there is instead: the reasons of the step, or else the steps."""
    if reason and (others := sum((_reasons(path, place, step, None) for place, path in files.items()), Counter())):
        kinds = dict.fromkeys(kind for (_, kind), _ in others.most_common())
        return f"nothing was dropped for a reason with '{reason}'; reasons that there are: {', '.join(kinds)}"
    places = {
        name
        for place, path in files.items()
        for row in _chosen(path, place, None, None)
        for name in (place, row["step"])
    }
    return f"nothing was dropped by '{step}'; steps with drops: {', '.join(sorted(places)) or 'none'}"


def _first_of_each_step(
    found: Iterator[dict[str, Any]], numbers: Counter[tuple[str, str]], count: int
) -> Iterator[dict[str, Any]]:
    """At most `count` of each step; the rest of the file is not read once all are there."""
    waiting: Counter[str] = Counter()
    for (name, _), number in numbers.items():
        waiting[name] += number
    waiting = Counter({name: min(number, count) for name, number in waiting.items()})
    for row in found:
        if waiting[row["step"]] > 0:
            waiting[row["step"]] -= 1
            yield row
        if not any(waiting.values()):
            return


def _shown(row: Any, whole: bool) -> Iterator[str]:
    """What was dropped, in a few words or whole."""
    text = _text_of(row) if isinstance(row, dict) and "source" in row else json.dumps(row, ensure_ascii=False)
    if whole:
        yield from (f"       {line}" for line in text.split("\n"))
    else:
        yield f"       {_shortened(' '.join(text.split()))}"


def lineage(folder: Path, row_id: str) -> Iterator[str]:
    """Everything that is known of one row: labels, text, steps, parents, and its place in its source.

    Raises:
        UserError: no row of the corpus has this id, or a file of it is damaged.
    """
    corpus = corpus_folder(folder)
    found = _find(corpus, row_id) or _find_dropped(corpus, row_id)
    if not found:
        raise UserError(f"no row '{row_id}' in this corpus, and none was dropped", corpus)
    return _lines_of(corpus, row_id, found)


def _lines_of(corpus: Path, row_id: str, found: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    for place, row in found:
        yield f"{row_id} in {place}"
        yield from _described(row)
        yield "  text:"
        yield from (f"    {line}" for line in _text_of(row).split("\n"))
    for parent in found[0][1]["parents"]:
        yield ""
        yield f"made from {parent}:"
        if above := _find(corpus, parent) or _find_dropped(corpus, parent):
            yield from (f"  {line}" for line in _lines_of(corpus, parent, above))
        else:
            # Behaviour rows come from a rule file, whose entries are no records of the corpus.
            yield f"  no record of this corpus: an entry of {_place(found[0][1]['source'])}"


def _find(corpus: Path, row_id: str) -> list[tuple[str, dict[str, Any]]]:
    """All places that hold a row: the sets, the instructions, the curated records; repetitions of a set once."""
    files = {name: corpus / name / "rows.parquet" for name in (*SETS, "instructions")}
    files["curated"] = corpus / "curated" / "records.parquet"
    return [(name, row) for name, path in files.items() if path.is_file() for row in _with_id(path, row_id)[:1]]


def _with_id(path: Path, row_id: str) -> list[dict[str, Any]]:
    """The rows with an id; the file is filtered while it is read, a row group at a time."""
    import pyarrow.parquet as pq

    with damaged(path):
        table = pq.read_table(path, filters=[("id", "==", row_id)])
        _check_columns(table.schema, path)
        found: list[dict[str, Any]] = table.to_pylist()
    return found


def _find_dropped(corpus: Path, row_id: str) -> list[tuple[str, dict[str, Any]]]:
    """The first reject with this id, where it still has its provenance."""
    for place, path in _reject_files(corpus):
        for one in _dropped(path):
            row = one["row"]
            if isinstance(row, dict) and row.get("id") == row_id and "source" in row:
                return [(f"the rejects of {place}, dropped by {one['step']} ({one['reason']})", row)]
    return []


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
        tasks = ", ".join(
            f"{task} {number:,}"
            for task, number in (one.get("task") or one.get("form") or one.get("aspect") or {}).items()
        )
        shown = f"{name} (stale: run again)" if one.get("stale") else name
        sets.add_row(shown, f"{one['rows']:,}", f"{one['characters']:,}", tasks)
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
