"""Digests and marks of records, from the keys of their parts. Importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pediatricsgpt.corpus.shingles import compiled, hash_points, hash_texts, mix

# Equal texts in different places of a record are different marks.
_PASSAGE, _QUESTION, _PAIR = np.uint64(11), np.uint64(12), np.uint64(13)


def digest_rows(
    key: Any, ends: Any, tags: Any, first: Any, shapes: Any
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """What makes two records the same, as 128 bits, and the scope inside which records can be duplicates.

    Sections are compared without their headings and line breaks, facts of a graph with their entity and relation,
    dialogues and pairs turn by turn with the roles. The scope is the shape, of a fact its entity and relation too.
    """
    rows = len(first) - 1
    digests, scopes = np.empty((rows, 2), np.uint64), np.empty(rows, np.uint64)
    _digests(key, ends, tags, first, shapes, digests, scopes)
    return digests, scopes


@compiled("void(uint32[::1], int64[::1], int64[::1], int64[::1], int64[::1], uint64[:,::1], uint64[::1])")
def _digests(key: Any, ends: Any, tags: Any, first: Any, shapes: Any, digests: Any, scopes: Any) -> None:
    for row in range(len(first) - 1):
        text = shapes[row] == 0 or shapes[row] == 3
        scope = mix(np.uint64(shapes[row] + 1))
        body = first[row]
        while text and tags[body] == 0:
            scope = mix(scope ^ hash_points(np.uint64(3), key[ends[body] : ends[body + 1]]))
            body += 1
        scopes[row] = scope
        for half in range(2):
            value = mix(scope + np.uint64(half))
            if text:
                value = mix(value ^ hash_points(np.uint64(half), key[ends[body] : ends[first[row + 1]]]))
            else:
                for part in range(body, first[row + 1]):
                    value = mix(value ^ np.uint64(tags[part]))
                    value = mix(value ^ hash_points(np.uint64(half), key[ends[part] : ends[part + 1]]))
            digests[row, half] = value


def mark_rows(
    key: Any, ends: Any, tags: Any, first: Any, own: Any
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """What each record may share with another one of its group: hashes behind each other, and where each row's end.

    Args:
        key: the characters of all parts; part `i` is `key[ends[i] : ends[i + 1]]`.
        ends: see `key`.
        tags: what each part is.
        first: the first part of each row, and the end of the last one's.
        own: which turns of a patient say more than thanks.
    """
    from pediatricsgpt.corpus.deduplicate.fingerprint import MIN_PAIR_KEY, MIN_PASSAGE_KEY, MIN_QUESTION_KEY

    hashes = np.empty(len(tags), np.uint64)
    hash_texts(np.uint64(2), key, ends, hashes)
    marks = np.empty(2 * len(tags) + 2 * len(first), np.uint64)
    mark_ends = np.zeros(len(first), np.int64)
    least = np.array([MIN_PASSAGE_KEY, MIN_QUESTION_KEY, MIN_PAIR_KEY], np.int64)
    written = _marks(key, ends, tags, first, own, hashes, least, marks, mark_ends)
    return marks[:written], mark_ends


@compiled(
    "int64(uint32[::1], int64[::1], int64[::1], int64[::1], boolean[::1], uint64[::1], int64[::1], uint64[::1],"
    " int64[::1])"
)
def _marks(
    key: Any, ends: Any, tags: Any, first: Any, own: Any, hashes: Any, least: Any, marks: Any, mark_ends: Any
) -> Any:
    written = 0
    for row in range(len(first) - 1):
        asked = False
        sections = first[row + 1]  # the first paragraph
        for part in range(first[row], first[row + 1]):
            length = ends[part + 1] - ends[part]
            kind = tags[part] % 8
            if kind == 1:
                sections = min(sections, part)
            if kind != 0 and kind != 2 and length >= least[0]:
                marks[written] = mix(hashes[part] + _PASSAGE)
                written += 1
            if tags[part] == 3 and not asked:
                asked = True
                if length >= least[1]:
                    marks[written] = mix(hashes[part] + _QUESTION)
                    written += 1
            answers = tags[part] == 4 and part > first[row] and tags[part - 1] == 3 and own[part - 1]
            if answers and length + ends[part] - ends[part - 1] >= least[2]:
                marks[written] = mix(mix(hashes[part - 1] + _PAIR) ^ hashes[part])
                written += 1
        # A section of one paragraph has it marked already; several are a passage together.
        if sections + 1 < first[row + 1] and ends[first[row + 1]] - ends[sections] >= least[0]:
            whole = hash_points(np.uint64(2), key[ends[sections] : ends[first[row + 1]]])
            marks[written] = mix(whole + _PASSAGE)
            written += 1
        mark_ends[row + 1] = written
    return written
