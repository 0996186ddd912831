"""What is measured and how: the names of metrics and profiles."""

from __future__ import annotations

import difflib

from pediatricsgpt.errors import UserError

METRICS = ("rouge-1", "rouge-2", "rouge-l", "bleu-1", "bleu-2", "bleu-3", "bleu-4", "gleu", "distinct-1", "distinct-2")
PROFILES = ("paper", "char", "paper-corpus", "char-corpus")

CORPUS = "-corpus"
"""Ends the name of a profile whose values are those of all items as one text, not a mean over items"""


def check_profile(profile: str) -> None:
    """Refuse a profile that is none.

    Raises:
        UserError: names the known ones and the nearest.
    """
    if profile not in PROFILES:
        nearest = difflib.get_close_matches(profile, PROFILES, n=1)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        raise UserError(f"unknown metric profile '{profile}', known are {', '.join(PROFILES)}{hint}")


def is_corpus(profile: str) -> bool:
    """Whether the values of a profile are those of all items as one text."""
    return profile.endswith(CORPUS)


def cut_of(profile: str) -> str:
    """`paper` (words cut by jieba) or `char` (characters without white space)."""
    return profile.removesuffix(CORPUS)
