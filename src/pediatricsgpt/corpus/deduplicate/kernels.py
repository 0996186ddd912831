"""Digests and marks of records, from the keys of their parts. Importing this module loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pediatricsgpt.corpus.shingles import compiled, hash_points, hash_texts, hash_three, mix

# Equal texts in different places of a record are different marks.
_PASSAGE, _QUESTION, _PAIR = np.uint64(11), np.uint64(12), np.uint64(13)
Words = npt.NDArray[np.uint64]


def digests_and_marks(
    key: Any, ends: Any, tags: Any, first: Any, shapes: Any, own: Any
) -> tuple[Words, Words, Words, npt.NDArray[np.int64]]:
    """What makes two records the same, what they may share, and inside which scope they can be duplicates.

    Sections are compared without their headings and line breaks, facts of a graph with their entity and relation,
    dialogues and pairs turn by turn with the roles. The scope is the shape, of a fact its entity and relation too.
    A mark is what a record may share with another one of its group.

    Args:
        key: the characters of all parts; part `i` is `key[ends[i] : ends[i + 1]]`.
        ends: see `key`.
        tags: what each part is.
        first: the first part of each row, and the end of the last one's.
        shapes: of each row.
        own: which turns of a patient say more than thanks.

    Returns:
        Digests (128 bits a row), scopes, the marks of all rows behind each other, and where each row's end.
    """
    from pediatricsgpt.corpus.deduplicate.fingerprint import MIN_PAIR_KEY, MIN_PASSAGE_KEY, MIN_QUESTION_KEY

    rows = len(first) - 1
    parts, bodies = np.empty((len(tags), 3), np.uint64), np.zeros((rows, 3), np.uint64)
    hash_texts(key, ends, parts)
    digests, scopes = np.empty((rows, 2), np.uint64), np.empty(rows, np.uint64)
    _digests(key, ends, tags, first, shapes, parts, bodies, digests, scopes)
    marks = np.empty(2 * len(tags) + 2 * len(first), np.uint64)
    mark_ends = np.zeros(len(first), np.int64)
    least = np.array([MIN_PASSAGE_KEY, MIN_QUESTION_KEY, MIN_PAIR_KEY], np.int64)
    written = _marks(ends, tags, first, own, parts, bodies, least, marks, mark_ends)
    return digests, scopes, marks[:written], mark_ends


@compiled(
    "void(uint32[::1], int64[::1], int64[::1], int64[::1], int64[::1], uint64[:,::1], uint64[:,::1], uint64[:,::1],"
    " uint64[::1])"
)
def _digests(
    key: Any,
    ends: Any,
    tags: Any,
    first: Any,
    shapes: Any,
    parts: Any,
    bodies: Any,
    digests: Any,
    scopes: Any,
) -> None:
    """Write the digests and scopes, and the hashes of sections as a whole to `bodies`."""
    for row in range(len(first) - 1):
        text = shapes[row] == 0 or shapes[row] == 3
        scope = mix(np.uint64(shapes[row] + 1))
        body, end = first[row], first[row + 1]
        while text and tags[body] == 0:
            scope = mix(scope ^ hash_points(np.uint64(3), key[ends[body] : ends[body + 1]]))
            body += 1
        scopes[row] = scope
        if text and end == body + 1:
            bodies[row] = parts[body]
        elif text:
            hash_three(key[ends[body] : ends[end]], bodies[row])
        for half in range(2):
            value = mix(scope + np.uint64(half))
            if text:
                value = mix(value ^ bodies[row, half])
            else:
                for part in range(body, end):
                    value = mix(value ^ np.uint64(tags[part]))
                    value = mix(value ^ parts[part, half])
            digests[row, half] = value


@compiled(
    "int64(int64[::1], int64[::1], int64[::1], boolean[::1], uint64[:,::1], uint64[:,::1], int64[::1], uint64[::1],"
    " int64[::1])"
)
def _marks(
    ends: Any, tags: Any, first: Any, own: Any, parts: Any, bodies: Any, least: Any, marks: Any, mark_ends: Any
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
                marks[written] = mix(parts[part, 2] + _PASSAGE)
                written += 1
            if tags[part] == 3 and not asked:
                asked = True
                if length >= least[1]:
                    marks[written] = mix(parts[part, 2] + _QUESTION)
                    written += 1
            answers = tags[part] == 4 and part > first[row] and tags[part - 1] == 3 and own[part - 1]
            if answers and length + ends[part] - ends[part - 1] >= least[2]:
                marks[written] = mix(mix(parts[part - 1, 2] + _PAIR) ^ parts[part, 2])
                written += 1
        # A section of one paragraph has it marked already; several are a passage together.
        if sections + 1 < first[row + 1] and ends[first[row + 1]] - ends[sections] >= least[0]:
            marks[written] = mix(bodies[row, 2] + _PASSAGE)
            written += 1
        mark_ends[row + 1] = written
    return written


@compiled("void(uint32[::1], int64[::1], int64[::1], boolean[::1], int64, int64, boolean[::1], boolean[::1])")
def sort_questions(
    key: Any, ends: Any, tags: Any, courteous: Any, question: Any, least: Any, own: Any, unsure: Any
) -> None:
    """Write which parts tagged `question` have `least` characters that no courtesy has, and which only with those."""
    for part in range(len(tags)):
        if tags[part] != question:
            continue
        beside, place = 0, ends[part]
        while beside < least and place < ends[part + 1]:
            beside += not courteous[key[place]]
            place += 1
        own[part] = beside >= least
        unsure[part] = not own[part] and ends[part + 1] - ends[part] >= least
