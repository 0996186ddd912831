"""What likelihoods tell of benchmark items, in the form of an `Answerer`, and figures by the items' fields."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pediatricsgpt.evaluation.benchmarks import Item
from pediatricsgpt.models.load import Loaded
from pediatricsgpt.records import Message

Row = TypeVar("Row")


class InGroups(ABC):
    """Measures items group by group: what was measured is kept on a kill.

    Args:
        loaded: the model.
        items: in the order of the prompts that it will be asked.
        group: items that are measured together.
    """

    def __init__(self, loaded: Loaded, items: Sequence[Item], group: int) -> None:
        self._loaded, self._items, self._group = loaded, items, group

    @property
    @abstractmethod
    def signature(self) -> list[Any]:
        """What the values depend on besides the prompts."""

    @abstractmethod
    def _measured(self, prompts: Sequence[Sequence[Message]], items: Sequence[Item]) -> Sequence[Any]:
        """One value an item, which JSON can hold."""

    def fits(self, messages: Sequence[Message]) -> bool:
        """Always: prompts that do not fit are left out before, or have no value."""
        return True

    def answers(
        self, prompts: Sequence[Sequence[Message]], done: Iterable[int] = ()
    ) -> Iterator[list[tuple[int, str]]]:
        """Groups of (index, value as JSON)."""
        finished = set(done)
        for first in range(0, len(prompts), self._group):
            places = range(first, min(first + self._group, len(prompts)))
            if finished.issuperset(places):  # groups are a function of the prompts alone: resumed = uninterrupted
                continue
            found = self._measured([prompts[place] for place in places], [self._items[place] for place in places])
            yield [(place, json.dumps(value)) for place, value in zip(places, found, strict=True)]


def by_field(
    fields: Sequence[str], items: Sequence[Item], rows: Sequence[Row], figures: Callable[[list[Row]], dict[str, Any]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Field -> value -> figures of the rows of its items; fields that no item has are left out.

    Args:
        fields: of the items; one that an item lacks is "unknown".
        items: what was measured.
        rows: one an item.
        figures: of the rows of one value.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for field in fields:
        groups: dict[str, list[Row]] = {}
        for item, row in zip(items, rows, strict=True):
            groups.setdefault(getattr(item, field) or "unknown", []).append(row)
        if set(groups) != {"unknown"}:
            found[field] = {value: figures(groups[value]) for value in sorted(groups)}
    return found
