"""Paired differences between models on the items that both answered, with Holm's correction over a whole table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pediatricsgpt.evaluation.paired import ALPHA
from pediatricsgpt.evaluation.report import words
from pediatricsgpt.evaluation.report.tables import Column, Table, axis_of
from pediatricsgpt.evaluation.statistics import Difference, cases_of, holm, paired_bootstrap_difference, paired_p

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Model -> item id -> metric -> value 0..1"""

NOTE = (
    "A verdict needs an interval that does not touch zero, and p of at most 0.05 after Holm's correction over this "
    "table (sign flips, two-sided). Items of one case are resampled and flipped together."
)


def paired(
    name: str,
    caption: str,
    scores: Scores,
    pairs: Sequence[tuple[str, str]],
    metrics: Sequence[str],
    groups: Mapping[str, str] | None = None,
) -> Table | None:
    """Differences of every pair (before, after) and metric; None where no pair shares an item.

    Args:
        name: of the file that holds the values.
        caption: of the table.
        scores: what is compared.
        pairs: of models.
        metrics: names of values in `scores`.
        groups: item id -> its case, of items of which several belong to one.
    """
    found = [one for pair in pairs for metric in metrics if (one := _difference(scores, pair, metric, groups or {}))]
    if not found:
        return None
    adjusted = holm([p for *_, p in found])
    line = axis_of([difference for _, _, difference, _ in found], zero=True)
    columns = [
        Column("from → to", "head"),
        Column("metric"),
        Column("change", "change"),
        Column("verdict", "verdict"),
        Column("change ", "range", line),
        Column("p", "p"),
        Column("p (Holm)", "p"),
        Column("n", "count"),
    ]
    rows = []
    for ((before, after), metric, difference, p), holm_p in zip(found, adjusted, strict=True):
        pair = f"{words.model(before)} → {words.model(after)}"
        verdict = difference.verdict if holm_p <= ALPHA else "no verdict"
        rows.append([pair, words.metric(metric), difference, verdict, difference, p, holm_p, difference.n])
    return Table(name, caption, columns, rows, NOTE)


def _difference(
    scores: Scores, pair: tuple[str, str], metric: str, groups: Mapping[str, str]
) -> tuple[tuple[str, str], str, Difference, float] | None:
    before, after = (scores.get(name, {}) for name in pair)
    common = [one for one in before if one in after and metric in before[one] and metric in after[one]]
    if not common:
        return None
    theirs, mine = ([100 * side[one][metric] for one in common] for side in (before, after))
    cases = cases_of([groups.get(one) for one in common])
    return pair, metric, paired_bootstrap_difference(mine, theirs, groups=cases), paired_p(mine, theirs, cases)
