"""Cutting text at sentence ends, so that no piece ends in the middle of a statement or a number."""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"[^。！？!?；;\n]*(?:[。！？!?；;]+[”’」』）)】]*|\n+|$)")
_CLAUSE = re.compile(r"[^，、,：:]*(?:[，、：:]|,(?!\d)|$)")


def pieces(text: str, limit: int) -> list[str]:
    """The text in pieces of at most `limit` characters, cut at sentence ends; a longer sentence at its commas.

    Only a clause that is longer than the limit by itself is cut anywhere.
    """
    found: list[str] = []
    current = ""
    for unit in _units(text, limit):
        if current and len((current + unit).strip()) > limit:
            found.append(current.strip())
            current = ""
        current += unit
    return [piece for piece in (*found, current.strip()) if piece]


def first_piece(text: str, limit: int) -> str:
    """As many whole sentences from the start as fit into `limit` characters."""
    return next(iter(pieces(text, limit)), "")


def _units(text: str, limit: int) -> list[str]:
    units: list[str] = []
    for sentence in _SENTENCE.findall(text):
        if len(sentence.strip()) <= limit:
            units.append(sentence)
            continue
        for clause in _CLAUSE.findall(sentence):
            units += [clause[start : start + limit] for start in range(0, len(clause), limit)]
    return units
