"""Answers that were paid for, on disk before anybody uses them.

One JSON line an answer, with its checksum, appended and synced: a killed process costs at most the answer that it had
not received. What a crash damaged is dropped with a warning when the cache is opened; everything else stays.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from pediatricsgpt.errors import UserError

FILE = "answers.jsonl"
LOCK = "lock"
_log = logging.getLogger(__name__)


class AnswerCache:
    """Answers by the hash of their request.

    Args:
        folder: made if absent. One process at a time may use it.

    Raises:
        UserError: another process has it, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.damaged = 0
        self._places: dict[str, tuple[int, int]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / LOCK).open("a")
            _lock(self._lock.fileno(), folder)
            self._open()
            _sync_folder(folder)
        except OSError as error:
            raise UserError(f"the cache of paid answers cannot be written: {error}", folder) from error
        self._read()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer to a request, or None."""
        if key not in self._places:
            return None
        place, length = self._places[key]
        self._file.seek(place)
        answer = _entry(self._file.read(length))
        if answer is None or answer[0] != key:
            raise UserError("the cache of paid answers was changed while it was in use", self.path)
        return answer[1]

    def put(self, key: str, answer: Mapping[str, Any]) -> None:
        """Store an answer; it is on the disk when this returns.

        Raises:
            UserError: it cannot be stored (disk full); the file is left as it was.
        """
        line = _line(key, answer)
        place = os.fstat(self._end).st_size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._end, line[written:])
            os.fsync(self._end)
        except OSError as error:
            os.ftruncate(self._end, place)  # half a line would spoil the next one
            raise UserError(f"a paid answer cannot be stored: {error}; make room, then run again", self.path) from error
        self._places[key] = (place, len(line))

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()
        os.close(self._end)
        self._lock.close()

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        self._end = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._file: BinaryIO = self.path.open("rb")

    def _read(self) -> None:
        place = 0
        for line in self._file:
            entry = _entry(line)
            if entry is None:
                self.damaged += 1
            else:
                self._places[entry[0]] = (place, len(line))
            place += len(line)
        if self.damaged:
            _log.warning(
                "%s: %d damaged entries dropped (a crash while writing), %d answers kept",
                self.path,
                self.damaged,
                len(self._places),
            )
            self._rewrite()

    def _rewrite(self) -> None:
        """The sound lines alone, in a new file that takes the old one's place."""
        sound = self.path.with_suffix(".sound")
        places: dict[str, tuple[int, int]] = {}
        with sound.open("wb") as file:
            for key, (place, length) in self._places.items():
                self._file.seek(place)
                places[key] = (file.tell(), length)
                file.write(self._file.read(length))
            file.flush()
            os.fsync(file.fileno())
        self._file.close()
        os.close(self._end)
        sound.replace(self.path)
        _sync_folder(self.path.parent)
        self._open()
        self._places = places


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError("another run is using this cache of paid answers; wait until it is done", folder) from error


def _sync_folder(folder: Path) -> None:
    """A new name in a folder survives a crash only if the folder is synced as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _line(key: str, answer: Mapping[str, Any]) -> bytes:
    content = json.dumps(answer, ensure_ascii=True, sort_keys=True)
    return json.dumps({"key": key, "sha256": _checksum(key, content), "answer": content}).encode() + b"\n"


def _entry(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """Key and answer of a line; None where it is damaged."""
    try:
        entry = json.loads(line)
        key, content = entry["key"], entry["answer"]
        sound = line.endswith(b"\n") and entry["sha256"] == _checksum(key, content)
        return (key, json.loads(content)) if sound else None
    except (ValueError, KeyError, TypeError):
        return None


def _checksum(key: str, content: str) -> str:
    return hashlib.sha256(f"{key}\n{content}".encode()).hexdigest()
