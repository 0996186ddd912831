"""What the metrics count, compiled: n-grams that two texts share, different words, longest common subsequences.

Importing this module loads numba. A table is [slots, 3] of mark, key and number, open-addressed and never cleared: an
entry counts where its mark is the current one. The number of slots is a power of two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pediatricsgpt.evaluation.compiled import compiled

BLOCK = 1024
"""Rows of a longest common subsequence that are kept at once; of those before, only where each block begins"""

_DOT = 46
_LINES = 66
"""A row of the table, what it matches, and the bits of up to 63 words that stand in more than a 64th of columns"""

# Types of arguments
_I, _II, _WW, _P, _F = "int64[::1]", "int64[:,::1]", "uint64[:,::1]", "uint32[::1]", "boolean[::1]"


@compiled("int64(uint64, int64, uint64[:,::1], int64)")
def _number(key: Any, mark: Any, table: Any, new: Any) -> Any:
    """The number of a key, `new` where it had none; none is given where `new` is -1."""
    mask = np.uint64(len(table) - 1)
    slot = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32) & mask
    while table[slot, 0] == np.uint64(mark):
        if table[slot, 1] == key:
            return np.int64(table[slot, 2])
        slot = slot + np.uint64(1) & mask
    if new >= 0:
        table[slot, 0], table[slot, 1], table[slot, 2] = mark, key, new
    return new


@compiled("int64(uint32[::1], int64, int64, int64, uint64[:,::1], int64[:,::1], int64)")
def _word(points: Any, start: Any, end: Any, mark: Any, table: Any, known: Any, new: Any) -> Any:
    """The number of a word; equal hashes are not trusted, the letters are compared. `known` [words, 2]: its place."""
    key = np.uint64(end - start)
    for place in range(start, end):
        key = (key ^ np.uint64(points[place])) * np.uint64(0x100000001B3)
    mask = np.uint64(len(table) - 1)
    slot = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32) & mask
    while table[slot, 0] == np.uint64(mark):
        if table[slot, 1] == key:
            number = np.int64(table[slot, 2])
            first, last = known[number, 0], known[number, 1]
            same = last - first == end - start
            place = 0
            while same and place < end - start:
                same = points[first + place] == points[start + place]
                place += 1
            if same:
                return number
        slot = slot + np.uint64(1) & mask
    table[slot, 0], table[slot, 1], table[slot, 2] = mark, key, new
    known[new, 0], known[new, 1] = start, end
    return new


@compiled("void(int64[::1], int64[::1], int64, uint64[:,::1], int64[::1], int64[::1], int64[::1])")
def _shared_grams(said: Any, wanted: Any, mark: Any, table: Any, left: Any, seen: Any, out: Any) -> None:
    """Write clipped matches of 1- to 4-grams (`out[2:6]`) and the different 1- and 2-grams of `said` (`out[13:15]`).

    `said` and `wanted` are numbers of words. Marks `mark` to `mark + 3` are used.
    """
    ours, theirs = said.copy(), wanted.copy()  # the number of the gram of the order before that begins here, or -1
    for order in range(1, 5):
        now, new, matched, different = mark + order - 1, 0, 0, 0
        for place in range(len(wanted) - order + 1):
            key = np.uint64(theirs[place]) << np.uint64(32) | np.uint64(wanted[place + order - 1])
            gram = _number(key if order > 1 else np.uint64(wanted[place]), now, table, new)
            if gram == new:
                left[gram] = 0
                new += 1
            left[gram] += 1
            theirs[place] = gram
        of_wanted = new
        for place in range(len(said) - order + 1):
            if ours[place] < 0 and order > 2:
                continue
            key = np.uint64(ours[place]) << np.uint64(32) | np.uint64(said[place + order - 1])
            if order == 1:
                key = np.uint64(said[place])
            gram = _number(key, now, table, new if order < 3 else -1)
            if gram == new:
                new += 1
                different += 1
            elif 0 <= gram < of_wanted:
                different += seen[gram] != now
                seen[gram] = now
                if left[gram] > 0:
                    left[gram] -= 1
                    matched += 1
            # Of single words all numbers are kept, for Distinct; of more only those that the reference has.
            ours[place] = gram if order == 1 or gram < of_wanted else -1
        out[1 + order] = matched
        if order < 3:
            out[12 + order] = different


@compiled("void(int64[::1], int64[::1], int64, uint64[:,::1], int64[::1], int64[::1])")
def _shared_sets(said: Any, wanted: Any, mark: Any, table: Any, seen: Any, out: Any) -> None:
    """Write how many different words and pairs each side has and both have: `out[6:9]` and `out[9:12]`."""
    for order in range(1, 3):
        now, new, different, common = mark + order - 1, 0, 0, 0
        for place in range(len(wanted) - order + 1):
            key = np.uint64(wanted[place]) << np.uint64(32) | np.uint64(wanted[place + order - 1])
            new += _number(key, now, table, new) == new
        of_wanted = new
        for place in range(len(said) - order + 1):
            key = np.uint64(said[place]) << np.uint64(32) | np.uint64(said[place + order - 1])
            gram = _number(key, now, table, new)
            if gram == new:
                new += 1
                different += 1
            elif gram < of_wanted and seen[gram] != now:
                seen[gram] = now
                different += 1
                common += 1
        base = 3 + 3 * order
        out[base], out[base + 1], out[base + 2] = different, of_wanted, common


@compiled(f"int64({_P}, {_I}, {_I}, {_F}, int64, {_WW}, {_II}, int64, {_I}, {_I}, {_I})")
def _sentences(
    points: Any, starts: Any, ends: Any, spaces: Any, mark: Any, table: Any, known: Any, new: Any, words: Any,
    sentence_ends: Any, sizes: Any,
) -> Any:  # fmt: skip
    """Words and sentences as the `rouge` package sees them; how many different words there are now.

    The package joins words with blanks, ends a sentence at every ".", and takes what blanks separate. A sentence of
    nothing but white space has one empty word; one of nothing at all does not count. `sizes` gets the number of words
    and of sentences.
    """
    count, sentences, first, something = 0, 0, 0, False
    for word in range(len(starts) + 1):
        last = word == len(starts)
        something = something or (word > 0 and not last)  # the blank before a word
        start = starts[word] if not last else 0
        end = ends[word] if not last else 1
        if not last and points[start] < len(spaces) and spaces[points[start]]:
            something = True
            continue
        place = start
        while place < end:
            if last or points[place] == _DOT:
                if something and count == first:
                    words[count] = _word(points, 0, 0, mark, table, known, new)
                    new += words[count] == new
                    count += 1
                if count > first:
                    sentence_ends[sentences] = count
                    sentences += 1
                first, something = count, False
                place += 1
                continue
            begin = place
            while place < end and points[place] != _DOT:
                place += 1
            words[count] = _word(points, begin, place, mark, table, known, new)
            new += words[count] == new
            count += 1
            something = True
    sizes[0], sizes[1] = count, sentences
    return new


@compiled("int64(int64[::1], int64[::1], int64, int64, uint64[:,::1], int64[::1], int64[:,::1])")
def _different(words: Any, ends: Any, count: Any, mark: Any, table: Any, seen: Any, out: Any) -> Any:
    """Write where the different ones of `count` sentences begin and end; how many there are.

    Equal sentences add nothing to a union, and a looping model writes hundreds of them.
    """
    new, written, start = 0, 0, 0
    for sentence in range(count):
        node = -1
        for place in range(start, ends[sentence]):
            key = np.uint64(node + 1) << np.uint64(32) | np.uint64(words[place])
            node = _number(key, mark, table, new)
            if node == new:
                new += 1
        if seen[node] != mark:
            seen[node] = mark
            out[written, 0], out[written, 1] = start, ends[sentence]
            written += 1
        start = ends[sentence]
    return written


@compiled("int64(uint64)")
def _highest(bits: Any) -> Any:
    """The place of the highest bit that is set; there is one."""
    place = 0
    for step in (32, 16, 8, 4, 2, 1):
        if bits >> np.uint64(step):
            bits >>= np.uint64(step)
            place += step
    return place


@compiled("int64(int64[::1], int64[::1], int64[::1], uint64[:,::1])")
def _fill_masks(columns: Any, heads: Any, older: Any, lines: Any) -> Any:
    """Make the bits of words that stand in many columns once for all rows: `heads` gets -2 minus their line.

    Words that stand in fewer columns than a line has numbers (64 columns each) are found through `older` as quickly.
    """
    size, line = (len(columns) + 63) // 64, 1
    for place in range(len(columns)):
        word, count, column = columns[place], 0, place
        if heads[word] != place:
            continue
        while column >= 0:
            count += 1
            column = older[column]
        if count <= size:
            continue
        line += 1
        lines[line, :size] = 0
        column = place
        while column >= 0:
            lines[line, column >> 6] |= np.uint64(1) << np.uint64(column & 63)
            column = older[column]
        heads[word] = -2 - line
    return line


@compiled("void(int64, int64[::1], uint64, int64, uint64[:,::1], uint64[::1])")
def _row(head: Any, older: Any, top: Any, size: Any, lines: Any, stops: Any) -> None:
    """One row of the table of lengths (Hyyrö's bit-parallel recurrence).

    `lines[0]` has a zero where the length grows from one column to the next, `lines[1]` is all zeros before and after.
    `stops` gets a bit where the length grows or the column's word is this row's. `top` has the bits of a line's end.
    """
    line, column, carry = 1 if head > -2 else -2 - head, head, np.uint64(0)
    while column >= 0:
        lines[1, column >> 6] |= np.uint64(1) << np.uint64(column & 63)
        column = older[column]
    for each in range(size):
        flat, match = lines[0, each], lines[line, each]
        common = flat & match
        total = flat + common
        over = total < common
        total += carry
        carry = np.uint64(over or total < carry)
        full = top if each == size - 1 else ~np.uint64(0)
        flat = (total | (flat ^ common)) & full
        lines[0, each] = flat
        stops[each] = (full ^ flat) | match
    column = head
    while column >= 0:
        lines[1, column >> 6] = np.uint64(0)
        column = older[column]


@compiled(f"int64({_I}, {_I}, {_I}, {_I}, {_WW}, {_WW}, {_WW}, {_I}, int64)")
def _subsequence(
    rows: Any, columns: Any, heads: Any, older: Any, lines: Any, kept: Any, stops: Any, found: Any, mark: Any
) -> Any:
    """Mark the words of that longest common subsequence which the `rouge` package reconstructs; how many are new.

    The package walks back from the last corner of the table of lengths: diagonally on equal words, else up if the
    cell above is larger than the cell to the left, else left. The cell above is larger exactly where the length grows
    along the row, so within a row the walk goes left to the nearest column that either matches or grows, and leaves
    the row there. The table is made block by block from the end, so that memory stays small.
    """
    size = (len(columns) + 63) // 64
    top = ~np.uint64(0) >> np.uint64(64 * size - len(columns))
    lines[0, : size - 1] = ~np.uint64(0)
    lines[0, size - 1] = top
    blocks = (len(rows) + BLOCK - 1) // BLOCK
    for block in range(blocks):
        kept[block, :size] = lines[0, :size]
        if block < blocks - 1:
            for row in range(block * BLOCK, (block + 1) * BLOCK):
                _row(heads[rows[row]], older, top, size, lines, stops[0])
    left, new = len(columns), 0
    for block in range(blocks - 1, -1, -1):
        first, last = block * BLOCK, min((block + 1) * BLOCK, len(rows))
        lines[0, :size] = kept[block, :size]
        for row in range(first, last):
            _row(heads[rows[row]], older, top, size, lines, stops[row - first])
        for row in range(last - 1, first - 1, -1):
            place = left >> 6
            bits = np.uint64(0)
            if left & 63:
                bits = stops[row - first, place] & ((np.uint64(1) << np.uint64(left & 63)) - np.uint64(1))
            while bits == np.uint64(0) and place > 0:
                place -= 1
                bits = stops[row - first, place]
            if bits == np.uint64(0):
                return new
            column = 64 * place + _highest(bits)
            if columns[column] == rows[row]:
                left = column
                if found[rows[row]] != mark:
                    found[rows[row]] = mark
                    new += 1
            else:
                left = column + 1
    return new


@compiled(f"int64({_I}, {_II}, {_I}, {_II}, {_I}, {_I}, {_I}, {_I}, {_WW}, {_WW}, {_WW}, {_I}, int64)")
def _union(
    said: Any, said_sentences: Any, wanted: Any, wanted_sentences: Any, is_wanted: Any, heads: Any, older: Any,
    columns: Any, lines: Any, kept: Any, stops: Any, found: Any, mark: Any,
) -> Any:  # fmt: skip
    """How many different words the longest common subsequences of all pairs of sentences have together.

    `heads` [words] is -1 everywhere, before and after. `is_wanted` and `found` [words] hold marks.
    """
    for place in range(len(wanted)):
        is_wanted[wanted[place]] = mark
    total = 0
    for one in range(len(said_sentences)):
        width = 0
        for place in range(said_sentences[one, 0], said_sentences[one, 1]):
            word = said[place]
            if is_wanted[word] == mark:  # other words never take part
                columns[width], older[width] = word, heads[word]
                heads[word] = width
                width += 1
        _fill_masks(columns[:width], heads, older, lines)
        for other in range(len(wanted_sentences) if width else 0):
            rows = wanted[wanted_sentences[other, 0] : wanted_sentences[other, 1]]
            total += _subsequence(rows, columns[:width], heads, older, lines, kept, stops, found, mark)
        for place in range(width):
            heads[columns[place]] = -1
    return total


@compiled("void(uint32[::1], int64[::1], int64[::1], int64[::1], boolean[::1], int64, int64, int64[:,::1])")
def count_pairs(
    points: Any, starts: Any, ends: Any, first: Any, spaces: Any, longest: Any, room: Any, out: Any
) -> None:  # fmt: skip
    """Everything that the metrics are computed from, for pairs of a prediction and a reference.

    Args:
        points: code points of all texts.
        starts: where each word begins in `points`.
        ends: where it ends.
        first: the number of the first word of each text, and the number of all words at the end; texts `2 * i` and
            `2 * i + 1` are prediction and reference of pair `i`. A text without words scores nothing.
        spaces: which code points are white space; those beyond its end are not.
        longest: more than a text has characters.
        room: more than a pair has characters and words.
        out: gets the columns of `counting.COLUMNS` [pairs, 15].
    """
    slots = 8
    while slots < 2 * room:
        slots *= 2
    table = np.zeros((slots, 3), np.uint64)
    known, heads, sizes = np.empty((room, 2), np.int64), np.full(room, np.int64(-1), np.int64), np.empty(4, np.int64)
    said_sentences, wanted_sentences = np.empty((room, 2), np.int64), np.empty((room, 2), np.int64)
    spare = np.zeros((11, room), np.int64)
    words, left, older, columns = spare[0], spare[1], spare[2], spare[3]
    seen, is_wanted, found = spare[4], spare[5], spare[6]
    said_pieces, wanted_pieces, said_ends, wanted_ends = spare[7], spare[8], spare[9], spare[10]
    wide = longest // 64 + 1
    kept = np.empty((longest // BLOCK + 1, wide), np.uint64)
    lines = np.zeros((_LINES, wide), np.uint64)
    stops = np.empty((min(longest, BLOCK), wide), np.uint64)
    mark = 1
    for pair in range(len(out)):
        begin, middle, stop = first[2 * pair], first[2 * pair + 1], first[2 * pair + 2]
        new = 0
        for word in range(begin, stop):
            number = _word(points, starts[word], ends[word], mark, table, known, new)
            new += number == new
            words[word - begin] = number
        new = _sentences(
            points, starts[begin:middle], ends[begin:middle], spaces, mark, table, known, new,
            said_pieces, said_ends, sizes[:2],
        )  # fmt: skip
        _sentences(
            points, starts[middle:stop], ends[middle:stop], spaces, mark, table, known, new,
            wanted_pieces, wanted_ends, sizes[2:],
        )  # fmt: skip
        row = out[pair]
        row[0], row[1] = middle - begin, stop - middle
        said, wanted = words[: middle - begin], words[middle - begin : stop - begin]
        _shared_grams(said, wanted, mark + 1, table, left, seen, row)
        said, wanted = said_pieces[: sizes[0]], wanted_pieces[: sizes[2]]
        _shared_sets(said, wanted, mark + 5, table, seen, row)
        ours = _different(said, said_ends, sizes[1], mark + 7, table, seen, said_sentences)
        theirs = _different(wanted, wanted_ends, sizes[3], mark + 8, table, seen, wanted_sentences)
        row[12] = _union(
            said, said_sentences[:ours], wanted, wanted_sentences[:theirs], is_wanted, heads, older, columns, lines,
            kept, stops, found, mark,
        )  # fmt: skip
        mark += 9
