"""Reading sources: whatever a recipe names becomes records with their provenance, and rejects with their reasons.

Nothing is left out in silence: what a file holds is a record or a reject, and a file that cannot be read at all stops
the run with a line that says what to do. Files of rows are read row by row, so that their number does not matter;
of documents one is in memory at a time, of a knowledge graph its facts.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources.conversation import read_consultations, read_dialogues
from pediatricsgpt.corpus.sources.dataset import read_instructions, read_preferences
from pediatricsgpt.corpus.sources.document import READERS as DOCUMENT_READERS
from pediatricsgpt.corpus.sources.file import Items, Result, SourceFile
from pediatricsgpt.corpus.sources.graph import Graph
from pediatricsgpt.corpus.sources.knowledge_graph import GRAPH_READERS
from pediatricsgpt.corpus.sources.recording import located, read_recording
from pediatricsgpt.corpus.sources.transcript import read_transcripts
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Record, Reject

Reader = Callable[[SourceFile], "Result | Items"]

_TABLES = (".csv", ".tsv", ".xlsx")
_JSON = (".json", ".jsonl")
_READERS: Mapping[str, Mapping[str, Reader]] = {
    **dict.fromkeys(("textbook", "guideline", "text"), DOCUMENT_READERS),
    "conversation": {
        **dict.fromkeys(_JSON, read_dialogues),
        **dict.fromkeys(_TABLES, read_consultations),
        ".txt": read_transcripts,
        ".dialog": read_transcripts,
    },
    "recording": dict.fromkeys((".wav", ".flac", ".mp3"), read_recording),
    "dataset": dict.fromkeys((*_JSON, ".txt", *_TABLES), read_instructions),
    "preferences": dict.fromkeys((*_JSON, ".txt", *_TABLES), read_preferences),
}


class Reading:
    """The items of a source, one after the other, in the order of its files and their rows.

    `counts` is complete when the last item was taken: `files`; `rows`, `rows_used` and `rows_rejected` of the files
    that have rows; and `encoding NAME`, the files in which that encoding was found. Each iteration reads anew.
    """

    def __init__(self, settings: SourceSettings, base: Path) -> None:
        self.settings, self.base = located(settings, base), base
        self.counts: dict[str, int] = {}

    def __iter__(self) -> Items:
        """Read.

        Yields:
            Records and rejects; together they are the source's rows, sections and facts. A file in a folder whose
            extension the kind does not read is one reject.

        Raises:
            UserError: the path does not exist or matches nothing, a file cannot be read at all (empty, damaged,
                unknown encoding, missing columns, missing extra), or nothing in the source could be read.
            RuntimeError: a reader lost a row; the file is named.
        """
        self.counts = {"files": 0, "rows": 0, "rows_used": 0, "rows_rejected": 0}
        kept, rejects, first = 0, 0, None
        for item in self._graph_items() if self.settings.kind == "knowledge_graph" else self._items():
            if isinstance(item, Record):
                kept += 1
            else:
                rejects, first = rejects + 1, first or item
            yield item
        if not kept:
            reason = f"; the first of {rejects} rejects: {first.where}: {first.reason}" if first else ""
            problem = f"source '{self.settings.name}' holds nothing that could be read{reason}"
            raise UserError(problem, self.base / self.settings.path)

    @cached_property
    def _all(self) -> tuple[list[Record], list[Reject]]:
        records: list[Record] = []
        rejects: list[Reject] = []
        for item in self:
            if isinstance(item, Record):
                records.append(item)
            else:
                rejects.append(item)
        return records, rejects

    @property
    def records(self) -> list[Record]:
        """All records at once, for a source that fits into memory."""
        return self._all[0]

    @property
    def rejects(self) -> list[Reject]:
        """All rejects at once."""
        return self._all[1]

    def _items(self) -> Items:
        readers = _READERS[self.settings.kind]
        for file in self._files():
            reader = readers.get(file.path.suffix.lower())
            if reader is None:
                yield file.reject(_unread(file.path, self.settings.kind, readers))
                continue
            empty = True
            for item in _each(reader(file)):
                empty = False
                yield item
            self._account(file)
            if empty:
                yield file.reject("nothing but a title")

    def _graph_items(self) -> Items:
        graph = Graph.of(self.settings, self.base)
        read = []
        for file in self._files():
            reader = GRAPH_READERS.get(file.path.suffix.lower())
            if reader is None:
                yield file.reject(_unread(file.path, self.settings.kind, GRAPH_READERS))
                continue
            yield from reader(file, graph)
            read.append(file)
        # The edges of a graph may stand in other files than its nodes, so that facts come last.
        yield from graph.items()
        for file in read:
            self._account(file)
        for name, number in graph.counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def _files(self) -> Iterator[SourceFile]:
        for path in source_files(self.settings, self.base):
            self.counts["files"] += 1
            yield SourceFile.load(path, self.base, self.settings)

    def _account(self, file: SourceFile) -> None:
        rows = file.rows
        if rows.read != rows.used + rows.rejected:
            raise RuntimeError(f"{file.path}: {rows.read} rows, but {rows.used} used and {rows.rejected} rejected")
        for name, number in (("rows", rows.read), ("rows_used", rows.used), ("rows_rejected", rows.rejected)):
            self.counts[name] += number
        for encoding in sorted(file.encodings):
            self.counts[f"encoding {encoding}"] = self.counts.get(f"encoding {encoding}", 0) + 1


def _each(result: Result | Items) -> Items:
    """Readers of documents return lists, readers of rows yield."""
    if isinstance(result, tuple):
        yield from result[0]
        yield from result[1]
    else:
        yield from result


def read_source(settings: SourceSettings, base: Path) -> Reading:
    """A source, ready to be read: iterate over it.

    Args:
        settings: the source as the recipe has it.
        base: the recipe's folder; `settings.path` (a file, a folder, or a glob) is relative to it. Hidden files are
            skipped.
    """
    return Reading(settings, base)


def source_files(settings: SourceSettings, base: Path) -> list[Path]:
    """The files of a source, sorted.

    Raises:
        UserError: there is none.
    """
    return files_of(settings.path, base)


def consumed_files(settings: SourceSettings, base: Path) -> list[Path]:
    """All files on which the reading of a source depends: its own, and the tables and models that it is read with.

    Raises:
        UserError: one of these is not there.
    """
    with_it = (settings.entities, settings.lexicon, settings.speech_model)
    return [*source_files(settings, base), *(file for path in with_it if path for file in files_of(path, base))]


def _unread(path: Path, kind: str, readers: Mapping[str, object]) -> str:
    known = f"reads {', '.join(readers)}" if readers else "cannot be read yet in this version"
    return f"unknown extension: {path.suffix or 'none'}; a source of kind {kind} {known}"


def files_of(path: Path, base: Path) -> list[Path]:
    """The files that a path of a recipe names, sorted; those of folders in folders too.

    Raises:
        UserError: there is none.
    """
    whole = base / path
    named = [whole] if whole.exists() else [Path(match) for match in glob.glob(str(whole), recursive=True)]  # noqa: PTH207
    if not named:
        problem = "nothing matches this pattern" if glob.has_magic(str(path)) else "no such file or folder"
        raise UserError(problem, whole)
    found = {file for each in named for file in ([each] if each.is_file() else each.rglob("*")) if file.is_file()}
    visible = sorted(file for file in found if not _is_hidden(file, whole))
    if not visible:
        raise UserError("the folder holds no file", whole)
    return visible


def _is_hidden(file: Path, root: Path) -> bool:
    """Hidden files, files in hidden folders, and the lock files of office programs."""
    below = file.parts[len(root.parts) - 1 :] if file != root else ()
    return any(part.startswith((".", "~$")) for part in below)
