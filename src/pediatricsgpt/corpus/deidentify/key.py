"""The key that turns surrogates back, and the sealed file beside it; both stay outside the run.

The construction: a random 256-bit Fernet key (AES-128-CBC with HMAC-SHA-256, package `cryptography`) in a file that
only its owner may read. The surrogates' own secret is derived from it by HMAC-SHA-256 with a fixed label. For every
record, the pairs of surrogate and original are encrypted and appended to `<key file>.sealed.jsonl`. Without a key file
nothing is written down and placeholders carry no trace of the original.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pediatricsgpt.corpus.settings import DeidentifySettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import Message, Record, read_json_lines

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

_SECRET = b"pediatricsgpt surrogates 1"


def load_key(path: Path, outside: Sequence[Path] = ()) -> bytes:
    """The key in a file, which is made (mode 0600) if absent.

    Args:
        path: the key file.
        outside: folders in which it must not lie: the run's and the recipe's.

    Raises:
        UserError: it lies inside one of them, others may read it, or it holds no key.
    """
    for folder in outside:
        if path.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"the key lies inside {folder}, where whoever gets the corpus gets it too; name a file outside", path
            )
    if not path.exists():
        _create(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UserError(f"others may read the key; run: chmod 600 {path}", path)
    key = path.read_bytes().strip()
    try:
        _cipher(key)
    except ValueError as error:
        raise UserError("holds no key (44 characters of base64); name another file, or remove it", path) from error
    return key


def located(settings: DeidentifySettings, recipe_folder: Path, run_folder: Path) -> DeidentifySettings:
    """The settings with absolute paths: the steps run in other processes, perhaps elsewhere.

    Raises:
        UserError: the key lies where whoever gets the corpus gets it, too.
    """
    changed: dict[str, Path] = {}
    if settings.key_file is not None:
        changed["key_file"] = (recipe_folder / settings.key_file).resolve()
        load_key(changed["key_file"], outside=(recipe_folder, run_folder))
    if settings.ner_model is not None:
        changed["ner_model"] = (recipe_folder / settings.ner_model).resolve()
    return settings.model_copy(update=changed)


def _create(path: Path) -> None:
    """Write a new key whole or not at all; of several processes the first one wins."""
    from cryptography.fernet import Fernet

    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
        with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
            os.link(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write the key: {error.strerror}", path) from error
    finally:
        temporary.unlink(missing_ok=True)


def secret_of(key: bytes) -> bytes:
    """The secret of the surrogates, derived from the key."""
    return hmac.new(key, _SECRET, hashlib.sha256).digest()


def sealed_file(key_file: Path) -> Path:
    """Where the encrypted originals of a key lie."""
    return key_file.with_name(f"{key_file.name}.sealed.jsonl")


def seal(key_file: Path, key: bytes, pairs: Mapping[str, Mapping[str, str]]) -> None:
    """Append, for each record id, its {surrogate: original}, encrypted; safe from several processes at once."""
    cipher = _cipher(key)
    lines = [
        json.dumps({"id": record, "sealed": cipher.encrypt(json.dumps(dict(found)).encode()).decode()})
        for record, found in pairs.items()
        if found
    ]
    if not lines:
        return
    path = sealed_file(key_file)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("".join(f"{line}\n" for line in lines))


def reidentify(records: Iterable[Record], key_file: Path) -> list[Record]:
    """Records with their originals, as far as `key_file` has sealed them; ids and steps stay.

    Works also after later steps that changed other parts of the text, because it looks for the surrogates themselves.

    Raises:
        UserError: no key there, no sealed file beside it, or one that another key sealed.
    """
    if not key_file.is_file():
        raise UserError("no such key; without it surrogates cannot be turned back", key_file)
    originals = _open_seals(key_file, load_key(key_file))
    return [_restored(record, originals.get(record.id, {})) for record in records]


def _open_seals(key_file: Path, key: bytes) -> dict[str, dict[str, str]]:
    from cryptography.fernet import InvalidToken

    cipher, path, found = _cipher(key), sealed_file(key_file), {}
    for number, row in read_json_lines(path):
        try:
            found[row["id"]] = json.loads(cipher.decrypt(row["sealed"].encode()))
        except InvalidToken as error:
            raise UserError(f"not sealed by the key {key_file}, or damaged", f"{path}:{number}") from error
    return found


def _restored(record: Record, originals: Mapping[str, str]) -> Record:
    if not originals:
        return record
    marks = re.compile("|".join(map(re.escape, sorted(originals, key=lambda mark: (-len(mark), mark)))))

    def back(text: str) -> str:
        return marks.sub(lambda mark: originals[mark.group()], text)

    def turns(messages: Sequence[Message]) -> list[Message]:
        return [{"role": turn["role"], "content": back(turn["content"])} for turn in messages]

    return replace(
        record,
        text=back(record.text),
        title=[back(heading) for heading in record.title],
        messages=turns(record.messages),
        chosen=turns(record.chosen),
        rejected=turns(record.rejected),
    )


def _cipher(key: bytes) -> Fernet:
    from cryptography.fernet import Fernet

    return Fernet(key)
