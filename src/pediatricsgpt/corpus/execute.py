"""The corpus room's steps over any number of records: in parts, by processes of this machine or a Ray cluster.

A step is a map (what it does to a record depends on that record alone) or global (duplicates, the split). The maps run
part by part, in any order and anywhere; each finished part is a folder, so that a killed run goes on with those that
are missing. Then the global decision is made on the parts' fingerprints, and the parts are joined in reading order.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.corpus.account import Account as Account
from pediatricsgpt.corpus.account import ranked as ranked
from pediatricsgpt.corpus.account import reasons as reasons
from pediatricsgpt.corpus.settings import CorpusSettings, DeidentifySettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Record, Reject, record_table, records_of, write_json_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from pediatricsgpt.corpus.deduplicate import Decision
    from pediatricsgpt.corpus.deidentify import Deidentifier

RECORDS = "records.parquet"
REJECTS = "rejects.jsonl"
COUNTS = "counts.json"
_RECORDS = "records.arrow"
_FINGERPRINTS = "fingerprints.arrow"
_PARTS = "parts"
_FEW_PARTS = 2
"""So few parts are worked on in this process: starting others takes longer"""

Advance = Callable[[int], None]
Map = Callable[[Sequence[Record]], tuple[list[Record], list[Reject]]]


@dataclass(frozen=True, slots=True)
class Part:
    """A row group of a file of records: what one process works on at a time."""

    number: int
    file: Path
    row_group: int
    rows: int


def parts_of(files: Sequence[Path]) -> list[Part]:
    """The row groups of files of records, in reading order."""
    import pyarrow.parquet as pq

    found: list[Part] = []
    for file in files:
        metadata = pq.read_metadata(file)
        for group in range(metadata.num_row_groups):
            found.append(Part(len(found), file, group, metadata.row_group(group).num_rows))
    return found


def curate(
    files: Sequence[Path], settings: CorpusSettings, seed: int, folder: Path, advance: Advance | None = None
) -> dict[str, dict[str, Any]]:
    """De-identify, clean, filter, label, deduplicate and split the records of `files`, in this order.

    Writes `records.parquet`, `rejects.jsonl` and `counts.json` (per step `read`, `kept`, `rejected`, `reasons`) into
    `folder`. A killed call that is made again goes on with the parts that are missing. The result does not depend on
    the engine, the number of processes or the size of parts.

    Args:
        files: Parquet of the contract `record`, in reading order: of several equal records the first is kept.
        settings: of the corpus room; the `key_file` of de-identification is already an absolute path.
        seed: of the split and of surrogates.
        folder: where to write.
        advance: told how many records went through the maps.

    Returns:
        What `counts.json` says.

    Raises:
        RuntimeError: a step lost or invented a record; the step is named.
    """
    advance = advance or _silently
    (folder / _PARTS).mkdir(parents=True, exist_ok=True)
    parts = parts_of(files)
    work = functools.partial(work_part, settings=settings, seed=seed, folder=folder / _PARTS)
    missing = [part for part in parts if not _place(folder / _PARTS, part).is_dir()]
    advance(sum(part.rows for part in parts) - sum(part.rows for part in missing))
    for rows in _ENGINES[settings.engine](work, missing, settings.workers):
        advance(rows)
    counts = _join([_place(folder / _PARTS, part) for part in parts], settings, seed, folder)
    shutil.rmtree(folder / _PARTS)
    return counts


def _silently(_rows: int) -> None:
    """The progress of a call that shows none."""


def _place(folder: Path, part: Part) -> Path:
    return folder / f"{part.number:06}"


# -- the maps, on one part ---------------------------------------------------------------------------------------------


def maps(settings: CorpusSettings, scores: list[float] | None = None) -> list[tuple[str, Map]]:
    """The map steps in their order, by the name under which they are counted.

    The last of them puts the quality of each record that it keeps into `scores`.
    """
    from pediatricsgpt.corpus.clean import clean
    from pediatricsgpt.corpus.quality import filter_and_score, filter_quality
    from pediatricsgpt.corpus.select import label

    def filtered(records: Sequence[Record]) -> tuple[list[Record], list[Reject]]:
        if scores is None:
            return filter_quality(records, settings.quality)
        kept, rejects, scores[:] = filter_and_score(records, settings.quality)
        return kept, rejects

    return [
        ("clean", functools.partial(clean, settings=settings.clean)),
        ("label", lambda records: (label(records), [])),
        ("quality", filtered),
    ]


def work_part(part: Part, settings: CorpusSettings, seed: int, folder: Path) -> int:
    """Do all maps on one part and leave a finished folder behind; the number of records that went in."""
    from pediatricsgpt.corpus.deduplicate import STEP as DEDUPLICATE
    from pediatricsgpt.corpus.deduplicate import fingerprint
    from pediatricsgpt.corpus.split import STEP as SPLIT

    target = _place(folder, part)
    if target.is_dir():  # a cluster gives work out again when it loses sight of who does it
        return part.rows
    records = _records_of(part)
    partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".partial", dir=folder))
    counts: dict[str, Account] = {}
    kept, rejects = _deidentified(records, settings, seed, counts)
    scores: list[float] = []
    for name, step in maps(settings, scores):
        read = len(kept)
        kept, dropped = step(kept)
        counts.setdefault(name, Account()).add(name, read, len(kept), (reject.reason for reject in dropped))
        rejects += dropped
    # What stays goes through the two global steps as well: said here, while the record is at hand.
    done = [record.changed(steps=[*record.steps, DEDUPLICATE, SPLIT]) for record in kept]
    _write_arrow(partial / _RECORDS, record_table(done, partial / _RECORDS))
    write_json_lines(partial / REJECTS, (reject.as_dict() for reject in rejects))
    _write_arrow(partial / _FINGERPRINTS, fingerprint(kept, settings.deduplicate, scores))
    _write_counts(partial / COUNTS, counts)
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(partial)  # somebody else was faster, with the same result
    return part.rows


def _records_of(part: Part) -> list[Record]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(part.file) as file:
        return records_of(file.read_row_group(part.row_group))


def _deidentified(
    records: list[Record], settings: CorpusSettings, seed: int, counts: dict[str, Account]
) -> tuple[list[Record], list[Reject]]:
    """First of all, so that nothing that a later step writes, its rejects included, holds what identifies a person."""
    if not settings.deidentify.enabled:
        return records, []
    kept, rejects, replaced = _deidentifier(settings.deidentify.model_dump_json(), seed)(records)
    account = counts.setdefault("deidentify", Account())
    account.add("deidentify", len(records), len(kept), (reject.reason for reject in rejects))
    account.extra.update(replaced)
    return kept, rejects


@functools.cache
def _deidentifier(settings: str, seed: int) -> Deidentifier:
    """One for all parts of a process: it may hold a named-entity model."""
    from pediatricsgpt.corpus.deidentify import Deidentifier

    return Deidentifier(DeidentifySettings.model_validate_json(settings), seed)


def _write_arrow(path: Path, rows: pa.RecordBatch | pa.Table) -> None:
    """Arrow's own format: these files live as long as the run, and are read from memory maps."""
    import pyarrow as pa

    with pa.ipc.new_file(path, rows.schema) as file:
        file.write(rows)


