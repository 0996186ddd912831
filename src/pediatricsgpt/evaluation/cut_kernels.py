"""The search of `jieba.cut`, compiled: the best path through the dictionary, a hidden Markov model for the rest.

Every sum keeps jieba's order of operations and every tie is broken as there, so that words are equal to the last one.
Importing this module loads numba.

The dictionary is a trie in one hash table. A node is the slot of its entry; an entry's key is the parent's slot and the
character. `keys` [slots] is 0 where a slot is free, and the number of slots is a power of two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pediatricsgpt.evaluation.compiled import compiled

_FIRST_HAN, _LAST_HAN = 0x4E00, 0x9FD5
_B, _E, _M, _S = 0, 1, 2, 3  # in the order of their letters: among equal paths the greater letter wins


@compiled("int64(uint64[::1], int64, uint32)")
def _slot(keys: Any, parent: Any, character: Any) -> Any:
    """Where the child of a node stands, or the free place where it would; the root's number is -1."""
    key = np.uint64(parent + 1) << np.uint64(21) | np.uint64(character)
    mask = np.uint64(len(keys) - 1)
    slot = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40) & mask
    while keys[slot] != key and keys[slot] != np.uint64(0):
        slot = slot + np.uint64(1) & mask
    return np.int64(slot)


@compiled("int64(uint32[::1], uint64[::1], int32[::1])")
def fill(points: Any, keys: Any, counts: Any) -> Any:
    """Read a dictionary (`word count tag` on each line) into an empty trie; the sum of all counts.

    `counts` [slots] gets how often the word of a node occurs, 0 where the node only begins longer words. Returns -1
    where the trie is too small.
    """
    total, place, used = np.int64(0), 0, 0
    while place < len(points):
        node = np.int64(-1)
        while place < len(points) and points[place] != 32:
            slot = _slot(keys, node, points[place])
            used += keys[slot] == np.uint64(0)
            if 4 * used > 3 * len(keys):
                return np.int64(-1)
            keys[slot] = np.uint64(node + 1) << np.uint64(21) | np.uint64(points[place])
            node = np.int64(slot)
            place += 1
        place += 1
        count = np.int64(0)
        while place < len(points) and 48 <= points[place] <= 57:
            count = 10 * count + np.int64(points[place]) - 48
            place += 1
        counts[node] = np.int32(count)
        total += count
        while place < len(points) and points[place] != 10:
            place += 1
        place += 1
    return total


@compiled("boolean(uint32)")
def _is_letter_or_digit(character: Any) -> Any:
    return 97 <= character <= 122 or 65 <= character <= 90 or 48 <= character <= 57


@compiled("boolean(uint32)")
def _is_word(character: Any) -> Any:
    """Whether the dictionary is asked about a character: 一 to 鿕, letters, digits, +#&._%-"""
    if _FIRST_HAN <= character <= _LAST_HAN or _is_letter_or_digit(character):
        return True
    return character in (43, 35, 38, 46, 95, 37, 45)


@compiled("void(uint32[::1], uint64[::1], float64[::1], float64, float64[::1], int32[::1])")
def _route(block: Any, keys: Any, weights: Any, unknown: Any, score: Any, end: Any) -> None:
    """From each position on, the score of the most probable words and where the first of them ends."""
    length = len(block)
    score[length] = 0.0
    for start in range(length - 1, -1, -1):
        best, best_end, found = unknown + score[start + 1], start + 1, False
        node, place = -1, start
        while place < length:
            node = _slot(keys, node, block[place])
            if keys[node] == np.uint64(0):
                break
            place += 1
            if weights[node] < 0.0:  # not only the beginning of a word
                this = weights[node] + score[place]
                if not found or this >= best:
                    best, best_end, found = this, place, True
        score[start] = best
        end[start] = best_end


@compiled("boolean(uint32[::1], uint64[::1], float64[::1])")
def _in_dictionary(word: Any, keys: Any, weights: Any) -> Any:
    node = -1
    for character in word:
        node = _slot(keys, node, character)
        if keys[node] == np.uint64(0):
            return False
    return weights[node] < 0.0


@compiled("void(uint32[::1], float64[:,::1], float64[::1], float64[:,::1], int8[:,::1], int8[::1])")
def _states(han: Any, emit: Any, begin: Any, move: Any, back: Any, states: Any) -> None:
    """The likeliest states (begin, end, middle, single) of Chinese characters, by Viterbi's algorithm."""
    b, e, m, s = begin[_B], begin[_E], begin[_M], begin[_S]
    row = emit[han[0] - _FIRST_HAN]
    b, e, m, s = b + row[_B], e + row[_E], m + row[_M], s + row[_S]
    for place in range(1, len(han)):
        row = emit[han[place] - _FIRST_HAN]
        e_b, s_b = e + move[_E, _B] + row[_B], s + move[_S, _B] + row[_B]
        b_e, m_e = b + move[_B, _E] + row[_E], m + move[_M, _E] + row[_E]
        b_m, m_m = b + move[_B, _M] + row[_M], m + move[_M, _M] + row[_M]
        e_s, s_s = e + move[_E, _S] + row[_S], s + move[_S, _S] + row[_S]
        back[place, _B] = _S if s_b >= e_b else _E
        back[place, _E] = _M if m_e >= b_e else _B
        back[place, _M] = _M if m_m >= b_m else _B
        back[place, _S] = _S if s_s >= e_s else _E
        b, e, m, s = max(e_b, s_b), max(b_e, m_e), max(b_m, m_m), max(e_s, s_s)
    state = _S if s >= e else _E
    for place in range(len(han) - 1, -1, -1):
        states[place] = state
        state = back[place, state]


