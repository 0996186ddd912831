"""Win, tie and loss of model A against model B, with intervals, from verdicts of whoever gave them.

Language models and doctors go through the same code: what is counted depends on the verdicts alone, neither on their
order nor on who the raters are. Intervals are bootstraps over items (over cases, where verdicts name a `group`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pediatricsgpt.evaluation.agreement import agreement, percent_agreement
from pediatricsgpt.evaluation.judge.decide import Held, held, pooled
from pediatricsgpt.evaluation.judge.length import length_controlled
from pediatricsgpt.evaluation.judge.prompt import DIMENSIONS
from pediatricsgpt.evaluation.judge.verdicts import Verdict
from pediatricsgpt.evaluation.scoring import NO_LABEL
from pediatricsgpt.evaluation.statistics import (
    LEVEL,
    RESAMPLES,
    SEED,
    Interval,
    beyond_data,
    bootstrap_means,
    bootstrap_ratio,
    bootstrap_share,
    holm,
    paired_p,
    verdict_of,
)

STRATA = ("task", "department", "age_band")
_NAMES = {1: "A", 0: "tie", -1: "B"}
_MANY_INVALID = 0.05


@dataclass(frozen=True, slots=True)
class _Items:
    """What is known of the items, whoever judged them."""

    groups: Mapping[str, str | None]
    longer: Mapping[str, int | None]
    labels: Mapping[str, Mapping[str, str | None]]

    def cases(self, names: Sequence[str]) -> list[str] | None:
        """The case of each item; None where each is its own."""
        if all(self.groups[name] is None for name in names):
            return None
        return [group if (group := self.groups[name]) is not None else f"item {name}" for name in names]


def aggregate(
    verdicts: Sequence[Verdict],
    models: tuple[str, str] | None = None,
    dimensions: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """All figures of one pair of models.

    Args:
        verdicts: of one or several raters, in any order.
        models: A, whose wins are counted, and B; None takes the one that stands left in order 0 for A.
        dimensions: in the order in which they are reported; None takes those that occur.
        resamples: of the bootstraps.
        seed: of the bootstraps.

    Returns:
        {"models", "items", "dimensions", "strata", "by_judge", "agreement", "self_consistency", "warnings"}, in the
        form of `judge.json`.

    Raises:
        ValueError: there is no verdict, or one is about other models.
    """
    a, b = models or _models(verdicts)
    if any({verdict.left, verdict.right} != {a, b} for verdict in verdicts):
        raise ValueError(f"every verdict must be about {a} and {b}")
    items = _items(verdicts, a)
    names = list(dimensions or _dimensions(verdicts))
    raters = sorted({verdict.rater for verdict in verdicts})
    said = {
        rater: {
            name: held([one for one in verdicts if (one.rater, one.dimension) == (rater, name)], a) for name in names
        }
        for rater in raters
    }
    together = {name: pooled(of[name] for of in said.values()) for name in names}
    measure = _measurer(items, resamples, seed)
    found = measure(together)
    return {
        "models": [a, b],
        "items": len(items.groups),
        "dimensions": found,
        "strata": _strata(together, items, resamples, seed),
        "by_judge": {rater: found if len(raters) == 1 else measure(said[rater]) for rater in raters},
        "agreement": _agreement(said, items) if len(raters) > 1 else {},
        "self_consistency": _self_consistency(verdicts, raters, names, a),
        "warnings": _warnings(found, (a, b)),
    }


def _models(verdicts: Sequence[Verdict]) -> tuple[str, str]:
    if not verdicts:
        raise ValueError("there is no verdict to count")
    first = min(verdicts, key=lambda one: (one.order, one.left))
    return (first.left, first.right) if first.order == 0 else (first.right, first.left)


def _dimensions(verdicts: Sequence[Verdict]) -> list[str]:
    names = {verdict.dimension for verdict in verdicts}
    return [name for name in DIMENSIONS if name in names] + sorted(names - set(DIMENSIONS))


def _items(verdicts: Sequence[Verdict], a: str) -> _Items:
    first: dict[str, Verdict] = {}
    for verdict in verdicts:
        first.setdefault(verdict.id, verdict)
    ordered = {name: first[name] for name in sorted(first)}
    return _Items(
        {name: one.group for name, one in ordered.items()},
        {name: one.advantage_of(a) for name, one in ordered.items()},
        {name: {label: getattr(one, label) for label in STRATA} for name, one in ordered.items()},
    )


def _measurer(items: _Items, resamples: int, seed: int) -> Callable[[Mapping[str, Held]], dict[str, Any]]:
    def measure(said: Mapping[str, Held]) -> dict[str, Any]:
        found = {name: _dimension(one, items, resamples, seed) for name, one in said.items()}
        tested = [name for name, one in found.items() if one["p"] is not None]
        for name, p in zip(tested, holm([found[name]["p"] for name in tested]), strict=True):
            found[name]["p_holm"] = p
            # Several dimensions are as many chances of a false verdict: the interval alone does not make one.
            if p > 1.0 - LEVEL:
                found[name]["verdict"] = "no verdict"
        return found

    return measure


def _dimension(said: Held, items: _Items, resamples: int, seed: int) -> dict[str, Any]:
    """The figures of one dimension. Those that no verdict allows are None."""
    names = [name for name in sorted(said.outcomes) if said.outcomes[name] is not None]
    outcomes = np.array([said.outcomes[name] for name in names], dtype=np.float64)
    found: dict[str, Any] = {
        "n": len(names),
        **_shares(outcomes, items.cases(names), resamples, seed),
        "verdict": "no verdict",
        "p": None,
        "p_holm": None,
        "invalid": sum(tally.invalid for tally in said.tallies.values()),
        "incomplete": len(said.outcomes) - len(names),
        "flip_rate": _ratio(said, items, "flipped", "pairs", resamples, seed),
        "reversed": _ratio(said, items, "reversed", "pairs", resamples, seed),
        "first_shown": _ratio(said, items, "first", "decided", resamples, seed),
        **_length(outcomes, names, items, resamples, seed),
    }
    if names:
        cases = items.cases(names)
        net = Interval(**found["net"])
        found["verdict"] = verdict_of(net, len(names) if cases is None else len(set(cases)))
        found["p"] = paired_p(list(outcomes == 1.0), list(outcomes == -1.0), cases)
    return found


def _shares(outcomes: NDArray[np.float64], cases: list[str] | None, resamples: int, seed: int) -> dict[str, Any]:
    names = ("win", "tie", "loss", "net")
    if not len(outcomes):
        return dict.fromkeys(names)
    columns = np.stack([outcomes == 1.0, outcomes == 0.0, outcomes == -1.0, outcomes], axis=1).astype(np.float64)
    drawn = len(columns) if cases is None else len(set(cases))
    bounds = ((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (-1.0, 1.0))
    intervals = [
        beyond_data(one, drawn, bound)
        for one, bound in zip(bootstrap_means(columns, seed, resamples, groups=cases), bounds, strict=True)
    ]
    return {name: dataclasses.asdict(one) for name, one in zip(names, intervals, strict=True)}


def _ratio(said: Held, items: _Items, above: str, below: str, resamples: int, seed: int) -> dict[str, Any] | None:
    """A share of verdicts over all items that have any; `n` counts the verdicts (or pairs of them)."""
    names = [name for name in sorted(said.tallies) if getattr(said.tallies[name], below)]
    if not names:
        return None
    counted = [(getattr(said.tallies[name], above), getattr(said.tallies[name], below)) for name in names]
    found = bootstrap_ratio(
        [one for one, _ in counted], [all_ for _, all_ in counted], seed, resamples, groups=items.cases(names)
    )
    cases = items.cases(names)
    found = beyond_data(found, len(names) if cases is None else len(set(cases)))
    return {**dataclasses.asdict(found), "n": sum(all_ for _, all_ in counted)}


def _length(
    outcomes: NDArray[np.float64], names: Sequence[str], items: _Items, resamples: int, seed: int
) -> dict[str, Any]:
    """Preference at equal length, and how often the longer answer wins where one wins."""
    found: dict[str, Any] = {"length_controlled": None, "longer_wins": None}
    if not names or any(items.longer[name] is None for name in names):
        return found
    longer = np.array([items.longer[name] for name in names], dtype=np.float64)
    cases = items.cases(names)
    rate = length_controlled((outcomes + 1.0) / 2.0, longer, cases, seed, resamples)
    decided = np.flatnonzero((outcomes != 0) & (longer != 0))
    if rate:
        found["length_controlled"] = dataclasses.asdict(rate)
    if len(decided):
        wins = (np.sign(longer[decided]) == outcomes[decided]).astype(np.float64)
        chosen = None if cases is None else [cases[place] for place in decided]
        found["longer_wins"] = dataclasses.asdict(bootstrap_share(wins, seed, resamples, groups=chosen))
    return found


def _strata(together: Mapping[str, Held], items: _Items, resamples: int, seed: int) -> dict[str, Any]:
    """Win, tie and loss by label, the value at which A does worst first; no entry for a label that no item has."""
    found: dict[str, Any] = {}
    for label in STRATA:
        members: dict[str, list[str]] = {}
        for name in items.groups:
            members.setdefault(items.labels[name][label] or NO_LABEL, []).append(name)
        if set(members) == {NO_LABEL}:
            continue
        rows = {value: _stratum(together, items, set(names), resamples, seed) for value, names in members.items()}
        found[label] = dict(sorted(rows.items(), key=lambda row: (_mean_net(row[1]), row[0])))
    return found


def _stratum(
    together: Mapping[str, Held], items: _Items, members: set[str], resamples: int, seed: int
) -> dict[str, Any]:
    found = {}
    for dimension, said in together.items():
        names = [name for name in sorted(members & said.outcomes.keys()) if said.outcomes[name] is not None]
        outcomes = np.array([said.outcomes[name] for name in names], dtype=np.float64)
        found[dimension] = {"n": len(names), **_shares(outcomes, items.cases(names), resamples, seed)}
    return found


def _mean_net(stratum: Mapping[str, Any]) -> float:
    nets = [one["net"]["mean"] for one in stratum.values() if one["net"]]
    return sum(nets) / len(nets) if nets else 0.0


def _agreement(said: Mapping[str, Mapping[str, Held]], items: _Items) -> dict[str, Any]:
    """How far raters agree on the items, a dimension each."""
    found = {}
    names = list(items.groups)
    for dimension in next(iter(said.values())):
        ratings = [
            [None if (one := of[dimension].outcomes.get(name)) is None else _NAMES[one] for of in said.values()]
            for name in names
        ]
        found[dimension] = agreement(ratings, groups=items.cases(names), categories=tuple(_NAMES.values()))
    return found


def _self_consistency(
    verdicts: Sequence[Verdict], raters: Sequence[str], dimensions: Sequence[str], a: str
) -> dict[str, Any] | None:
    """Share of repeats of a question in one order with the same verdict; None where nothing was repeated."""
    found: dict[str, Any] = {}
    for rater in raters:
        own = [one for one in verdicts if one.rater == rater and one.asked]
        repeats = sorted({one.repeat for one in own})
        if len(repeats) > 1:
            found[rater] = {name: _repeated(own, name, repeats, a) for name in dimensions}
    return found or None


def _repeated(own: Sequence[Verdict], dimension: str, repeats: Sequence[int], a: str) -> dict[str, Any] | None:
    table: dict[tuple[str, bool], dict[int, str]] = {}
    for one in own:
        outcome = one.better_for(a)
        if one.dimension == dimension and outcome is not None:
            table.setdefault((one.id, one.left == a), {})[one.repeat] = _NAMES[outcome]
    units = sorted(table)
    ratings = [[table[unit].get(repeat) for repeat in repeats] for unit in units]
    return percent_agreement(ratings, groups=[name for name, _ in units]).as_dict() if units else None


def _warnings(found: Mapping[str, Any], models: tuple[str, str]) -> list[str]:
    """What a reader must know, one line a matter and not one a dimension."""
    none, left_out, places, lengths = [], [], [], []
    for name, one in found.items():
        first = one["first_shown"]
        if one["n"] == 0:
            none.append(f"{name} ({one['invalid']} invalid verdicts)")
        elif one["incomplete"] > _MANY_INVALID * (one["n"] + one["incomplete"]):
            left_out.append(f"{one['incomplete']} of {one['n'] + one['incomplete']} ({name})")
        if first and not first["low"] <= 0.5 <= first["high"]:
            places.append(f"{first['mean']:.0%} of {first['n']} ({name})")
        if one["length_controlled"] is None and one["longer_wins"] is not None:
            lengths.append(name)
    said = [
        ("no item has a whole verdict on ", none, ""),
        ("items without a whole verdict, because one was invalid or missing, are left out: ", left_out, ""),
        (
            "raters follow the place: the answer shown first is preferred in ",
            places,
            " of decided verdicts, where half would be fair; what differs between the two orders counts as a tie",
        ),
        (
            "no win rate at equal length for ",
            lengths,
            f": between {models[0]} and {models[1]}, the same one gives the longer answer nearly everywhere",
        ),
    ]
    return [f"{before}{', '.join(told)}{after}" for before, told, after in said if told]
