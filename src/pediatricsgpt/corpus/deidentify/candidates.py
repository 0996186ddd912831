"""Every place of a text that may be a name, and the features by which a linear model weighs it.

Importing this module loads numba: do it inside functions. The features are hashed n-grams of characters around and in
the candidate, how usual its characters are in names, and whether words of the dictionary cross its borders (feature
hashing: K. Weinberger et al., 2009).
"""

from __future__ import annotations

import numba
import numpy as np

BUCKETS_LOG2 = 20
FEATURES, NEAR = 96, 38
# how usual the characters of a given name are at least
_USUAL = 4
# bits of a character's flags
SURNAME, HAN, BARRED, OPENS_PET, SMALL, TAIL, BOUNDARY, LATIN = 1, 2, 4, 8, 16, 32, 64, 128
# bits of a word's entry, above its class of frequency
CLASS, PERSON, TITLE, PET, COMPOUND = 7, 8, 16, 32, 64
# kinds of candidates; those from DOUBLED on are nicknames
TWO, THREE, FOUR, COMPOUND_THREE, COMPOUND_FOUR, TITLED, COMPOUND_TITLED = 0, 1, 2, 3, 4, 5, 6
DOUBLED, SMALL_ONE, TAILED, PET_WORD, PET_OPEN, LATIN_WORD, GIVEN, LITTLE = 7, 8, 9, 10, 11, 12, 13, 14
KINDS = 15
# bits of the forms in which a name may begin at one place, lowest first as they are written, with length and kind
_FORMS = (
    *((2, TWO), (3, THREE), (4, FOUR), (1, TITLED), (3, COMPOUND_THREE), (4, COMPOUND_FOUR), (2, COMPOUND_TITLED)),
    *((2, DOUBLED), (2, LITTLE), (2, SMALL_ONE), (3, SMALL_ONE), (2, TAILED), (2, PET_WORD), (2, PET_OPEN), (2, GIVEN)),
    *((3, PET_WORD), (3, PET_OPEN)),
)
_LENGTH, _KIND = np.array(_FORMS, np.int32).T.copy()
_TWO, _THREE, _FOUR, _TITLED, _COMPOUND_THREE, _COMPOUND_FOUR, _COMPOUND_TITLED = 1, 2, 4, 8, 16, 32, 64
_DOUBLED, _LITTLE, _SMALL, _SMALL_THREE, _TAILED = 128, 256, 512, 1024, 2048
_PET, _OPEN, _GIVEN, _PET_THREE, _OPEN_THREE = 4096, 8192, 16384, 32768, 65536
# the place of a single bit, by its remainder
_LOWEST = np.zeros(19, np.int32)
_LOWEST[[(1 << form) % 19 for form in range(len(_FORMS))]] = range(len(_FORMS))
_TITLE_GROUP, _PET_GROUP = 1, 2
_FIRST, _SECOND, _THIRD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_EDGE = 8
OLD = ord("老")


@numba.njit(cache=True, inline="always")
def _bucket(feature, group, a, b, c, d):  # type: ignore[no-untyped-def]
    """The bucket of a feature of up to four characters."""
    value = np.uint64(a) | (np.uint64(b) << np.uint64(16)) | (np.uint64(c) << np.uint64(32))
    value = (value | (np.uint64(d) << np.uint64(48))) * _FIRST
    value ^= value >> np.uint64(29)
    value = (value + np.uint64(feature * 64 + group)) * _SECOND
    value ^= value >> np.uint64(32)
    value *= _THIRD
    return np.int64(value >> np.uint64(64 - BUCKETS_LOG2))


@numba.njit(cache=True)
def lookup(keys, entries, text, start, length):  # type: ignore[no-untyped-def]
    """The dictionary's entry of `length` (2 to 4) characters from `start`; 0 of no word."""
    key = np.uint64(0)
    for i in range(start, start + length):
        key = (key << np.uint64(16)) | np.uint64(text[i])
    mask = len(keys) - 1
    slot = np.int64((key * _FIRST) >> np.uint64(40)) & mask
    while keys[slot] != 0:
        if keys[slot] == key:
            return entries[slot]
        slot = (slot + 1) & mask
    return np.uint8(0)


