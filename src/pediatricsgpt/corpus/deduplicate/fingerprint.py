"""What deciding about duplicates needs to know of a record, made by any process for a batch at a time.

A fingerprint holds hashes, not text. Marks are what a record may share with another one of its group: its first
question, a question-answer pair, a long passage. N-grams are those of the whole section or conversation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.rules import pattern
from pediatricsgpt.corpus.settings import DeduplicateSettings
from pediatricsgpt.records import Record

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

MIN_QUESTION_KEY = 8
MIN_PASSAGE_KEY = 40
MIN_PAIR_KEY = 20
MIN_NEAR_KEY = 20
"""Shorter texts are compared as wholes only: one other character is much of them"""

_ROLES = {"system": 2, "user": 3, "assistant": 4}
_SHAPES = {"text": 0, "messages": 1, "preference": 2}
_GRAPH = 3


def fingerprint(
    records: Sequence[Record], settings: DeduplicateSettings, quality: Sequence[float] | None = None
) -> pa.RecordBatch:
    """Fingerprints of records, in their order.

    Args:
        records: any number of them.
        settings: only the length of n-grams, and whether near-duplicates are looked for, matter here.
        quality: one number a record; of several duplicates the one with the highest is kept. All equal if absent.

    Returns:
        One row a record: `group` (its name), `digest` (two uint64: rows with equal ones say the same), `marks`
        (list of uint64), `scope` (uint64: rows of different scope are no duplicates of each other), `facts` (uint64),
        `bands` (32 uint32), `grams` (list of uint32, distinct and rising; empty for short texts), `quality`.

    Raises:
        ValueError: the numbers of records and of qualities differ, or a quality is no number.
    """
    import numpy as np

    from pediatricsgpt.corpus.deduplicate.kernels import digests_and_marks
    from pediatricsgpt.corpus.shingles import characters

    qualities = np.zeros(len(records)) if quality is None else np.asarray(quality, np.float64)
    if len(qualities) != len(records) or np.isnan(qualities).any():
        raise ValueError(f"{len(records)} records need as many qualities that are numbers, not {len(qualities)}")
    parts, tags, first, shapes = _parts(records)
    texts = characters(parts)
    own = _says_something(parts, tags, texts)
    digests, scopes, marks, mark_ends = digests_and_marks(texts.key, texts.key_ends, tags, first, shapes, own)
    near = _near(settings, texts, tags, first, scopes, shapes)
    return _batch([record.group for record in records], digests, marks, mark_ends, scopes, near, qualities)


def _parts(records: Sequence[Record]) -> tuple[list[str], Any, Any, Any]:
    """The texts of all records behind each other, what each is (kind + 8 x side), where each record begins, shapes.

    Kinds are 0 titles, 1 paragraphs, 2-4 turns by their role; sides are 0 messages, 1 chosen, 2 rejected.
    """
    import numpy as np

    parts: list[str] = []
    tags: list[int] = []
    first: list[int] = [0]
    shapes: list[int] = []
    for record in records:
        shape = record.shape
        if shape == "text":
            graph = record.source.kind == "knowledge_graph"
            titles = record.title if graph else []
            paragraphs = record.text.split("\n")
            parts += [*titles, *paragraphs]
            tags += [0] * len(titles) + [1] * len(paragraphs)
            shapes.append(_GRAPH if graph else _SHAPES[shape])
        else:
            shapes.append(_SHAPES[shape])
            for turn in record.messages:
                parts.append(turn["content"])
                tags.append(_ROLES[turn["role"]])
        if shape == "preference":
            for side, turns in ((1, record.chosen), (2, record.rejected)):
                parts += [turn["content"] for turn in turns]
                tags += [_ROLES[turn["role"]] + 8 * side for turn in turns]
        first.append(len(parts))
    return parts, np.array(tags, np.int64), np.array(first, np.int64), np.array(shapes, np.int64)


def _says_something(parts: Sequence[str], tags: Any, texts: Any) -> npt.NDArray[np.bool_]:
    """Which turns of a patient say enough beside courtesies to be recognised by."""
    import numpy as np

    from pediatricsgpt.corpus.deduplicate.kernels import sort_questions

    table, expression = _courtesies()
    own, unsure = np.zeros(len(tags), np.bool_), np.zeros(len(tags), np.bool_)
    sort_questions(texts.key, texts.key_ends, tags, table, _ROLES["user"], MIN_QUESTION_KEY, own, unsure)
    for part in np.flatnonzero(unsure).tolist():
        own[part] = len(chinese.key(expression.sub("", parts[part]))) >= MIN_QUESTION_KEY
    return own


@functools.cache
def _courtesies() -> tuple[npt.NDArray[np.bool_], re.Pattern[str]]:
    """Every character that a courtesy can hold (no other is ever taken away), and the expression itself."""
    import numpy as np

    expression = pattern("duplicates", "courtesies")
    table = np.zeros(0x110000, np.bool_)
    table[[ord(character) for character in set(expression.pattern) if character.isalnum()]] = True
    return table, expression


def _near(
    settings: DeduplicateSettings, texts: Any, tags: Any, first: Any, scopes: Any, shapes: Any
) -> tuple[Any, ...]:
    """Facts, bands, n-grams and the ends of their sets."""
    import numpy as np

    from pediatricsgpt.corpus.deduplicate.facts import fact_hashes
    from pediatricsgpt.corpus.minhash import BANDS, gram_sets

    rows = len(first) - 1
    if not settings.near:
        empty = np.zeros(0, np.uint32), np.zeros(rows + 1, np.int64)
        return np.zeros(rows, np.uint64), np.zeros((rows, BANDS), np.uint32), *empty
    compared = (tags == 1) | (tags % 8 > 2) & (tags < 16)
    points, ends = texts.key, texts.key_ends[first]
    if not compared.all():
        lengths = np.diff(texts.key_ends)
        points = texts.key[np.repeat(compared, lengths)]
        ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths * compared)))[first]
    # Facts of a graph are compared with other versions of the same fact, not with those of other entities.
    own_scope = np.where(shapes == _GRAPH, scopes, np.uint64(0))
    grams, gram_ends, bands = gram_sets(points, ends, own_scope, settings.ngram, MIN_NEAR_KEY)
    return fact_hashes(texts, first), bands, grams, gram_ends


def _batch(
    groups: list[str], digests: Any, marks: Any, mark_ends: Any, scopes: Any, near: tuple[Any, ...], quality: Any
) -> pa.RecordBatch:
    import pyarrow as pa

    facts, bands, grams, gram_ends = near
    lists = pa.LargeListArray.from_arrays
    return pa.RecordBatch.from_pydict(
        {
            "group": pa.array(groups, pa.string()),
            "digest": pa.FixedSizeListArray.from_arrays(pa.array(digests.ravel()), 2),
            "marks": lists(pa.array(mark_ends), pa.array(marks)),
            "scope": pa.array(scopes),
            "facts": pa.array(facts),
            "bands": pa.FixedSizeListArray.from_arrays(pa.array(bands.ravel()), bands.shape[1]),
            "grams": lists(pa.array(gram_ends), pa.array(grams)),
            "quality": pa.array(quality),
        }
    )