@compiled(
    "int64(uint32[::1], int64, float64[:,::1], float64[::1], float64[:,::1], int8[:,::1], int8[::1], int64[::1], int64)"
)
def _unknown_words(
    part: Any, offset: Any, emit: Any, begin: Any, move: Any, back: Any, states: Any, ends: Any, written: Any
) -> Any:
    """Words of a stretch that the dictionary cut into single characters; how many words are written now."""
    place = 0
    while place < len(part):
        first = place
        if _FIRST_HAN <= part[place] <= _LAST_HAN:
            while place < len(part) and _FIRST_HAN <= part[place] <= _LAST_HAN:
                place += 1
            _states(part[first:place], emit, begin, move, back, states)
            for index in range(place - first):
                if states[index] == _E or states[index] == _S:
                    ends[written] = offset + first + index + 1
                    written += 1
        elif _is_letter_or_digit(part[place]):  # [a-zA-Z0-9]+(\.\d+)?%?
            while place < len(part) and _is_letter_or_digit(part[place]):
                place += 1
            if place + 1 < len(part) and part[place] == 46 and 48 <= part[place + 1] <= 57:
                place += 1
                while place < len(part) and 48 <= part[place] <= 57:
                    place += 1
            place += place < len(part) and part[place] == 37
            ends[written] = offset + place
            written += 1
        else:
            while (
                place < len(part)
                and not _FIRST_HAN <= part[place] <= _LAST_HAN
                and not _is_letter_or_digit(part[place])
            ):
                place += 1
            ends[written] = offset + place
            written += 1
    return written


@compiled(
    "int64(uint32[::1], int64[::1], uint64[::1], float64[::1], float64, float64[:,::1], float64[::1], float64[:,::1],"
    " int64[::1], int64[::1])"
)
def cut_all(
    points: Any,
    text_ends: Any,
    keys: Any,
    weights: Any,
    unknown: Any,
    emit: Any,
    begin: Any,
    move: Any,
    ends: Any,
    first_words: Any,
) -> Any:
    """Cut many texts that lie behind each other; how many words there are.

    Args:
        points: code points of all texts; text `i` is `points[text_ends[i] : text_ends[i + 1]]`.
        text_ends: see above.
        keys: of the trie.
        weights: for each node log(count / total), or NaN where it is no word.
        unknown: log(1 / total), the weight of a character that is no word.
        emit: log probability of Chinese character 0x4E00 + `i` in each state [characters, 4], states as B E M S.
        begin: that of each state at the start.
        move: that of each state after each other.
        ends: gets where each word ends in `points`; words tile the texts.
        first_words: gets the number of the first word of each text, and the number of all words at its end.
    """
    longest = 0
    for text in range(len(text_ends) - 1):
        longest = max(longest, text_ends[text + 1] - text_ends[text])
    score, end = np.empty(longest + 1, np.float64), np.empty(longest + 1, np.int32)
    back, states = np.zeros((longest + 1, 4), np.int8), np.empty(longest + 1, np.int8)
    written = 0
    for text in range(len(text_ends) - 1):
        first_words[text] = written
        place, stop = text_ends[text], text_ends[text + 1]
        while place < stop:
            start = place
            if not _is_word(points[place]):
                place += 2 if points[place] == 13 and place + 1 < stop and points[place + 1] == 10 else 1
                ends[written] = place
                written += 1
                continue
            while place < stop and _is_word(points[place]):
                place += 1
            block = points[start:place]
            _route(block, keys, weights, unknown, score, end)
            at, single = np.int64(0), np.int64(0)  # single: where the stretch of single characters behind `at` begins
            while at <= len(block):
                if at < len(block) and end[at] == at + 1:
                    at += 1
                    continue
                if at - single == 1:
                    ends[written] = start + at
                    written += 1
                elif at > single and _in_dictionary(block[single:at], keys, weights):
                    for index in range(single, at):
                        ends[written] = start + index + 1
                        written += 1
                elif at > single:
                    written = _unknown_words(
                        block[single:at], start + single, emit, begin, move, back, states, ends, written
                    )
                if at == len(block):
                    break
                at = np.int64(end[at])
                ends[written] = start + at
                written += 1
                single = at
    first_words[len(text_ends) - 1] = written
    return written