@numba.njit(cache=True)
def fill(keys, entries, new_keys, new_entries):  # type: ignore[no-untyped-def]
    """Put words into the open-addressed table; of a word that comes twice the bits are joined."""
    mask = len(keys) - 1
    for i in range(len(new_keys)):
        slot = np.int64((new_keys[i] * _FIRST) >> np.uint64(40)) & mask
        while keys[slot] != 0 and keys[slot] != new_keys[i]:
            slot = (slot + 1) & mask
        keys[slot] = new_keys[i]
        entries[slot] |= new_entries[i]


@numba.njit(cache=True)
def entries_near(text, start, stop, keys, entries, found):  # type: ignore[no-untyped-def]
    """Write into `found` what `entries_of` finds from the places `start` to `stop`."""
    for i in range(max(0, start), min(stop, len(text) - 4)):
        found[:, i] = 0
        if text[i] >= 0x3400 and text[i + 1] >= 0x3400:
            found[0, i] = lookup(keys, entries, text, i, 2)
            if text[i + 2] >= 0x3400:
                found[1, i] = lookup(keys, entries, text, i, 3)
                if text[i + 3] >= 0x3400 and (found[1, i] or found[0, i]):
                    found[2, i] = lookup(keys, entries, text, i, 4)


@numba.njit(cache=True)
def entries_of(text, keys, entries):  # type: ignore[no-untyped-def]
    """The dictionary's entries of the words of two, three and four characters from every place: uint8 of (3, n)."""
    found = np.zeros((3, len(text)), np.uint8)
    entries_near(text, 0, len(text), keys, entries, found)
    return found


@numba.njit(cache=True)
def _titled(words, at):  # type: ignore[no-untyped-def]
    return (words[0, at] | words[1, at] | words[2, at]) & TITLE


@numba.njit(cache=True)
def enumerate_candidates(text, flags, shapes, words, out):  # type: ignore[no-untyped-def]
    """Write (start, end, kind) of every candidate into `out`; returns how many.

    Args:
        text: uint16 codes, normalised, with `_EDGE` boundary codes on both sides.
        flags: uint8 by code.
        shapes: as in `features`.
        words: of `entries_of`.
        out: int32 of shape (n, 3).
    """
    n = 0
    for i in range(_EDGE, len(text) - _EDGE):
        if n + 16 > len(out):
            break
        own, second = flags[text[i]], flags[text[i + 1]]
        if own & second & LATIN and not flags[text[i - 1]] & LATIN:
            end = i + 2
            while end < i + 8 and flags[text[end]] & LATIN:
                end += 1
            if not flags[text[end]] & LATIN:
                out[n, 0], out[n, 1], out[n, 2] = i, end, LATIN_WORD
                n += 1
        if not own & second & HAN:
            continue
        third, fourth, forms = flags[text[i + 2]], flags[text[i + 3]], 0
        if own & SURNAME:
            forms |= _full_names(second, third, fourth) | (_TITLED if _titled(words, i + 1) else 0)
        if words[0, i] & COMPOUND:
            forms |= _compound_names(third, fourth) | (_COMPOUND_TITLED if _titled(words, i + 2) else 0)
        if _in_names(own) and _in_names(second):
            if text[i] == text[i + 1]:
                forms |= _DOUBLED
            else:
                usual = shapes[text[i], 1] >= _USUAL and shapes[text[i + 1], 2] >= _USUAL
                forms |= _LITTLE if text[i] == OLD and second & SURNAME else 0
                forms |= _nicknames(flags[text[i - 1]], own, second, third, words[0, i], words[1, i], usual)
        while forms:
            form = _LOWEST[(forms & -forms) % 19]
            out[n, 0], out[n, 1], out[n, 2] = i, i + _LENGTH[form], _KIND[form]
            forms &= forms - 1
            n += 1
    return n


@numba.njit(cache=True)
def _in_names(flag):  # type: ignore[no-untyped-def]
    """Whether a character with these flags may be one of a given name."""
    return flag & (HAN | BARRED) == HAN


@numba.njit(cache=True)
def _full_names(second, third, fourth):  # type: ignore[no-untyped-def]
    """The forms of a full name behind a surname, from the flags of the characters that follow."""
    if not _in_names(second):
        return 0
    if not _in_names(third):
        return _TWO
    return _TWO | _THREE | (_FOUR if second & SURNAME and _in_names(fourth) else 0)


