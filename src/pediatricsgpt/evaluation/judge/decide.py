"""From single verdicts to what a rater, and what all raters together, hold of each item.

1. A rater that was shown a pair in both orders prefers an answer only if it did so in both: where the two verdicts
   differ it is a tie, because it followed the place or wavered (the conservative rule of Zheng et al. 2023, "Judging
   LLM-as-a-judge"). Where one of the two is missing or invalid there is no verdict on the item.
2. Repeats of a rater, and then several raters, decide by majority: what more than half of them say; without such a
   majority it is a tie.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pediatricsgpt.evaluation.judge.verdicts import Verdict

Outcome = int | None
"""1: A is better, -1: B, 0: neither, None: no verdict"""


@dataclass(slots=True)
class Tally:
    """What one item shows of how its raters judge."""

    pairs: int = 0
    """Times that it was shown in both orders with two valid verdicts"""
    flipped: int = 0
    """Of these, how often the two verdicts differ"""
    reversed: int = 0
    """Of these, how often they name opposite winners: the same place both times"""
    decided: int = 0
    """Verdicts that prefer an answer"""
    first: int = 0
    """Of these, how often the one that was shown first"""
    invalid: int = 0

    def __iadd__(self, other: Tally) -> Tally:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


@dataclass(slots=True)
class Held:
    """What a rater holds of all items on one dimension."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Item -> outcome"""
    tallies: dict[str, Tally] = field(default_factory=dict)


def held(verdicts: Sequence[Verdict], a: str) -> Held:
    """What one rater holds on one dimension.

    Args:
        verdicts: of one rater, on one dimension.
        a: the model whose view outcomes take.
    """
    times: dict[tuple[str, int], dict[bool, Verdict]] = defaultdict(dict)
    for verdict in verdicts:
        times[verdict.id, verdict.repeat][verdict.left == a] = verdict
    both = any(len(orders) == 2 for orders in times.values())
    said: dict[str, list[Outcome]] = defaultdict(list)
    found = Held()
    for (name, _), orders in times.items():
        found.tallies.setdefault(name, Tally())
        found.tallies[name] += _tally(orders.values(), a)
        said[name].append(_settled(orders, a, both))
    found.outcomes = {name: majority(outcomes) for name, outcomes in said.items()}
    return found


def pooled(raters: Iterable[Held]) -> Held:
    """What several raters hold by majority of those who have a verdict on the item."""
    said: dict[str, list[Outcome]] = defaultdict(list)
    found = Held()
    for rater in raters:
        for name, outcome in rater.outcomes.items():
            said[name].append(outcome)
        for name, tally in rater.tallies.items():
            found.tallies.setdefault(name, Tally())
            found.tallies[name] += tally
    found.outcomes = {name: majority(outcomes) for name, outcomes in said.items()}
    return found


def majority(outcomes: Iterable[Outcome]) -> Outcome:
    """What more than half of those say who have a verdict, else 0; None where nobody has one."""
    valid = [outcome for outcome in outcomes if outcome is not None]
    if not valid:
        return None
    return next((side for side in (1, -1) if 2 * valid.count(side) > len(valid)), 0)


def _settled(orders: Mapping[bool, Verdict], a: str, both: bool) -> Outcome:
    outcomes = [verdict.better_for(a) for verdict in orders.values()]
    if None in outcomes or (both and len(outcomes) < 2):
        return None
    return outcomes[0] if len(set(outcomes)) == 1 else 0


def _tally(verdicts: Iterable[Verdict], a: str) -> Tally:
    """Of the verdicts on one item in one repeat; those that nobody was asked for show nothing of a rater."""
    asked = [verdict for verdict in verdicts if verdict.asked]
    outcomes = [outcome for verdict in asked if (outcome := verdict.better_for(a)) is not None]
    both = len(outcomes) == 2
    return Tally(
        pairs=int(both),
        flipped=int(both and outcomes[0] != outcomes[1]),
        reversed=int(both and outcomes[0] * outcomes[1] == -1),
        decided=sum(verdict.verdict in ("left", "right") for verdict in asked),
        first=sum(verdict.verdict == "left" for verdict in asked),
        invalid=sum(verdict.verdict == "invalid" for verdict in asked),
    )
