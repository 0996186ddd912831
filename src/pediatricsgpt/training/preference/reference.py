"""What the frozen reference makes of each answer: asked at every step, once before training, or the adapter's base."""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from pediatricsgpt.manifest import write_atomically

Values = dict[int, tuple[float, float]]
"""Log-probabilities of the preferred and the low answer of a pair, by its number"""
_SAVED_EVERY = 30.0  # seconds


def key_of(model: str, pairs: Any, precision: str) -> str:
    """What precomputed values belong to.

    Args:
        model: what tells the model from others (`models.load.identity`).
        pairs: the training set; its token ids hold data, tokenizer and chat template.
        precision: of the forward pass.

    Returns:
        a hexadecimal digest.
    """
    found = hashlib.sha256(json.dumps([model, precision]).encode())
    for pair in pairs:
        for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
            ids = array("q", pair[name])
            found.update(len(ids).to_bytes(8, "little") + ids.tobytes())
    return found.hexdigest()


class Cache:
    """Precomputed values on the disk: whole after every write, so a killed computation goes on where it was."""

    def __init__(self, folder: Path, key: str, process: int = 0) -> None:
        """Read what is there.

        Args:
            folder: of the phase; all processes see it.
            key: from `key_of`; values of another key are not read.
            process: number of this process, which has a file of its own.
        """
        self._folder, self._key = folder, key
        self._path = folder / f"reference-{process}.json"
        self._own: Values = self._read(self._path)
        self._saved = time.monotonic()

    @classmethod
    def files(cls, folder: Path) -> list[Path]:
        """The files of all processes."""
        return sorted(folder.glob("reference-*.json"))

    def known(self) -> Values:
        """What any process has computed."""
        return {number: value for path in self.files(self._folder) for number, value in self._read(path).items()}

    def add(self, numbers: Iterable[int], values: Iterable[tuple[float, float]]) -> None:
        """Take in new values; they are written now and then."""
        self._own |= dict(zip(numbers, values, strict=True))
        if time.monotonic() - self._saved > _SAVED_EVERY:
            self.save()

    def save(self) -> None:
        """Write what this process has."""
        said = {"key": self._key, "values": {str(number): value for number, value in sorted(self._own.items())}}
        write_atomically(self._path, json.dumps(said))
        self._saved = time.monotonic()

    def _read(self, path: Path) -> Values:
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            if said["key"] != self._key:
                return {}
            return {int(number): (value[0], value[1]) for number, value in said["values"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}


def fill(
    cache: Cache,
    pairs: int,
    batches: Callable[[list[int]], Iterable[tuple[list[int], torch.Tensor]]],
    *,
    process: int = 0,
    processes: int = 1,
    wait: Callable[[], None] = lambda: None,
    show: Callable[[int, int], None] = lambda *_: None,
) -> torch.Tensor:
    """Compute what is missing, each process its part, and read everything.

    Args:
        cache: of this process.
        pairs: how many there are.
        batches: gives, for the numbers of pairs, parts of them with their values [pairs, 2].
        process: number of this process.
        processes: how many there are.
        wait: returns once every process is there.
        show: takes how many pairs are done of how many that this process has to ask for.

    Returns:
        [pairs, 2] float32 summed log-probabilities.
    """
    known = cache.known()
    missing = [number for number in range(pairs) if number not in known]
    wait()  # all have read the same before anyone writes
    own, done = missing[process::processes], 0
    try:
        for numbers, values in batches(own):
            cache.add(numbers, [(float(one), float(other)) for one, other in values.tolist()])
            done += len(numbers)
            show(done, len(own))
    finally:
        cache.save()
    wait()
    known = cache.known()
    return torch.tensor([known[number] for number in range(pairs)], dtype=torch.float32)