@numba.njit(cache=True)
def _compound_names(third, fourth):  # type: ignore[no-untyped-def]
    """The same behind a surname of two characters."""
    return (_COMPOUND_THREE | (_COMPOUND_FOUR if _in_names(fourth) else 0)) if _in_names(third) else 0


@numba.njit(cache=True)
def _nicknames(before, own, second, third, pair, triple, usual):  # type: ignore[no-untyped-def]
    """The forms of a nickname of two different characters, or three, from the flags of the characters before and of it,
    the dictionary's entries of two and of all three, and whether the first two are usual ones of a given name.
    """
    longer = _in_names(third)
    if own & SMALL:
        return _SMALL | (_SMALL_THREE if longer else 0)
    tail, opens = second & TAIL, not before & HAN or before & OPENS_PET
    forms = _TAILED if tail else 0
    if pair & PET:
        forms |= _PET
    elif not tail:
        forms |= _OPEN if opens else (_GIVEN if usual else 0)
    if longer:
        forms |= _PET_THREE if triple & PET else (_OPEN_THREE if opens else 0)
    return forms


@numba.njit(cache=True)
def _group(kind):  # type: ignore[no-untyped-def]
    if kind >= DOUBLED:
        return _PET_GROUP
    return _TITLE_GROUP if kind >= TITLED else 0


@numba.njit(cache=True)
def _surname_length(kind):  # type: ignore[no-untyped-def]
    """How many characters come before the given name: none in a nickname (子涵)."""
    if kind >= DOUBLED:
        return 0
    return 2 if kind in (COMPOUND_THREE, COMPOUND_FOUR, COMPOUND_TITLED) else 1


@numba.njit(cache=True)
def features(text, s, e, kind, shapes, words, out):  # type: ignore[no-untyped-def]
    """Write the buckets of the features of text[s:e] into `out`; returns how many.

    Args:
        text: as in `enumerate_candidates`.
        shapes: uint8 of shape (65536, 4): how usual a character is as surname, first and second of a given name, and
            in words at large.
        words: of `entries_of`.
        out: int32, at least `FEATURES` long.
    """
    near(text, s, e, kind, shapes, out)
    return far(text, s, e, kind, shapes, words, out)


@numba.njit(cache=True, inline="always")
def _beside(text, s, e, kind, out):  # type: ignore[no-untyped-def]
    """What stands beside it: 15 features from 0 on."""
    g, length = _group(kind), e - s
    l1, l2, l3, l4 = text[s - 1], text[s - 2], text[s - 3], text[s - 4]
    r1, r2, r3, r4 = text[e], text[e + 1], text[e + 2], text[e + 3]
    out[0] = _bucket(0, kind, length, 0, 0, 0)
    out[1] = _bucket(1, g, l1, 0, 0, 0)
    out[2] = _bucket(2, g, l1, l2, 0, 0)
    out[3] = _bucket(3, g, l1, l2, l3, 0)
    out[4] = _bucket(4, g, l1, l2, l3, l4)
    out[5] = _bucket(5, g, r1, 0, 0, 0)
    out[6] = _bucket(6, g, r1, r2, 0, 0)
    out[7] = _bucket(7, g, r1, r2, r3, 0)
    out[8] = _bucket(8, g, r1, r2, r3, r4)
    out[9] = _bucket(9, g, l1, r1, 0, 0)
    out[10] = _bucket(10, g, l1, l2, r1, 0)
    out[11] = _bucket(11, g, l1, r1, r2, 0)
    out[12] = _bucket(12, g, l1, l2, r1, r2)
    out[13] = _bucket(13, g, l2, l3, 0, 0)
    out[14] = _bucket(14, g, r2, r3, 0, 0)


@numba.njit(cache=True, inline="always")
def _given(text, s, e, kind, shapes, first, second):  # type: ignore[no-untyped-def]
    """Columns `first` and `second` of the shapes of a given name's first and second character; 0 where it has none."""
    start = s + _surname_length(kind)
    one = shapes[text[start], first] if e > start else 0
    return one, shapes[text[start + 1], second] if e > start + 1 else 0


