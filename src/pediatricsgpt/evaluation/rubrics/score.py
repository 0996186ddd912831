"""From grades to scores: HealthBench's own, and ours with vetoes.

HealthBench scores an item by the points of the criteria that were met over the sum of its positive points, and a set by
the mean over items, clipped to 0..1. A criterion without a grade is left out of both sums of its item and counted; an
item that has then no positive points is not scored, and counted too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pediatricsgpt.evaluation.rubrics.forms import RubricItem, RubricSet
from pediatricsgpt.evaluation.rubrics.grade import Graded
from pediatricsgpt.evaluation.scoring import NO_LABEL
from pediatricsgpt.evaluation.statistics import bootstrap_mean, bootstrap_share

_AXIS = "axis:"
_FEW = 5
_STRATA = ("task", "department", "age_band")


@dataclass(frozen=True, slots=True)
class ItemScore:
    """One answer by the criteria of its item."""

    item: RubricItem
    points: float
    """Sum of points of the criteria that were met"""
    possible: float
    """Sum of positive points, of criteria that have a grade"""
    vetoes: tuple[str, ...]
    """Veto criteria that struck"""
    invalid: int
    """Criteria without a grade"""

    @property
    def healthbench(self) -> float | None:
        """Points over possible points, before any clipping and without vetoes; None where nothing was possible."""
        return self.points / self.possible if self.possible else None

    @property
    def score(self) -> float | None:
        """The same, and 0 where a veto struck (a negative sum stays negative)."""
        if self.vetoes:
            return min(0.0, self.healthbench or 0.0)
        return self.healthbench


def item_score(item: RubricItem, met: Mapping[str, bool | None]) -> ItemScore:
    """Score one item.

    Args:
        item: with its criteria.
        met: criterion id -> whether the answer meets it; None or absent where there is no grade.
    """
    graded = [(one, met[one.id]) for one in item.criteria if met.get(one.id) is not None]
    return ItemScore(
        item,
        sum(one.points for one, is_met in graded if is_met),
        sum(one.points for one, _ in graded if one.points > 0),
        tuple(one.id for one, is_met in graded if one.veto and bool(is_met) == (one.points < 0)),
        len(item.criteria) - len(graded),
    )


def score(rubrics: RubricSet, items: Sequence[RubricItem], rows: Iterable[Graded]) -> dict[str, Any]:
    """All figures of one model's answers, in the form of `rubrics.json` without model, judge and costs.

    Args:
        rubrics: the set.
        items: those of the set that were graded.
        rows: their grades.

    Raises:
        ValueError: there is no item.
    """
    met: dict[str, dict[str, bool | None]] = {item.id: {} for item in items}
    unanswered = 0
    for row in rows:
        met[row.id][row.criterion] = row.met
        unanswered += not row.answered
    scores = [item_score(item, met[item.id]) for item in items]
    invalid = sum(one.invalid for one in scores)
    return {
        "rubric_set": rubrics.head(),
        "n": len(items),
        "score": _clipped([one.score for one in scores]),
        "healthbench_score": _clipped([one.healthbench for one in scores]),
        "raw_points": _points([one.points for one in scores]),
        "vetoed": {
            "items": sum(bool(one.vetoes) for one in scores),
            "share": _interval([float(bool(one.vetoes)) for one in scores]),
        },
        "invalid": invalid,
        "unanswered": unanswered,
        "unscored": sum(one.score is None for one in scores),
        "themes": _by(scores, lambda item: item.theme),
        "strata": {name: _by(scores, lambda item, name=name: getattr(item, name)) for name in _STRATA},
        "axes": _axes(items, met),
        "criteria": _criteria(items, met),
        "items": [_item(one) for one in scores],
        "warnings": [
            *_warnings(rubrics, invalid, unanswered, sum(len(item.criteria) for item in items)),
            *_one_word(items, met),
        ],
    }


def _axes(items: Sequence[RubricItem], met: Mapping[str, Mapping[str, bool | None]]) -> dict[str, Any]:
    """HealthBench's axes: the score over criteria with one `axis:` tag alone, of items that can win points there."""
    values: dict[str, list[float]] = {}
    for item in items:
        for axis in sorted({tag for one in item.criteria for tag in one.tags if tag.startswith(_AXIS)}):
            tagged = {one.id: met[item.id].get(one.id) for one in item.criteria if axis in one.tags}
            if (value := item_score(item, tagged).healthbench) is not None:
                values.setdefault(axis.removeprefix(_AXIS), []).append(value)
    return {axis: {"n": len(found), "score": _clipped(found)} for axis, found in sorted(values.items())}


