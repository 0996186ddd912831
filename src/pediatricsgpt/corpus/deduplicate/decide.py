"""The global half: who is whose duplicate, and what must stay together, from the fingerprints of all records.

In memory is the index: about 650 bytes a row at the peak (`benchmarks/duplicates.py`). The sets of n-grams stay in the
files, which are memory-mapped, and only those of candidates are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pediatricsgpt.corpus.settings import DeduplicateSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

_WINDOW = 64


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of each record, in reading order.

    `duplicate_of` is the number of the record that is kept instead (-1 where it is kept itself), `similarity` the
    Jaccard similarity to it (1 for exact duplicates, 0 where it is kept), `group` the name of its group. `variant_of`
    is of a kept record the number of an earlier kept one that is as similar as a duplicate, but says other facts or has
    another shape (-1: none).
    """

    keep: npt.NDArray[np.bool_]
    duplicate_of: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float32]
    group: list[str]
    variant_of: npt.NDArray[np.int64]


def decide(files: Sequence[Path], settings: DeduplicateSettings) -> Decision:
    """Decide for all records whose fingerprints stand in Arrow files.

    Exact duplicates and near-duplicates lose against the record of highest quality, then the first in reading order. A
    near-duplicate is dropped only for a record of the same shape and facts that is kept itself. Related records get
    one group: duplicates and near-duplicates (also those that differ in a fact and are both kept), records with the
    same first question, a common question-answer pair or a long common passage. A joined group takes the smallest of
    its names.

    Args:
        files: files of `fingerprint`'s batches, in reading order.
        settings: near-duplicates or only exact ones, and from which similarity.

    Returns:
        One entry a record. It does not depend on how the records are cut into batches and files.
    """
    import pyarrow as pa

    return decide_batches(
        [
            batch
            for path in files
            for reader in [pa.ipc.open_file(pa.memory_map(str(path)))]
            for batch in map(reader.get_batch, range(reader.num_record_batches))
        ],
        settings,
    )


def decide_batches(batches: Sequence[pa.RecordBatch], settings: DeduplicateSettings) -> Decision:
    """As `decide`, for batches that are in memory."""
    import numpy as np

    batches = [batch for batch in batches if batch.num_rows]
    if not batches:
        nobody = np.zeros(0, np.int64)
        return Decision(nobody > 0, nobody, np.zeros(0, np.float32), [], nobody)
    codes, names = _group_codes(batches)
    parents = np.arange(len(names), dtype=np.int32)
    rows = len(codes)
    duplicate_of = np.full(rows, -1, np.int64)
    similarity = np.zeros(rows, np.float32)
    rank = _rank(batches)
    _drop_exact(batches, rank, duplicate_of, similarity)
    variant_of = np.full(rows, -1, np.int64)
    if settings.near:
        _drop_near(batches, settings, rank, codes, parents, duplicate_of, similarity, variant_of)
    dropped = np.flatnonzero(duplicate_of >= 0)
    _join(parents, codes[dropped], codes[duplicate_of[dropped]])
    _join_marked(batches, codes, parents)
    keep: npt.NDArray[np.bool_] = duplicate_of < 0
    return Decision(keep, duplicate_of, similarity, _names(codes, parents, names), variant_of)


def _numbers(batches: Sequence[pa.RecordBatch], column: str) -> npt.NDArray[Any]:
    """A column of numbers, or of lists of one length, over all batches."""
    import numpy as np

    found = []
    for batch in batches:
        values = batch.column(column)
        width = getattr(values.type, "list_size", 0)
        plain = (values.flatten() if width else values).to_numpy()
        found.append(plain.reshape(-1, width) if width else plain)
    return np.concatenate(found)


def _group_codes(batches: Sequence[pa.RecordBatch]) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Each record's group as a number, and the names: the smaller the name, the smaller the number."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pa.chunked_array([batch.column("group") for batch in batches], pa.string())
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place[encoded.indices.to_numpy()], encoded.dictionary.take(pa.array(order)).to_pylist()