@numba.njit(cache=True)
def near(text, s, e, kind, shapes, out):  # type: ignore[no-untyped-def]
    """The first `NEAR` features: what stands beside the candidate, and its own characters."""
    _beside(text, s, e, kind, out)
    g, n, length = _group(kind), 15, e - s
    l1, l2, r1, r2 = text[s - 1], text[s - 2], text[e], text[e + 1]
    first, last = text[s], text[e - 1]
    second = text[s + 1] if length > 1 else 0

    # its own characters, and how usual they are in names
    usual = shapes[first, 0]
    one, two = _given(text, s, e, kind, shapes, 1, 2)
    out[n] = _bucket(20, kind, usual, 0, 0, 0)
    out[n + 1] = _bucket(21, kind, one, 0, 0, 0)
    out[n + 2] = _bucket(22, kind, two, 0, 0, 0)
    out[n + 3] = _bucket(23, kind, one, two, 1, 0)
    out[n + 4] = _bucket(24, kind, usual, one, two, 0)
    out[n + 5] = _bucket(25, g, first, 0, 0, 0)
    out[n + 6] = _bucket(26, g, first, second, length, 0)
    out[n + 7] = _bucket(27, g, last, 0, 0, 0)
    out[n + 8] = _bucket(28, g, first, second, last, length)
    out[n + 9] = _bucket(29, g, first, l1, 0, 0)
    out[n + 10] = _bucket(30, g, first, l1, l2, 0)
    out[n + 11] = _bucket(31, g, last, r1, 0, 0)
    out[n + 12] = _bucket(32, g, last, r1, r2, 0)
    out[n + 13] = _bucket(33, g, first, second, l1, 0)
    out[n + 14] = _bucket(34, g, text[e - 2], last, r1, length)

    # whether the name may begin earlier or end later, and how usual its characters are anywhere
    n, (usual_first, usual_second) = 30, _given(text, s, e, kind, shapes, 3, 3)
    out[n] = _bucket(70, kind, shapes[l1, 0], shapes[l1, 3] // 2, 0, 0)
    out[n + 1] = _bucket(71, kind, shapes[r1, 2], shapes[r1, 3] // 2, 0, 0)
    out[n + 2] = _bucket(72, kind, one, usual_first, 0, 0)
    out[n + 3] = _bucket(73, kind, two, usual_second, 0, 0)
    out[n + 4] = _bucket(74, kind, usual_first // 2, usual_second // 2, shapes[first, 3] // 2, 0)
    out[n + 5] = _bucket(75, kind, l1, usual // 3, min(one, two) // 2, 0)
    out[n + 6] = _bucket(76, kind, r1, usual // 3, min(one, two) // 2, 0)
    out[n + 7] = _bucket(77, g, text[e - 2] if length > 1 else 0, last, 0, 0)


@numba.njit(cache=True)
def far(text, s, e, kind, shapes, words, out):  # type: ignore[no-untyped-def]
    """The features after the first `NEAR`; returns how many there are in all."""
    g, n, length = _group(kind), NEAR, e - s
    one, two = _given(text, s, e, kind, shapes, 1, 2)
    # words of the dictionary in it and across its borders
    own = words[length - 2, s] & 15 if 2 <= length <= 4 else 0
    left2, left3, left3b = words[0, s - 1] & CLASS, words[1, s - 2] & CLASS, words[1, s - 1] & CLASS
    right2, right3 = words[0, e - 1] & CLASS, words[1, e - 1] & CLASS
    right3b = words[1, e - 2] & CLASS if length > 1 else 0
    head, tail = (words[0, s] & CLASS, words[0, e - 2] & CLASS) if length > 2 else (0, 0)
    longer, wider = (words[length - 1, s] & CLASS, words[length - 1, s - 1] & CLASS) if length < 4 else (0, 0)
    before2, before3 = words[0, s - 2] & CLASS, words[1, s - 3] & CLASS
    after2, after3 = words[0, e] & CLASS, words[1, e] & CLASS
    left, right = max(left2, left3, left3b, wider), max(right2, right3, right3b, longer)
    out[n] = _bucket(40, kind, own, 0, 0, 0)
    out[n + 1] = _bucket(41, g, left2, 0, 0, 0)
    out[n + 2] = _bucket(42, g, left3, left3b, 0, 0)
    out[n + 3] = _bucket(43, g, right2, 0, 0, 0)
    out[n + 4] = _bucket(44, g, right3, right3b, 0, 0)
    out[n + 5] = _bucket(45, kind, head, tail, 0, 0)
    out[n + 6] = _bucket(46, g, longer, wider, 0, 0)
    out[n + 7] = _bucket(47, kind, left, right, own, 0)
    out[n + 8] = _bucket(48, g, before2 > 0, after2 > 0, left > 0, right > 0)
    out[n + 9] = _bucket(49, g, before2, before3, 0, 0)
    out[n + 10] = _bucket(50, g, after2, after3, 0, 0)
    out[n + 11] = _bucket(51, kind, one // 2, two // 2, own, (left > 0) * 2 + (right > 0))
    whole_head, whole_tail = (words[0, s] & 15, words[0, e - 2] & 15) if length > 2 else (0, 0)
    out[n + 12] = _bucket(52, kind, whole_head, one, two, 0)
    out[n + 13] = _bucket(53, kind, whole_tail, shapes[text[s], 0], two, 0)
    n += 14

    # what is spoken of near by
    for j in range(1, 6):
        out[n] = _bucket(60, g, text[s - j - 2], text[s - j - 1], 0, 0)
        out[n + 1] = _bucket(61, g, text[e + j], text[e + j + 1], 0, 0)
        n += 2
    return n


@numba.njit(cache=True)
def marked(text, heads, keys, entries):  # type: ignore[no-untyped-def]
    """What `entries_of` finds where a title, a pet's word or a compound surname may begin, and 0 elsewhere."""
    found = np.zeros((3, len(text)), np.uint8)
    for i in range(len(text) - 4):
        if heads[text[i]] & 1 and heads[text[i + 1]] & 2:
            entries_near(text, i, i + 1, keys, entries, found)
    return found


@numba.njit(cache=True)
def scores(text, flags, heads, shapes, keys, entries, weights, cutoff, spans, out):  # type: ignore[no-untyped-def]
    """Write the candidates into `spans` and their scores (sums of weights) into `out`; returns how many.

    Candidates whose first `NEAR` features sum to less than `cutoff` are left out: no name is that far off. The
    dictionary is large and slow to look into: it is asked about the places that matter alone.

    Args:
        heads: uint8 by code; 1 of what a word with a bit above `PERSON` begins with, 2 of its second character.
    """
    words = marked(text, heads, keys, entries)
    found = enumerate_candidates(text, flags, shapes, words, spans)
    buckets = np.empty(FEATURES, np.int32)
    kept = 0
    for i in range(found):
        s, e, kind = spans[i, 0], spans[i, 1], spans[i, 2]
        near(text, s, e, kind, shapes, buckets)
        total = 0
        for j in range(NEAR):
            total += weights[buckets[j]]
        if total < cutoff:
            continue
        entries_near(text, s - _EDGE, e + _EDGE, keys, entries, words)
        count = far(text, s, e, kind, shapes, words, buckets)
        for j in range(NEAR, count):
            total += weights[buckets[j]]
        spans[kept, 0], spans[kept, 1], spans[kept, 2] = s, e, kind
        out[kept] = total
        kept += 1
    return kept


@numba.njit(cache=True)
def beginning_bits(codes, ends, masks, doubled):  # type: ignore[no-untyped-def]
    """For each text the bits of all places at which five characters in a row have them: uint64 of one a text.

    Args:
        codes: uint16, with more than four before the first of `ends` and behind the last.
        ends: where the texts begin, and where the last one ends.
        masks: uint64 of shape (5, 65536): the bits that a character has before the place, at it, and behind it.
        doubled: the bits that count where the character at the place stands twice alone.
    """
    found = np.zeros(len(ends) - 1, np.uint64)
    for text in range(len(found)):
        bits = np.uint64(0)
        for i in range(ends[text], ends[text + 1]):
            pair = masks[1, codes[i]] & masks[2, codes[i + 1]]
            if codes[i] != codes[i + 1]:
                pair &= ~doubled
            if pair & ~bits:
                bits |= pair & masks[0, codes[i - 1]] & masks[3, codes[i + 2]] & masks[4, codes[i + 3]]
        found[text] = bits
    return found
