"""From a recipe's setting to the items of a benchmark."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.benchmarks.catalogue import catalogue, lacking
from pediatricsgpt.evaluation.benchmarks.cmd import read_cmd
from pediatricsgpt.evaluation.benchmarks.cmedqa2 import read_cmedqa2
from pediatricsgpt.evaluation.benchmarks.exams import read_cmb, read_cmexam, read_medqa
from pediatricsgpt.evaluation.benchmarks.held_out import held_out_items, read_held_out
from pediatricsgpt.evaluation.benchmarks.item import Benchmark, Item, Tally, spread_items
from pediatricsgpt.evaluation.benchmarks.own import read_own
from pediatricsgpt.evaluation.benchmarks.pediabench import read_pediabench
from pediatricsgpt.evaluation.benchmarks.webmedqa import read_webmedqa
from pediatricsgpt.evaluation.settings import HELD_OUT_TASKS, BenchmarkSettings
from pediatricsgpt.facts import patient_age
from pediatricsgpt.manifest import digest, hash_file
from pediatricsgpt.records import age_band, read_rows

_READERS: dict[str, Callable[[Path], tuple[Tally, list[Path]]]] = {
    **{task: partial(read_held_out, task=task) for task in HELD_OUT_TASKS},
    "cmd": read_cmd,
    "webmedqa": read_webmedqa,
    "cmedqa2": read_cmedqa2,
    "cmb": read_cmb,
    "cmexam": read_cmexam,
    "medqa-zh": read_medqa,
    "pediabench": read_pediabench,
    "own": read_own,
}

_NEWBORN = re.compile("新生儿(?!科|期后|病房)")
"""Who is asked about, where no age is said: the word has one of its own"""


def load_benchmark(settings: BenchmarkSettings, base: Path, max_items: int | None = None) -> Benchmark:
    """The items of a benchmark: those of the wanted departments, at most so many, chosen by a hash of their ids.

    A department is one as the file has it, or one of the narrower subjects. The age band is that of the patient's age
    where the question says one, else `unknown`.

    Args:
        base: the recipe's folder, which the path is relative to.
        max_items: at most, where the settings say nothing; None takes all.

    Raises:
        UserError: no path (where its files come from, and under which licence), files that are missing or of another
            form, or no item left (how many there were, and which departments).
    """
    if settings.path is None:
        raise lacking(settings.name)
    path = base / Path(settings.path).expanduser()
    tally, files = _READERS[settings.name](path)
    wanted = _of_departments(tally, settings.departments, path)
    chosen = spread_items(wanted)[: settings.max_items or max_items]
    for item in chosen:
        item.age_band = item.age_band or _age_band(item)
    entry = catalogue()[settings.name]
    left_out = {"other departments": len(tally.items) - len(wanted), "beyond max_items": len(wanted) - len(chosen)}
    return Benchmark(
        name=settings.title,
        kind_of=settings.name,
        title=entry.title,
        path=path,
        items=chosen,
        home=entry.home,
        licence=entry.licence,
        citation=entry.citation,
        file_hash=_hash(files, path),
        version=entry.version,
        read=tally.read,
        kept=tally.kept,
        dropped=dict(sorted(tally.dropped.items())),
        left_out={reason: count for reason, count in left_out.items() if count},
        known_ids=frozenset(item.id for item in tally.items),
    )


def held_out_benchmark(rows: Path, tasks: Sequence[str], max_items: int) -> Benchmark:
    """A run's own held-out items of some tasks, at most `max_items` of each, as one benchmark.

    Raises:
        UserError: no row is of these tasks.
    """
    items = held_out_items(rows, tasks, max_items)
    read = read_rows(rows, "instruction")
    of_tasks = [row["id"] for row in read if row["task"] in tasks]
    if not items:
        raise UserError(f"no held-out item of {', '.join(tasks)}: raise corpus.split.held_out or add sources", rows)
    dropped = {"another task": len(read) - len(of_tasks)}
    left_out = {"beyond max_items": len(of_tasks) - len(items)}
    return Benchmark(
        name="held_out",
        kind_of="held_out",
        title="held-out rows of the three pediatric tasks",
        path=rows,
        items=items,
        home="your own run",
        licence="that of your sources",
        citation="",
        file_hash=hash_file(rows),
        version="1",
        read=len(read),
        kept=len(of_tasks),
        dropped={reason: count for reason, count in dropped.items() if count},
        left_out={reason: count for reason, count in left_out.items() if count},
        known_ids=frozenset(of_tasks),
    )


def _of_departments(tally: Tally, departments: Sequence[str] | None, path: Path) -> list[Item]:
    if not tally.items:
        why = ", ".join(f"{reason} ({count})" for reason, count in tally.dropped.most_common(3))
        raise UserError(f"none of {tally.read} rows can be asked: {why or 'there is no row'}", path)
    if departments is None:
        return tally.items
    wanted = [item for item in tally.items if {item.department, item.subject} & set(departments)]
    if not wanted:
        raise UserError(_nothing_left(tally, departments), path)
    return wanted


def _nothing_left(tally: Tally, departments: Sequence[str]) -> str:
    there = Counter(name for item in tally.items for name in dict.fromkeys((item.department, item.subject)) if name)
    near = [close for name in departments for close in difflib.get_close_matches(name, there, n=1, cutoff=0.5)]
    known = ", ".join(f"{name} ({count})" for name, count in there.most_common(12))
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    found = f"the file has {known}{' and others' if len(there) > 12 else ''}" if there else "the file names none"
    return f"no item of department {', '.join(departments)} among {len(tally.items)}{hint}; {found}"


def _age_band(item: Item) -> str:
    said = " ".join(turn["content"] for turn in item.messages if turn["role"] == "user")
    age = patient_age(said)
    if age is None and _NEWBORN.search(said):
        return age_band(0.0)
    return age_band(None if age is None else float(age.months))


def _hash(files: Sequence[Path], path: Path) -> str:
    """Of the bytes of all files that were read."""
    if list(files) == [path]:
        return hash_file(path)
    root = path if path.is_dir() else path.parent
    return digest([[file.relative_to(root).as_posix(), hash_file(file)] for file in sorted(files)])