def _criteria(items: Sequence[RubricItem], met: Mapping[str, Mapping[str, bool | None]]) -> list[dict[str, Any]]:
    """Every criterion of every item with the share of answers that meet it; `id` is `item.criterion`."""
    found = []
    for item in items:
        for one in item.criteria:
            said = met[item.id].get(one.id)
            found.append(
                {
                    "id": f"{item.id}.{one.id}",
                    "text": one.text,
                    "points": one.points,
                    "met": None if said is None else float(said),
                    "n": int(said is not None),
                    "veto": one.veto,
                    "source": one.source,
                    "mark": one.mark,
                    "reviewer": one.reviewer,
                }
            )
    return found


def _item(one: ItemScore) -> dict[str, Any]:
    return {
        "id": one.item.id,
        "theme": one.item.theme,
        "score": one.score,
        "points": one.points,
        "possible": one.possible,
        "vetoes": list(one.vetoes),
        "invalid": one.invalid,
    }


def _by(scores: Sequence[ItemScore], label: Any) -> dict[str, Any]:
    """Figures of each value of a label, the weakest first; nothing where no item has the label."""
    groups: dict[str, list[ItemScore]] = {}
    for one in scores:
        groups.setdefault(label(one.item) or NO_LABEL, []).append(one)
    if set(groups) == {NO_LABEL}:
        return {}
    found: dict[str, dict[str, Any]] = {
        value: {
            "n": len(group),
            "score": _clipped([one.score for one in group]),
            "vetoed": sum(bool(one.vetoes) for one in group),
        }
        for value, group in groups.items()
    }
    return dict(sorted(found.items(), key=lambda pair: (pair[1]["score"] or {"mean": 2.0})["mean"]))


def _clipped(values: Sequence[float | None]) -> dict[str, Any] | None:
    """The mean with its interval, each clipped to 0..1 as HealthBench clips the mean."""
    found = _interval(values)
    if found is not None:
        found |= {name: min(1.0, max(0.0, found[name])) for name in ("mean", "low", "high")}
    return found


def _interval(values: Sequence[float | None]) -> dict[str, Any] | None:
    known = [value for value in values if value is not None]
    return asdict(bootstrap_share(known)) if known else None


def _points(values: Sequence[float | None]) -> dict[str, Any] | None:
    known = [value for value in values if value is not None]
    return asdict(bootstrap_mean(known)) if known else None


def _one_word(items: Sequence[RubricItem], met: Mapping[str, Mapping[str, bool | None]]) -> list[str]:
    """A grader that says the same of wanted and of dangerous criteria still gives a score, and often a fair one."""
    pairs = [(one.points > 0, met[item.id].get(one.id)) for item in items for one in item.criteria]
    graded = [(wanted, said) for wanted, said in pairs if said is not None]
    if len(graded) < _FEW or len({wanted for wanted, _ in graded}) < 2 or len({said for _, said in graded}) > 1:
        return []
    word = "met" if graded[0][1] else "not met"
    return [
        f"the grader said '{word}' of all {len(graded)} criteria, wanted and dangerous ones alike: it may be unable to "
        "tell answers apart; read grades.jsonl before using the score"
    ]


def _warnings(rubrics: RubricSet, invalid: int, unanswered: int, criteria: int) -> list[str]:
    found = []
    if rubrics.unreviewed:
        found.append(rubrics.head()["note"])
    if invalid - unanswered:
        found.append(
            f"{invalid - unanswered} of {criteria} criteria have no grade, because the grader gave none that can be "
            "read; they are left out of their items' sums"
        )
    if unanswered:
        found.append(f"{unanswered} of {criteria} criteria were not answered by the server; run the same command again")
    return found
