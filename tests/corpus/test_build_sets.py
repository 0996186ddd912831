"""The sets of phases 2 and 4 and the held-out rows: what is in them, and that nothing leaks."""

from __future__ import annotations

from collections import Counter

import pytest

from pediatricsgpt.corpus.build import behaviour, distill, reconstruct, role_play
from pediatricsgpt.corpus.build.expert_set import TaskCount, expert_set
from pediatricsgpt.corpus.build.held_out import held_out_set
from pediatricsgpt.corpus.build.hybrid import cpt_set
from pediatricsgpt.corpus.build.preferences import general_pairs, medical_pairs, prompts_for_low_answers
from pediatricsgpt.corpus.build.sft import sft_set
from pediatricsgpt.corpus.settings import (
    BehaviourSettings,
    CorpusSettings,
    ExpertSetSettings,
    HybridSettings,
    PreferenceSettings,
    ReconstructSettings,
    RolePlaySettings,
    SourceSettings,
)
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import PEDIATRIC_TASKS, TASKS, write_rows
from tests.corpus.curated import curated


@pytest.fixture
def rows(make):
    numbers = {"medkqa": 50, "evidiag": 3, "trerecom": 12, "general": 30, "safety": 5, "self": 5}
    train = [make.row(task, n) for task, count in numbers.items() for n in range(count)]
    return [*train, *(make.row(task, 900 + n, split="held_out") for task in numbers for n in range(4))]


def test_phase_2_has_everything_but_the_pediatric_tasks(rows) -> None:
    chosen = sft_set(rows)
    assert Counter(row["task"] for row in chosen) == {"general": 30, "safety": 5, "self": 5}
    assert {row["split"] for row in chosen} == {"train"}


def test_phase_4_is_balanced_by_repeating_and_sampling(rows) -> None:
    built = expert_set(rows, ExpertSetSettings(per_task=20, max_repeats=7, general_replay=0.1), seed=17)
    tasks = Counter(row["task"] for row in built.rows)
    assert tasks == {"medkqa": 20, "evidiag": 20, "trerecom": 20, "general": 7}
    assert built.counts["evidiag"] == TaskCount(available=3, rows=20, repeats=7)
    repeats = Counter(row["id"] for row in built.rows if row["task"] == "trerecom")
    assert set(repeats.values()) == {1, 2}  # 12 rows, 20 places: eight of them twice
    assert built.counts["medkqa"].repeats == 1
    assert {row["split"] for row in built.rows} == {"train"}


def test_phase_4_depends_on_the_seed_and_not_on_the_order(rows) -> None:
    settings = ExpertSetSettings(per_task=20)
    built = expert_set(rows, settings, seed=17)
    assert built == expert_set(list(reversed(rows)), settings, seed=17)
    assert built.rows != expert_set(rows, settings, seed=18).rows
    assert [row["task"] for row in built.rows] != sorted(row["task"] for row in built.rows)


def test_the_tasks_stay_equal_where_the_smallest_is_too_small(rows) -> None:
    built = expert_set(rows, ExpertSetSettings(per_task=20, max_repeats=4, general_replay=0.0), seed=17)
    assert Counter(row["task"] for row in built.rows) == {"medkqa": 12, "evidiag": 12, "trerecom": 12}
    assert built.counts["evidiag"] == TaskCount(available=3, rows=12, repeats=4)
    assert built.counts["medkqa"] == TaskCount(available=50, rows=12, repeats=1)


def test_a_task_without_rows_is_named(make) -> None:
    rows = [make.row("medkqa", 1), make.row("evidiag", 1, split="held_out"), make.row("trerecom", 1)]
    with pytest.raises(UserError, match="none of evidiag"):
        expert_set(rows, ExpertSetSettings(per_task=2), seed=17)


def test_replay_is_a_share_of_the_whole(make) -> None:
    rows = [make.row(task, n) for task in (*PEDIATRIC_TASKS, "general") for n in range(100)]
    built = expert_set(rows, ExpertSetSettings(per_task=30, general_replay=0.4), seed=17)
    assert Counter(row["task"] for row in built.rows)["general"] == 60
    assert len(built.rows) == 150


def test_every_held_out_row_is_in_the_held_out_set(rows) -> None:
    chosen = held_out_set(rows)
    assert Counter(row["task"] for row in chosen) == dict.fromkeys(TASKS, 4)
    assert list(dict.fromkeys(row["task"] for row in chosen)) == list(TASKS)
    assert {row["split"] for row in chosen} == {"held_out"}


@pytest.fixture(scope="module")
def built(real_records, tmp_path_factory):
    """All sets of the real files."""
    source = SourceSettings(name="x", kind="text", path=".", licence="CC0", consent="none", purpose="testing")
    records = curated(real_records, CorpusSettings(sources=[source]), 17, tmp_path_factory.mktemp("curated"))
    rows = [
        *role_play.instructions(records, RolePlaySettings())[0],
        *reconstruct.instructions(records, ReconstructSettings())[0],
        *distill.instructions(records)[0],
        *behaviour.instructions(BehaviourSettings()),
    ]
    settings = PreferenceSettings()
    prompts = prompts_for_low_answers(rows, settings, seed=17)
    medical, _ = medical_pairs(rows, {prompt["id"]: "请去医院。" for prompt in prompts})
    return {
        "rows": rows,
        "cpt": cpt_set(records, rows, HybridSettings(), seed=17),
        "sft": sft_set(rows),
        "experts": expert_set(rows, ExpertSetSettings(per_task=100), seed=17).rows,
        "preferences": [*medical, *general_pairs(records, settings)[0]],
        "held_out": held_out_set(rows),
        "folder": tmp_path_factory.mktemp("sets"),
    }


TRAINING = ("cpt", "sft", "experts", "preferences")


def test_no_held_out_group_is_in_a_training_set(built) -> None:
    held_out = {row["group"] for row in built["held_out"]}
    assert held_out
    for name in TRAINING:
        assert built[name], name
        assert not held_out & {row["group"] for row in built[name]}, name
        assert {row["split"] for row in built[name]} == {"train"}


def test_every_row_has_its_provenance_and_fits_the_schema(built) -> None:
    schemas = {"cpt": "cpt", "preferences": "preference"}
    for name in (*TRAINING, "held_out"):
        write_rows(built["folder"] / f"{name}.parquet", built[name], schemas.get(name, "instruction"))
        for row in built[name]:
            assert row["id"]
            assert row["group"]
            assert len(row["parents"]) == 1
            steps = [step["name"] for step in row["steps"]]
            assert steps[:1] in (["read"], ["behaviour"])
            for field in ("name", "kind", "file", "file_hash", "licence", "consent", "purpose"):
                assert row["source"][field], (name, field)


def test_no_question_of_the_held_out_rows_is_in_training(built) -> None:
    def questions(rows):
        return {row["messages"][0]["content"] for row in rows if row["family"] in ("conversation", "distilled")}

    shared = questions(built["held_out"]) & questions([*built["sft"], *built["experts"]])
    assert not {question for question in shared if len(question) >= 12}


def test_the_same_corpus_gives_the_same_bytes(built) -> None:
    first, second = built["folder"] / "a.parquet", built["folder"] / "b.parquet"
    for path in (first, second):
        rows = expert_set(built["rows"], ExpertSetSettings(per_task=100), seed=17).rows
        write_rows(path, rows, "instruction")
    assert first.read_bytes() == second.read_bytes()
