"""The split: by group, by hash, stable."""

from __future__ import annotations

from pediatricsgpt.corpus.execute import RECORDS, curate
from pediatricsgpt.corpus.settings import CorpusSettings, SourceSettings
from pediatricsgpt.corpus.split import side, take_validation
from pediatricsgpt.records import read_records, write_records

SOURCE = SourceSettings(name="made", kind="conversation", path=".", licence="CC0", consent="none", purpose="testing")
SETTINGS = CorpusSettings(sources=[SOURCE], deidentify={"enabled": False}, split={"held_out": 0.2})
QUESTIONS = ("发热{}天还需要去医院复查吗", "咳嗽有{}个星期了要做什么检查", "每天吃奶{}次是不是太多了")


def sides(records, folder):
    """The side of every kept record by its id, and of every group, as the corpus room gives them."""
    folder.mkdir()
    write_records(folder / "in.parquet", records)
    curate([folder / "in.parquet"], SETTINGS, 17, folder)
    kept = read_records(folder / RECORDS)
    groups: dict[str, set[str]] = {}
    for record in kept:
        groups.setdefault(record.group, set()).add(record.split)
    return {record.id: record.split for record in kept}, groups


def dialogues(make, groups, first=0):
    """Three different dialogues of each group: visits of one patient."""
    return [
        make.dialogue(question.format(n * 7 + 3), f"第{n}位患儿建议多喝温水并注意观察体温变化。", group=f"patient:{n}")
        for n in range(first, first + groups)
        for question in QUESTIONS
    ]


def test_a_group_is_on_one_side(make, tmp_path) -> None:
    by_id, groups = sides(dialogues(make, 60), tmp_path / "all")
    assert len(by_id) > len(groups)
    assert all(len(found) == 1 for found in groups.values())
    assert set().union(*groups.values()) == {"train", "held_out"}


def test_more_records_move_none(make, tmp_path) -> None:
    few, more = dialogues(make, 30), dialogues(make, 30, 30)
    before, _ = sides(few, tmp_path / "few")
    after, _ = sides([*more, *few], tmp_path / "more")
    assert before.items() <= after.items()
    assert len(after) > len(before)


def test_the_share_is_kept_and_the_seed_matters() -> None:
    names = [f"dialogue:{n}" for n in range(5000)]
    held_out = [name for name in names if side(name, 0.2, 17) == "held_out"]
    assert 0.18 < len(held_out) / len(names) < 0.22
    assert held_out != [name for name in names if side(name, 0.2, 18) == "held_out"]
    assert not any(side(name, 0.0, 17) == "held_out" for name in names)


def rows(groups: int, size: int = 1, **fields) -> list[dict[str, object]]:
    return [
        {"id": f"{n}-{i}", "group": f"g{n}", "split": "train", **fields} for n in range(groups) for i in range(size)
    ]


def test_validation_takes_its_share_of_the_groups_whole_and_says_so() -> None:
    given = rows(2000, size=3)
    trained, validation = take_validation(given, 0.1, seed=17)
    assert len(trained) + len(validation) == len(given)
    assert not {row["group"] for row in trained} & {row["group"] for row in validation}
    assert 0.08 < len(validation) / len(given) < 0.12
    assert {row["split"] for row in validation} == {"validation"}
    assert {row["split"] for row in given} == {"train"}, "the rows that came in are left as they were"


def test_a_group_goes_the_same_way_in_every_set() -> None:
    whole = {row["group"] for row in take_validation(rows(2000), 0.1, 17)[1]}
    half = {row["group"] for row in take_validation(rows(1000, size=2), 0.1, 17)[1]}
    assert half == {group for group in whole if int(group[1:]) < 1000}
    assert half != {row["group"] for row in take_validation(rows(1000), 0.1, 18)[1]}


def test_large_groups_and_what_teaches_behaviour_are_always_trained_on() -> None:
    one_book = [*rows(200), *({"id": str(n), "group": "book", "split": "train"} for n in range(200))]
    assert "book" not in {row["group"] for row in take_validation(one_book, 0.9, 17)[1]}
    assert take_validation(rows(500, family="behaviour"), 0.9, 17)[1] == []
    assert take_validation(rows(500, aspect="safety"), 0.9, 17)[1] == []
    assert take_validation(rows(500), 0.0, 17)[1] == []
