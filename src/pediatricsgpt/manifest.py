"""Fingerprints, manifests, and folders that are either done or not there.

A unit of work (a node of the run's graph) writes into `<node>.partial/`, its manifest last, and is then renamed to
`<node>/`: a folder with a manifest is a finished one, whatever was killed and whenever.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pediatricsgpt.errors import UserError

MANIFEST = "manifest.json"
_STATE = "begun.json"
SCRATCH = "checkpoints"
"""A folder of what only unfinished work needs; it goes when the manifest is written, not before"""
_HALF = ".partial"
"""What files end in that are being written; one that is still there was left by a kill"""
_RECORDED_PACKAGES = (
    "pediatricsgpt",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "tokenizers",
    "numpy",
    "pyarrow",
    "jieba",
    "pypdfium2",
    "markitdown",
)


@dataclass(slots=True)
class Manifest:
    """What a finished folder says of itself.

    `fingerprint` decides whether the work is still valid; `content` is the hash of what later work consumes, so that
    work redone with the same result does not spread; `whole` is that of everything, for what tells people about it.
    Times and memory are for people and enter neither.
    """

    node: str
    fingerprint: str
    content: str
    inputs: dict[str, str]
    settings: Any
    code: str
    seed: int
    counts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    threads: int = 0
    seconds: float = 0.0
    peak_memory_mb: int = 0
    finished: str = ""
    whole: str = ""


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path, ignore: Sequence[str] = ()) -> str:
    """Hash over the names and bytes of all files in a folder, except the manifest, scratch, what a kill left half
    written, and what `ignore` names: files, or folders with all that they hold.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != _HALF)
    left_out = {MANIFEST, _STATE, SCRATCH, *ignore}
    kept = [path for path in files if not left_out & set(path.relative_to(folder).parts)]
    return digest([[path.relative_to(folder).as_posix(), hash_file(path)] for path in kept])


class FileHashes:
    """Content hashes of outside files, remembered by size and time of change so that large ones are read once."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[str, str] = {}
        # A remembered hash is a convenience: a damaged store is simply built anew.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            found = json.loads(store.read_text(encoding="utf-8"))
            self._known = {str(name): str(value) for name, value in found.items()}

    def __call__(self, path: Path) -> str:
        """SHA-256 of a file, or of all files below a folder.

        Raises:
            UserError: there is no such file.
        """
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return digest([[file.relative_to(path).as_posix(), self(file)] for file in files])
        if not path.is_file():
            raise UserError("no such file", path)
        stat = path.stat()
        name = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        if name not in self._known:
            self._known[name] = hash_file(path)
        return self._known[name]

    def save(self) -> None:
        """Keep what was learnt for the next run."""
        write_atomically(self._store, json.dumps(self._known, indent=0, sort_keys=True))


def versions() -> dict[str, str]:
    """Versions of the packages that can change a result, as installed."""
    found = {}
    for name in _RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new one, never half of it; nor half of two, where several
    processes write it at once: each does so under a name of its own.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_HALF}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished folder; None where there is none. Changes nothing on the disk.

    Raises:
        UserError: the manifest is there but cannot be read.
    """
    # A replacement that was killed between its two renames; `recover` puts the folder back.
    old = folder.with_name(folder.name + ".old")
    path = (old if old.exists() and not folder.exists() else folder) / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"damaged manifest ({error}); delete the folder to have it made again", path) from error


def recover(folder: Path) -> None:
    """Finish what was killed after its manifest was written or between its two renames; under the run's lock only."""
    partial = folder.with_name(folder.name + ".partial")
    if (partial / MANIFEST).is_file():
        _replace(folder, partial)
    old = folder.with_name(folder.name + ".old")
    if old.exists():
        if folder.exists():
            shutil.rmtree(old)
        else:
            old.rename(folder)


def unfinished(folder: Path) -> Path:
    """Where the work on a folder goes on until it is finished."""
    return folder.with_name(folder.name + ".partial")


@dataclass(frozen=True, slots=True)
class Begun:
    """What unfinished work was begun with."""

    fingerprint: str
    settings: Any = None
    """Those that it depends on"""
    inputs: dict[str, str] = field(default_factory=dict)
    """Content of what it consumes"""
    code: str = ""


def begun(folder: Path) -> Begun | None:
    """What the unfinished work on a folder was begun with; None where there is none, or nobody knows."""
    try:
        return Begun(**json.loads((unfinished(folder) / _STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def begin(folder: Path, start: Begun) -> Path:
    """The partial folder to work in; what an interrupted run with the same fingerprint left there is kept."""
    partial, before = unfinished(folder), begun(folder)
    if partial.exists() and (before is None or before.fingerprint != start.fingerprint):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_atomically(partial / _STATE, json.dumps(dataclasses.asdict(start), ensure_ascii=False, indent=1))
    return partial


def finish(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into the partial folder and put it in the place of an older result, if there is one."""
    partial = folder.with_name(folder.name + ".partial")
    manifest.versions = versions()
    manifest.finished = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    write_atomically(partial / MANIFEST, json.dumps(dataclasses.asdict(manifest), ensure_ascii=False, indent=1))
    _replace(folder, partial)


def _replace(folder: Path, partial: Path) -> None:
    """Put finished work in its place. The state goes last: until then, unfinished work is known by it."""
    shutil.rmtree(partial / SCRATCH, ignore_errors=True)
    for half in [path for path in partial.rglob(f"*{_HALF}") if path.is_file()]:
        half.unlink()
    old = folder.with_name(folder.name + ".old")
    if folder.exists():
        if old.exists():
            shutil.rmtree(old)
        folder.rename(old)
    partial.rename(folder)
    (folder / _STATE).unlink(missing_ok=True)
    if old.exists():
        shutil.rmtree(old)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for one process.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        reason = _disk_reason(error) or f"this folder cannot be made ({error.strerror}); choose another with --runs"
        raise UserError(reason, folder) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise UserError(f"another pedgpt (process {file.read() or '?'}) works here; wait for it", folder) from error
        with disk_errors(folder):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield


_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again, finished steps are kept",
    errno.EFBIG: "a file would be larger than is allowed here (ulimit -f, or the file system's own limit); lift it and "
    "run the same command again, finished steps are kept",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again, finished steps are kept",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.EACCES: "no permission to write here; choose a folder that can be written",
    errno.EPERM: "not permitted to write here; choose a folder that can be written",
    errno.ENOTDIR: "a file stands where a folder is needed; remove it or choose another folder",
    errno.EEXIST: "a file stands where a folder is needed; remove it or choose another folder",
}


@contextlib.contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn a full disk and an unwritable folder into a UserError; every other error passes through."""
    try:
        yield
    except Exception as error:
        reason = _disk_reason(error)
        if reason is None:
            raise
        raise UserError(reason, getattr(error, "filename", None) or where) from error


def _disk_reason(error: BaseException) -> str | None:
    """Why the disk refused. Some libraries (Arrow, safetensors) keep only the text of the system's error."""
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return _DISK_ERRORS[error.errno]
    message = str(error)
    if "No space left on device" in message or "os error 28" in message:
        return _DISK_ERRORS[errno.ENOSPC]
    if "File too large" in message or "os error 27" in message:
        return _DISK_ERRORS[errno.EFBIG]
    # PyTorch keeps not even the text: a checkpoint that was cut off says only where it ended.
    if "PytorchStreamWriter" in message or ("inline_container" in message and "unexpected pos" in message):
        return f"PyTorch could not write a checkpoint: {_DISK_ERRORS[errno.ENOSPC]}"
    return None
