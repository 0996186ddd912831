"""Reading sources: whatever a recipe names becomes records with their provenance, and rejects with their reasons.

Nothing is left out in silence: what a file holds is a record or a reject, and a file that cannot be read at all stops
the run with a line that says what to do.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources.conversation import read_consultations, read_dialog_blocks, read_dialogues
from pediatricsgpt.corpus.sources.dataset import read_instructions, read_preferences
from pediatricsgpt.corpus.sources.document import read_docx, read_json, read_pdf, read_text
from pediatricsgpt.corpus.sources.file import Result, SourceFile
from pediatricsgpt.corpus.sources.knowledge_graph import read_diseases, read_triples
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Record, Reject

_DOCUMENTS: Mapping[str, Callable[[SourceFile], Result]] = {
    ".json": read_json,
    ".jsonl": read_json,
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".txt": read_text,
    ".md": read_text,
}
_READERS: Mapping[str, Mapping[str, Callable[[SourceFile], Result]]] = {
    "textbook": _DOCUMENTS,
    "guideline": _DOCUMENTS,
    "text": _DOCUMENTS,
    "knowledge_graph": {
        ".json": read_diseases,
        ".jsonl": read_diseases,
        ".csv": read_triples,
        ".tsv": read_triples,
    },
    "conversation": {
        ".json": read_dialogues,
        ".jsonl": read_dialogues,
        ".csv": read_consultations,
        ".dialog": read_dialog_blocks,
    },
    "dataset": {".json": read_instructions, ".jsonl": read_instructions, ".txt": read_instructions},
    "preferences": {".json": read_preferences, ".jsonl": read_preferences, ".txt": read_preferences},
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source holds. `counts` has its `files`, and of those with rows `rows`, `rows_used` and `rows_rejected`."""

    records: list[Record]
    rejects: list[Reject]
    counts: dict[str, int]


def read_source(settings: SourceSettings, base: Path) -> Reading:
    """Read every file of a source, in sorted order.

    Args:
        settings: the source as the recipe has it.
        base: the recipe's folder; `settings.path` (a file, a folder, or a glob) is relative to it. Hidden files are
            skipped.

    Returns:
        Records and rejects; together they are the source's rows, sections and facts. A file in a folder whose
        extension the kind does not read is one reject.

    Raises:
        UserError: the path does not exist or matches nothing, a file cannot be read at all (empty, damaged, a scan,
            unknown encoding, missing columns, missing extra), or nothing in the source could be read.
        RuntimeError: a reader lost a row; the file is named.
    """
    records: list[Record] = []
    rejects: list[Reject] = []
    readers = _READERS[settings.kind]
    counts = {"files": 0, "rows": 0, "rows_used": 0, "rows_rejected": 0}
    for path in source_files(settings, base):
        counts["files"] += 1
        file = SourceFile.load(path, base, settings)
        reader = readers.get(path.suffix.lower())
        if reader is None:
            rejects.append(file.reject(_unread(path, settings.kind)))
            continue
        found, failed = reader(file)
        rows = file.rows
        if rows.read != rows.used + rows.rejected:
            raise RuntimeError(f"{path}: {rows.read} rows, but {rows.used} used and {rows.rejected} rejected")
        for name, number in (("rows", rows.read), ("rows_used", rows.used), ("rows_rejected", rows.rejected)):
            counts[name] += number
        if not found and not failed:
            failed = [file.reject("nothing but a title")]
        records += found
        rejects += failed
    if not records:
        reason = f"; the first of {len(rejects)} rejects: {rejects[0].where}: {rejects[0].reason}" if rejects else ""
        raise UserError(f"source '{settings.name}' holds nothing that could be read{reason}", base / settings.path)
    return Reading(records, rejects, counts)


def source_files(settings: SourceSettings, base: Path) -> list[Path]:
    """The files of a source, sorted.

    Raises:
        UserError: there is none.
    """
    return _files(settings.path, base)


def _unread(path: Path, kind: str) -> str:
    return f"unknown extension: {path.suffix or 'none'}; a source of kind {kind} reads {', '.join(_READERS[kind])}"


def _files(path: Path, base: Path) -> list[Path]:
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