def _names(codes: npt.NDArray[np.int32], parents: npt.NDArray[np.int32], names: list[str]) -> list[str]:
    from pediatricsgpt.corpus.deduplicate.search import find_all

    find_all(parents)
    return [names[root] for root in parents[codes].tolist()]


def _rank(batches: Sequence[pa.RecordBatch]) -> npt.NDArray[np.int64]:
    """The records by quality, best first, then in reading order."""
    import numpy as np

    return np.argsort(-_numbers(batches, "quality").astype(np.float64), kind="stable")


def _drop_exact(
    batches: Sequence[pa.RecordBatch], rank: npt.NDArray[np.int64], duplicate_of: Any, similarity: Any
) -> None:
    import numpy as np

    digests = _numbers(batches, "digest").reshape(-1, 2)[rank]
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal ones stay in the order of their rank
    digests = digests[order]
    begins = np.concatenate((np.ones(min(1, len(order)), np.bool_), (digests[1:] != digests[:-1]).any(axis=1)))
    originals = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    rows = rank[order]
    same = ~begins
    duplicate_of[rows[same]] = rows[originals[same]]
    similarity[rows[same]] = 1.0


def _drop_near(
    batches: Sequence[pa.RecordBatch],
    settings: DeduplicateSettings,
    rank: npt.NDArray[np.int64],
    codes: npt.NDArray[np.int32],
    parents: npt.NDArray[np.int32],
    duplicate_of: npt.NDArray[np.int64],
    similarity: npt.NDArray[np.float32],
    variant_of: npt.NDArray[np.int64],
) -> None:
    import numpy as np

    from pediatricsgpt.corpus.deduplicate.search import join_similar, lead, shared_bands
    from pediatricsgpt.corpus.minhash import BANDS, enough_bands

    addresses, sizes = _sets(batches)
    order = rank[(duplicate_of[rank] < 0) & (sizes[rank] > 0)]
    bands = _numbers(batches, "bands").reshape(-1, BANDS)
    kinds = _numbers(batches, "scope")
    if settings.keep_differing_facts:
        kinds = kinds + _numbers(batches, "facts")
    enough = enough_bands(settings.threshold)
    masks = shared_bands(np.sort(order), bands, kinds)
    lead(order, bands, kinds, masks, addresses, sizes, settings.threshold, enough, duplicate_of, similarity)
    kept = np.sort(order[duplicate_of[order] < 0])
    masks = shared_bands(kept, bands, np.zeros(len(bands), np.uint64))
    limits = (settings.threshold, enough, _WINDOW)
    join_similar(kept, bands, masks, addresses, sizes, *limits, codes, parents, variant_of)


def _sets(batches: Sequence[pa.RecordBatch]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Where in memory the n-grams of each record stand, and how many they are. Valid as long as the batches live."""
    import numpy as np

    addresses, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for batch in batches:
        column = batch.column("grams")
        ends = column.offsets.to_numpy()
        if not ends[-1] - ends[0]:
            addresses.append(np.zeros(len(batch), np.uint64))
            sizes.append(np.zeros(len(batch), np.int64))
            continue
        start = column.values.buffers()[1].address + 4 * column.values.offset
        addresses.append((start + 4 * ends[:-1]).astype(np.uint64))
        sizes.append(np.diff(ends))
    return np.concatenate(addresses), np.concatenate(sizes)


def _join_marked(batches: Sequence[pa.RecordBatch], codes: npt.NDArray[np.int32], parents: Any) -> None:
    """Join the groups of records that share a mark."""
    import numpy as np

    marks = [batch.column("marks") for batch in batches]
    values = np.concatenate([column.flatten().to_numpy() for column in marks])
    counts = np.concatenate([np.diff(column.offsets.to_numpy()) for column in marks])
    order = np.argsort(values)
    values = values[order]
    owners = np.repeat(codes, counts)[order]
    same = values[1:] == values[:-1]
    _join(parents, owners[:-1][same], owners[1:][same])


def _join(parents: Any, ones: npt.NDArray[np.int32], others: npt.NDArray[np.int32]) -> None:
    from pediatricsgpt.corpus.deduplicate.search import join_all

    join_all(parents, ones, others)
