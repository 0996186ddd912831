"""An index over the questions and answers of test sets, and the search for them in training texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pediatricsgpt import text as chinese
from pediatricsgpt.corpus.decontaminate.excerpt import excerpt
from pediatricsgpt.corpus.rules import rules
from pediatricsgpt.corpus.settings import DecontaminateSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Item = tuple[str, str, str]
"""A test item: its id, what it asks, what it answers; either side may be empty"""

MIN_KEY = 20
"""Sides with fewer letters and digits are compared as wholes only, questions with questions"""
SHORT_KEY = 40
"""Sides shorter than this count only where a text holds them completely"""
MIN_QUESTION_KEY = 8
"""Questions with fewer letters and digits tell nothing (怎么办？)"""
SIMILAR_NGRAM = 3
SIDES = ("question", "answer")
COMMON_ROWS = 10
_WHOLE = 0.9
_COMMON_TARGETS = 20
_COMMON_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class Match:
    """A test item that stands in a training row.

    `side` is the test item's (`question` or `answer`), `row_side` the training row's (also `text`). `how` is `exact`
    (equal questions), `n-gram` (`score`: share of the item's n-grams in the text) or `near` (`score`: Jaccard
    similarity). `excerpt` is the longest common stretch, without punctuation.
    """

    test_set: str
    test_id: str
    side: str
    row_side: str
    how: str
    score: float
    excerpt: str


@dataclass(slots=True)
class Index:
    """What `build_index` makes. It can be pickled for other processes.

    A target is a text of one or more test items (`owners`: number of the test set, id, side); `items` are the test
    items of each set, `unchecked` those of them whose two sides are too short or too common to be looked for.
    """

    settings: DecontaminateSettings
    items: dict[str, int]
    unchecked: dict[str, int]
    _names: list[str]
    _keys: list[str]
    _owners: list[list[tuple[int, str, str]]]
    _grams: dict[str, Any] = field(repr=False)
    _near: dict[str, Any] = field(repr=False)
    _questions: dict[str, list[tuple[int, str]]] = field(repr=False)

    def matches(self, question: str, answer: str) -> list[Match]:
        """The test items that stand in one training row; for plain text one side is empty."""
        return self.matches_of([(question, answer)])[0]

    def matches_of(self, rows: Sequence[tuple[str, str]]) -> list[list[Match]]:
        """For each training row, given as question side and answer side, the test items that stand in it.

        Each test item's side is given once a row, in the order of test sets and items. A row whose question side is
        empty is plain text.
        """
        from pediatricsgpt.corpus.shingles import characters

        texts = characters([side for row in rows for side in row])
        found: dict[int, dict[tuple[int, str, str], Match]] = {}
        for text, question in enumerate(row[0] for row in rows) if self._questions else ():
            self._equal(text, question, found)
        for text, target, how, score in (*self._overlapping(texts), *self._similar(texts)):
            row, side = divmod(text, 2)
            row_side = SIDES[side] if rows[row][0] else "text"
            key = (
                texts.key[texts.key_ends[text] : texts.key_ends[text + 1]]
                .tobytes()
                .decode("utf-32-le", "surrogatepass")
            )
            self._add(found.setdefault(row, {}), target, row_side, how, score, key)
        return [list(dict(sorted(found.get(row, {}).items())).values()) for row in range(len(rows))]

    def _add(
        self, found: dict[tuple[int, str, str], Match], target: int, row_side: str, how: str, score: float, key: str
    ) -> None:
        common = ""
        for owner in self._owners[target]:
            if owner not in found:
                common = common or excerpt(key, self._keys[target])
                found[owner] = Match(self._names[owner[0]], owner[1], owner[2], row_side, how, round(score, 4), common)

    def _equal(self, row: int, question: str, found: dict[int, dict[tuple[int, str, str], Match]]) -> None:
        if len(question) > 2 * MIN_KEY:
            return
        key = chinese.key(question)
        for number, name in self._questions.get(key, ()):
            match = Match(self._names[number], name, "question", "question", "exact", 1.0, key)
            found.setdefault(row, {})[number, name, "question"] = match

    def _overlapping(self, texts: Any) -> Iterable[tuple[int, int, str, float]]:
        from pediatricsgpt.corpus.decontaminate.kernels import overlaps

        table, sizes, rare = self._grams, self._grams["sizes"], self._grams["rare"]
        needed = table["needed"]
        names = ("filter", "grams", "common", "owner_ends", "owners")
        arguments: Any = [texts.key, texts.key_ends, self.settings.ngram, *(table[name] for name in names), needed]
        for text, target, whole, few in _searched(overlaps, arguments, len(sizes)):
            score = whole / sizes[target] if whole >= needed[target, 0] else few / rare[target]
            yield text, target, "n-gram", score

    def _similar(self, texts: Any) -> Iterable[tuple[int, int, str, float]]:
        import numpy as np

        from pediatricsgpt.corpus.decontaminate.kernels import similar
        from pediatricsgpt.corpus.minhash import enough_bands, gram_sets

        scopes = np.zeros(len(texts.key_ends) - 1, np.uint64)
        grams, ends, bands = gram_sets(texts.key, texts.key_ends, scopes, SIMILAR_NGRAM, MIN_KEY)
        table = self._near
        arguments = (grams, ends, bands, table["grams"], table["ends"], table["bands"], table["heads"], table["older"])
        limits = (self.settings.threshold, enough_bands(self.settings.threshold))
        for text, target, score, _ in _searched(similar, [*arguments, *limits], len(table["bands"])):
            yield text, target, "near", score / 1e9

    def frequencies(self, rows: Sequence[tuple[str, str]]) -> npt.NDArray[np.int64]:
        """In how many of some training rows each n-gram of the test sets stands; those of several batches add up.

        Give each text once: a row that a set holds twenty times is no template.
        """
        import numpy as np

        from pediatricsgpt.corpus.decontaminate.kernels import count_rows
        from pediatricsgpt.corpus.shingles import characters

        counts = np.zeros(len(self._grams["grams"]), np.int64)
        texts = characters([side for row in rows for side in row])
        table, length = self._grams, self.settings.ngram
        count_rows(texts.key, texts.key_ends, len(SIDES), length, table["filter"], table["grams"], counts)
        return counts

    def without_common(self, frequencies: npt.NDArray[np.int64]) -> Index:
        """An index for which n-grams of more than ten training rows are no evidence of a partial match.

        They are a template that many doctors sent: a row that shares only them with a test item does not hold it. A
        test item that stands in a row as a whole, or all but a tenth of it, is found as before.
        """
        table = {**self._grams, **_evidence(self._keys, self._grams, frequencies > COMMON_ROWS, self.settings)}
        return dataclasses.replace(self, _grams=table)


_ROOM = 4096


def _searched(kernel: Any, arguments: Sequence[Any], targets: int) -> Iterable[tuple[int, ...]]:
    """What a kernel finds, in as many goes as it needs room for."""
    import numpy as np

    found = np.empty((_ROOM + targets, 4), np.int64)
    first = 0
    while first >= 0:
        first = kernel(*arguments, found, first)
        yield from map(tuple, found[: int(np.argmax(found[:, 0] < 0))].tolist())


def build_index(test_sets: Mapping[str, Iterable[Item]], settings: DecontaminateSettings) -> Index:
    """An index over test sets.

    Args:
        test_sets: by their names; items are (id, question, answer), either text may be empty.
        settings: length of n-grams and thresholds.

    Raises:
        ValueError: two items of a test set have the same id.
    """
    names = list(test_sets)
    texts: dict[str, list[tuple[int, str, str]]] = {}
    questions: dict[str, list[tuple[int, str]]] = {}
    items: dict[str, int] = {}
    for number, name in enumerate(names):
        seen: set[str] = set()
        for identity, *sides in test_sets[name]:
            if identity in seen:
                raise ValueError(f"test set '{name}' has two items with the id {identity}")
            seen.add(identity)
            for side, key in zip(SIDES, map(chinese.key, sides), strict=True):
                if len(key) >= MIN_KEY:
                    texts.setdefault(key, []).append((number, identity, side))
                elif side == "question" and len(key) >= MIN_QUESTION_KEY:
                    questions.setdefault(key, []).append((number, identity))
        items[name] = len(seen)
    keys = list(texts)
    grams, near = _gram_table(keys, settings), _near_table(keys)
    checked = {owner[:2] for target, key in enumerate(keys) if grams["sizes"][target] for owner in texts[key]}
    checked |= {owner for owners in questions.values() for owner in owners}
    unchecked = {name: count - sum(names[owner[0]] == name for owner in checked) for name, count in items.items()}
    return Index(settings, items, unchecked, names, keys, list(texts.values()), grams, near, questions)


def _gram_table(keys: Sequence[str], settings: DecontaminateSettings) -> dict[str, Any]:
    """Which target has which n-grams; common n-grams are left out."""
    import numpy as np

    from pediatricsgpt.corpus.decontaminate.kernels import fill_filter

    hashes, counts = _long_grams(keys, settings.ngram)
    pairs = np.unique(np.rec.fromarrays((hashes, np.repeat(np.arange(len(keys), dtype=np.int32), counts))))
    grams, owners = np.unique(pairs["f0"], return_counts=True)
    common, _ = _long_grams([chinese.key(phrase) for phrase in rules("decontaminate")["common"]], settings.ngram)
    rare = (owners <= max(_COMMON_TARGETS, _COMMON_SHARE * len(keys))) & ~np.isin(grams, common)
    kept = np.repeat(rare, owners)
    targets = np.ascontiguousarray(pairs["f1"][kept])
    grams = np.ascontiguousarray(grams[rare])
    bits = np.zeros(1 << max(int(len(grams) / 4).bit_length(), 10), np.uint64)
    fill_filter(grams, bits)
    table = {
        "filter": bits,
        "grams": grams,
        "owner_ends": np.concatenate((np.zeros(1, np.int64), np.cumsum(owners[rare]))),
        "owners": targets,
    }
    return {**table, **_evidence(keys, table, np.zeros(len(grams), np.bool_), settings)}


def _evidence(
    keys: Sequence[str], table: Mapping[str, Any], common: npt.NDArray[np.bool_], settings: DecontaminateSettings
) -> dict[str, Any]:
    """How many n-grams each target has, how many of them are rare in training, and how many make a match.

    A whole target is a match, which of a long one is nine tenths, and so is a share of its rare n-grams; what is left
    of a text without its common phrases has to be worth a match.
    """
    import numpy as np

    lengths = np.array([len(key) for key in keys], np.int64)
    sizes = np.bincount(table["owners"], minlength=len(keys)).astype(np.int64)
    owned = np.repeat(~common, np.diff(table["owner_ends"]))
    rare = np.bincount(table["owners"][owned], minlength=len(keys)).astype(np.int64)
    least = MIN_KEY - settings.ngram + 1
    never, long = np.iinfo(np.int32).max, lengths >= SHORT_KEY
    whole = np.where(sizes < least, never, np.ceil(np.where(long, _WHOLE, 1.0) * sizes))
    part = np.where(long & (rare >= least), np.ceil(settings.overlap * rare), never)
    needed = np.stack((whole, part), axis=1).astype(np.int32)
    return {"common": common, "sizes": sizes, "rare": rare, "needed": needed}


def _long_grams(keys: Sequence[str], length: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """The n-grams of keys behind each other, and how many each has."""
    import numpy as np

    from pediatricsgpt.corpus.decontaminate.kernels import all_long_grams
    from pediatricsgpt.corpus.shingles import characters

    texts = characters(keys)
    hashes, ends = np.empty(len(texts.key), np.uint64), np.zeros(len(keys) + 1, np.int64)
    written = all_long_grams(texts.key, texts.key_ends, length, hashes, ends)
    return hashes[:written], np.diff(ends)


def _near_table(keys: Sequence[str]) -> dict[str, Any]:
    """The 3-gram sets of the targets and their bands, chained by bucket."""
    import numpy as np

    from pediatricsgpt.corpus.decontaminate.kernels import fill_buckets
    from pediatricsgpt.corpus.minhash import BANDS, gram_sets
    from pediatricsgpt.corpus.shingles import characters

    texts = characters(keys)
    grams, ends, bands = gram_sets(texts.key, texts.key_ends, np.zeros(len(keys), np.uint64), SIMILAR_NGRAM, MIN_KEY)
    heads = np.full((BANDS, max(len(keys), 1)), -1, np.int32)
    older = np.full((BANDS, max(len(keys), 1)), -1, np.int32)
    fill_buckets(bands, heads, older)
    return {"grams": grams, "ends": ends, "bands": bands, "heads": heads, "older": older}