def _read_arrow(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _write_counts(path: Path, counts: dict[str, Account]) -> dict[str, dict[str, Any]]:
    plain = {step: account.as_dict() for step, account in counts.items()}
    path.write_text(json.dumps(plain, ensure_ascii=False, indent=1), encoding="utf-8")
    return plain


# -- where the maps run ------------------------------------------------------------------------------------------------


def _local(work: Callable[[Part], int], parts: Sequence[Part], workers: int | None) -> Iterator[int]:
    """On processes of this machine."""
    import os
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    workers = min(workers or os.cpu_count() or 1, len(parts))
    if len(parts) <= _FEW_PARTS or workers == 1:
        yield from map(work, parts)
        return
    # Started anew, not forked: a copy of a process with running threads (Arrow's, torch's) may wait for ever.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        for done in as_completed([pool.submit(work, part) for part in parts]):
            yield done.result()
    except BrokenProcessPool as error:
        problem = "a process was killed, most likely for want of memory; the same command goes on where it was"
        raise UserError(f"{problem}, with --set corpus.workers={workers - 1} in less memory") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ray(work: Callable[[Part], int], parts: Sequence[Part], workers: int | None) -> Iterator[int]:
    """On a Ray cluster: RAY_ADDRESS names it, without it one is started here. Its nodes share the run's folder."""
    import os

    from pediatricsgpt.errors import require_extra

    if not parts:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what a hospital works on is nobody else's business
    try:
        import ray
    except ImportError as error:
        raise require_extra("cluster", error) from error

    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS")
        # Only a cluster that is named: Ray itself would join any that happens to run on this machine.
        cpus = None if address else workers
        try:
            ray.init(address=address or "local", num_cpus=cpus, log_to_driver=False, include_dashboard=False)
        except (ConnectionError, RuntimeError) as error:
            raise UserError(f"no Ray cluster answers there: {error}", f"RAY_ADDRESS={address}") from error

    def batch(rows: dict[str, Any]) -> dict[str, Any]:
        return {"rows": [work(parts[number]) for number in rows["id"]]}

    found = ray.data.range(len(parts), override_num_blocks=len(parts)).map_batches(batch, batch_size=1)
    for row in found.iter_rows():
        yield int(row["rows"])


_ENGINES = {"local": _local, "ray": _ray}


# -- the global decision -----------------------------------------------------------------------------------------------


def _join(places: Sequence[Path], settings: CorpusSettings, seed: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Decide on duplicates, groups and the split for all parts, and write what is kept as one file."""
    from concurrent.futures import Future, ThreadPoolExecutor

    import pyarrow.parquet as pq

    from pediatricsgpt.corpus.deduplicate import decide
    from pediatricsgpt.records import schema

    decision = decide([place / _FINGERPRINTS for place in places], settings.deduplicate)
    originals = _originals(places, decision)
    counts: dict[str, Account] = {}
    with (
        pq.ParquetWriter(folder / RECORDS, schema("record"), compression="zstd") as writer,
        (folder / REJECTS).open("w", encoding="utf-8") as rejects,
        ThreadPoolExecutor(1) as helper,  # compresses a part while the next one is made
    ):
        written: Future[None] | None = None
        for place, here in zip(places, _slices(places), strict=True):
            table = _read_arrow(place / _RECORDS)
            kept = _decided(table, decision, here, settings, seed)
            if written is not None:
                written.result()
            written = helper.submit(writer.write_table, kept) if kept.num_rows else None
            rejects.write((place / REJECTS).read_text(encoding="utf-8"))
            dropped = _duplicates(table, decision, here, originals)
            rejects.writelines(json.dumps(reject.as_dict(), ensure_ascii=False) + "\n" for reject in dropped)
            for step, account in json.loads((place / COUNTS).read_text(encoding="utf-8")).items():
                counts.setdefault(step, Account()).join(account)
            for step, lost in (("deduplicate", dropped), ("split", [])):
                read = table.num_rows if step == "deduplicate" else kept.num_rows
                counts.setdefault(step, Account()).add(step, read, kept.num_rows, (one.reason for one in lost))
        if written is not None:
            written.result()
    if variants := int((decision.variant_of >= 0).sum()):
        counts["deduplicate"].extra["kept variants with other facts"] = variants
    return _write_counts(folder / COUNTS, counts)


def _decided(table: pa.Table, decision: Decision, here: slice, settings: CorpusSettings, seed: int) -> pa.Table:
    """The kept rows of a part with their group and their side of the split."""
    import pyarrow as pa

    from pediatricsgpt.corpus.split import side

    groups = decision.group[here]
    sides = [side(group, settings.split.held_out, seed) for group in groups]
    for name, values in (("group", groups), ("split", sides)):
        column = table.schema.get_field_index(name)
        table = table.set_column(column, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    return table.filter(pa.array(decision.keep[here]))


def _duplicates(table: pa.Table, decision: Decision, here: slice, originals: dict[int, str]) -> list[Reject]:
    import pyarrow as pa

    from pediatricsgpt.corpus.deduplicate import reason

    keep, original, similarity = decision.keep[here], decision.duplicate_of[here], decision.similarity[here]
    dropped = table.filter(pa.array(~keep)).to_pylist()
    found = []
    for record, first, alike in zip(dropped, original[~keep], similarity[~keep], strict=True):
        record["steps"] = record["steps"][:-2]  # the two that it did not pass
        found.append(Reject("deduplicate", reason(float(alike), originals[int(first)]), _where(record), record))
    return found


def _where(record: dict[str, Any]) -> str:
    from pediatricsgpt.records import Locator

    return f"{record['source']['file']}, {Locator(**record['source']['locator'])}"


def _slices(places: Sequence[Path]) -> Iterator[slice]:
    """Which of all records stand in each part, by their numbers in reading order."""
    start = 0
    for place in places:
        rows = _read_arrow(place / _RECORDS).num_rows
        yield slice(start, start + rows)
        start += rows


def _originals(places: Sequence[Path], decision: Decision) -> dict[int, str]:
    """Id and place of every record that a duplicate is a duplicate of, by its number in reading order."""
    import numpy as np

    wanted = np.unique(decision.duplicate_of[decision.duplicate_of >= 0])
    found: dict[int, str] = {}
    for place, rows in zip(places, _slices(places), strict=True):
        here = wanted[np.searchsorted(wanted, rows.start) : np.searchsorted(wanted, rows.stop)]
        if len(here):
            columns = _read_arrow(place / _RECORDS).select(["id", "source"])
            for number, record in zip(here.tolist(), columns.take(here - rows.start).to_pylist(), strict=True):
                found[number] = f"{record['id']} ({_where(record)})"
    return found
