"""A prepared set on the disk until its phase is done: for a resume, and for the other processes of a launch."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from rich.console import Console

from pediatricsgpt import processes
from pediatricsgpt.code_version import code_version
from pediatricsgpt.manifest import digest, hash_file, hash_folder, versions
from pediatricsgpt.training.token_rows import TokenRows

_FOLDER = "prepared"
_PAUSE = 0.2
# The code that decides which tokens a row becomes.
_CODE = ["pediatricsgpt.training.data"]
_PACKAGES = ("tokenizers", "transformers")


class Worker(Protocol):
    """Who has a set prepared: a phase's job."""

    @property
    def name(self) -> str:
        """Of the phase."""

    @property
    def checkpoints(self) -> Path:
        """A folder that is removed when the phase is done."""

    @property
    def console(self) -> Console:
        """Where is shown how far the preparation is."""


def kept(job: Worker, key: str, write: Callable[[Any], None]) -> TokenRows:
    """The rows that belong to a key: as they are kept, or written by the first process while the others wait.

    They wait for the file and not in a collective operation: preparing can take longer than those may.

    Args:
        job: whose rows they are.
        key: a digest of everything that decides the rows.
        write: writes them to a pyarrow output stream.
    """
    path = job.checkpoints / _FOLDER / f"{key}.arrow"
    found = _whole(path)
    if found is None and processes.rank() == 0:
        _write(path, write)
        return TokenRows(path)
    while found is None:
        time.sleep(_PAUSE)
        found = _whole(path)
    return found


def key_of(tokenizer: Any, files: Sequence[Path], settings: Any) -> str:
    """A digest of what decides the rows of a prepared set.

    Args:
        tokenizer: with its chat template.
        files: that are read; what is in them counts, not where they lie.
        settings: whatever else decides, a JSON value.
    """
    installed = {name: version for name, version in versions().items() if name in _PACKAGES}
    hashes = [hash_file(path) if path.is_file() else None for path in files]  # reading says what is missing
    return digest([_tokenizer(tokenizer), hashes, settings, installed, code_version(_CODE)])


def _tokenizer(tokenizer: Any) -> str:
    """A digest of a tokenizer: everything that it would save."""
    if not getattr(tokenizer, "is_fast", False):
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            return hash_folder(Path(folder))
    own = json.loads(tokenizer.backend_tokenizer.to_str())
    for state in ("truncation", "padding"):  # of the latest call
        own.pop(state, None)
    return digest([own, tokenizer.chat_template, tokenizer.special_tokens_map, type(tokenizer).__name__])


def _whole(path: Path) -> TokenRows | None:
    try:
        return TokenRows(path)
    except (OSError, ValueError, pa.ArrowInvalid):  # not there yet, or damaged: it is made again
        return None


def _write(path: Path, write: Callable[[Any], None]) -> None:
    """Write a file that is whole or not there; those of other keys make room."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.iterdir():
        old.unlink()
    partial = path.with_name(path.name + ".partial")
    try:
        with pa.OSFile(str(partial), "wb") as sink:
            write(sink)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
