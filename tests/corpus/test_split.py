"""The split: by group, by hash, stable."""

from __future__ import annotations

from pediatricsgpt.corpus.settings import SplitSettings
from pediatricsgpt.corpus.split import side, split

SETTINGS = SplitSettings(held_out=0.2)


def test_a_group_is_on_one_side(make) -> None:
    records = [make.dialogue(f"问题{n}", "回答。", group=f"dialogue:{n % 40}") for n in range(400)]
    sides: dict[str, set[str]] = {}
    for record in split(records, SETTINGS, seed=17):
        sides.setdefault(record.group, set()).add(record.split)
    assert all(len(found) == 1 for found in sides.values())
    assert {side for found in sides.values() for side in found} == {"train", "held_out"}


def test_more_records_move_none(make) -> None:
    few = [make.dialogue(f"问题{n}", "回答。") for n in range(100)]
    more = [make.dialogue(f"别的{n}", "回答。") for n in range(100)]
    before = {record.id: record.split for record in split(few, SETTINGS, seed=17)}
    after = {record.id: record.split for record in split([*more, *few], SETTINGS, seed=17)}
    assert all(after[key] == value for key, value in before.items())


def test_the_share_is_kept_and_the_seed_matters() -> None:
    names = [f"dialogue:{n}" for n in range(5000)]
    held_out = [name for name in names if side(name, 0.2, 17) == "held_out"]
    assert 0.18 < len(held_out) / len(names) < 0.22
    assert held_out != [name for name in names if side(name, 0.2, 18) == "held_out"]
    assert not any(side(name, 0.0, 17) == "held_out" for name in names)
