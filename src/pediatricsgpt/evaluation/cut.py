"""The words of profile `paper`: exactly those of `jieba.cut` with jieba's own dictionary, cut by compiled code.

jieba itself is not imported: its dictionary and its model are read from its folder, so that words which the user adds
to jieba cannot change a score, nothing is logged, and no cache is written to or trusted from the temporary folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.uint32]
Places = NDArray[np.int64]

_SLOTS = 1 << 20
"""Of the trie to begin with; jieba's 0.42.1 fills half of them"""
_STATES = "BEMS"
_HAN = range(0x4E00, 0x9FD6)
# jieba's own "impossible"; among paths that are impossible its ties decide, so it has to be the same number
_NEVER = -3.14e100


@dataclass(frozen=True, slots=True)
class Words:
    """Words of many texts: word `k` is `points[starts[k] : ends[k]]`, text `i` has words `first[i] .. first[i + 1]`."""

    points: Points
    starts: Places
    ends: Places
    first: Places


@dataclass(frozen=True, slots=True)
class _Model:
    """jieba's dictionary and hidden Markov model as `cut_kernels` takes them."""

    keys: NDArray[np.uint64]
    weights: NDArray[np.float64]
    unknown: float
    emit: NDArray[np.float64]
    begin: NDArray[np.float64]
    move: NDArray[np.float64]


def cut(text: str) -> list[str]:
    """Words of a text, equal to `list(jieba.cut(text))` with jieba's default dictionary; white space included."""
    ends = cut_texts([text]).ends.tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def cut_texts(texts: Sequence[str]) -> Words:
    """Words of many texts at once."""
    from pediatricsgpt.evaluation import cut_kernels

    model = _model()
    points, text_ends = joined(texts)
    ends, first = np.empty(len(points), np.int64), np.empty(len(texts) + 1, np.int64)
    count = cut_kernels.cut_all(
        points, text_ends, model.keys, model.weights, model.unknown, model.emit, model.begin, model.move, ends, first
    )
    starts = np.zeros(count, np.int64)
    starts[1:] = ends[: count - 1]
    return Words(points, starts, ends[:count], first)


def joined(texts: Sequence[str]) -> tuple[Points, Places]:
    """Code points of texts behind each other, and where each ends, a zero before the first."""
    points = np.frombuffer(bytearray("".join(texts).encode("utf-32-le", "surrogatepass")), np.uint32)
    ends = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=ends[1:])
    return points, ends


@lru_cache(maxsize=1)
def cut_version() -> str:
    """What cut the words, for a metric signature: jieba's version and the hash of its dictionary."""
    digest = hashlib.sha256((_folder() / "dict.txt").read_bytes()).hexdigest()
    return f"jieba-{importlib.metadata.version('jieba')},dict:{digest[:12]}"


def _folder() -> Path:
    """Where jieba lies; finding a package does not import it."""
    spec = importlib.util.find_spec("jieba")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("jieba is not installed")
    return Path(spec.origin).parent


@lru_cache(maxsize=1)
def _model() -> _Model:
    keys, weights, unknown = trie((_folder() / "dict.txt").read_bytes().decode("utf-8"))
    begin, move, emit = (_load(name).P for name in ("prob_start", "prob_trans", "prob_emit"))
    return _Model(
        keys,
        weights,
        unknown,
        np.array([[emit[state].get(chr(point), _NEVER) for state in _STATES] for point in _HAN]),
        np.array([begin[state] for state in _STATES]),
        np.array([[move[state].get(after, _NEVER) for after in _STATES] for state in _STATES]),
    )


def trie(dictionary: str) -> tuple[NDArray[np.uint64], NDArray[np.float64], float]:
    """Keys and weights of a dictionary's trie, and the weight of a character that is no word; see `cut_kernels`."""
    from pediatricsgpt.evaluation import cut_kernels

    points, slots, total = joined([dictionary])[0], _SLOTS // 2, -1
    while total < 0:
        slots *= 2
        keys, counts = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
        total = cut_kernels.fill(points, keys, counts)
    log_total = math.log(total)
    words = np.flatnonzero(counts)
    distinct, which = np.unique(counts[words], return_inverse=True)
    weights = np.full(slots, np.nan)
    weights[words] = np.array([math.log(count) - log_total for count in distinct.tolist()])[which]
    return keys, weights, -log_total


def _load(name: str) -> ModuleType:
    """One table of jieba's model, without the package around it, which would be imported with it."""
    path = _folder() / "finalseg" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"_jieba_{name}", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"jieba has no {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
