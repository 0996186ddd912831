"""Mixtures: what is drawn has the weights and the budget that were asked for, and what is trained is what was drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from trl import SFTConfig

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.load import Loaded, load
from pediatricsgpt.records import write_json_lines
from pediatricsgpt.training import cpt, mixture
from pediatricsgpt.training.batches import Piece
from pediatricsgpt.training.data import Prepared, dialogue_set, text_set
from pediatricsgpt.training.settings import CptSettings, ExpertsSettings, SetSettings, SftSettings
from pediatricsgpt.training.trainer import PackedTrainer
from tests.rows import instruction, text, write
from tests.training.jobs import job

PLAIN = [text(f"小儿肺炎第{number}型，" + "表现为发热咳嗽。" * (number % 5 + 1)) for number in range(12)]
TOLD = [{**text(f"问：发热{number}度怎么办？答：多喝水。"), "form": "instruction"} for number in range(30)]
GENERAL = [{**text(f"北京有{number}座公园。"), "source": {**PLAIN[0]["source"], "kind": "text"}} for number in range(9)]


def _plain_kind(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "source": {**row["source"], "kind": "textbook", "name": "books"}} for row in rows]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write(tmp_path, "cpt", [*_plain_kind(PLAIN), *_plain_kind(TOLD), *GENERAL])


@given(
    weights=st.dictionaries(st.sampled_from("abcde"), st.floats(0.01, 100), min_size=1),
    tokens=st.integers(0, 10**6),
)
def test_budgets_add_up_and_keep_the_proportions(weights: dict[str, float], tokens: int) -> None:
    found = mixture.budgets(weights, tokens)
    assert sum(found.values()) == tokens
    whole = sum(weights.values())
    assert all(abs(found[name] - tokens * weight / whole) < 1 + 1e-6 for name, weight in weights.items())


def _tokens(pieces: list[Piece], of: Callable[[int], bool] = lambda _: True) -> int:
    return sum(piece.stop - piece.start for piece in pieces if of(piece.row))


@pytest.mark.parametrize("tokens", [7, 500, 5000])
def test_a_text_mixture_has_its_weights_and_its_budget_to_the_token(loaded: Loaded, texts: Path, tokens: int) -> None:
    settings = CptSettings(max_length=32, tokens=tokens, mixture={"plain": 0.6, "instruction": 0.3, "general": 0.1})
    prepared = text_set(texts, loaded.tokenizer, settings, seed=5)
    assert prepared.parts is not None
    assert _tokens(prepared.parts) == tokens == prepared.counts["tokens"]
    plain = _tokens(prepared.parts, lambda row: row < len(PLAIN))
    general = _tokens(prepared.parts, lambda row: row >= len(PLAIN) + len(TOLD))
    assert abs(plain - 0.6 * tokens) <= 1
    assert abs(general - 0.1 * tokens) <= 1
    assert prepared.counts["by_form"]["instruction"]["tokens"] == tokens - plain - general
    assert prepared.counts["by_source"]["books"]["tokens"] == tokens - general
    assert sum(one["tokens"] for one in prepared.counts["by_source"].values()) == tokens
    assert max(piece.stop - piece.start for piece in prepared.parts) <= 32
    lengths = [len(row["input_ids"]) for row in prepared.dataset]
    assert all(0 <= piece.start < piece.stop <= lengths[piece.row] for piece in prepared.parts)
    again = text_set(texts, loaded.tokenizer, settings, seed=5)
    assert again.parts == prepared.parts
    assert text_set(texts, loaded.tokenizer, settings, seed=6).parts != prepared.parts


def test_without_a_budget_a_mixture_has_as_many_tokens_as_the_set(loaded: Loaded, texts: Path) -> None:
    every = text_set(texts, loaded.tokenizer)
    mixed = text_set(texts, loaded.tokenizer, CptSettings(mixture={"plain": 1, "instruction": 1, "general": 2}))
    assert every.parts is None
    assert mixed.counts["tokens"] == every.counts["tokens"]
    assert mixed.counts["by_form"]["instruction"]["share_percent"] == pytest.approx(25, abs=0.5)


def test_rows_of_no_part_are_left_out_and_counted(loaded: Loaded, texts: Path) -> None:
    prepared = text_set(texts, loaded.tokenizer, CptSettings(mixture={"instruction": 1, "general": 1}))
    assert prepared.counts["left_out_mixture"] == len(PLAIN)
    assert any(f"{len(PLAIN)} of" in note for note in prepared.notes)


def test_a_part_without_rows_is_refused_with_what_there_is(loaded: Loaded, texts: Path) -> None:
    with pytest.raises(UserError, match=r"names atlas, and no row.*the rows are of books, corpus, instruction, plain"):
        text_set(texts, loaded.tokenizer, CptSettings(mixture={"plain": 1, "atlas": 1}))


def test_a_budget_is_trained_to_the_token(model_folder: Path, texts: Path, tmp_path: Path) -> None:
    mixed = {"plain": 0.5, "instruction": 0.3, "general": 0.2}
    trainer = {"per_device_train_batch_size": 4, "learning_rate": 1.0e-3, "save_strategy": "no"}
    settings = CptSettings(max_length=64, tokens=777, mixture=mixed, trainer=trainer)
    counts = cpt.train(job(tmp_path / "cpt", model_folder, texts, name="cpt"), settings)
    assert counts["trained_tokens"] == 777 == counts["tokens"]


def _seen(prepared: Prepared, model_folder: Path, folder: Path, max_length: int) -> Counter[int]:
    """Tokens by id that go through the model in an epoch."""
    loaded = load(model_folder, dtype="float32", trainable=True)
    args = SFTConfig(str(folder), per_device_train_batch_size=1, bf16=False, use_cpu=True, report_to=[])
    trainer = PackedTrainer(
        loaded.model,
        args,
        prepared.dataset,
        max_length=max_length,
        parts=prepared.parts,
        processing_class=loaded.tokenizer,
    )
    return Counter(token for batch in trainer.get_train_dataloader() for token in batch["input_ids"][0].tolist())


def test_what_the_trainer_sees_is_what_was_drawn(
    loaded: Loaded, model_folder: Path, texts: Path, tmp_path: Path
) -> None:
    settings = CptSettings(max_length=32, tokens=900, mixture={"plain": 2, "general": 1})
    prepared = text_set(texts, loaded.tokenizer, settings)
    drawn = Counter(
        token for row, start, stop in prepared.parts or [] for token in prepared.dataset[row]["input_ids"][start:stop]
    )
    assert _seen(prepared, model_folder, tmp_path, 32) == drawn


# --- several sets -----------------------------------------------------------------------------------------------------

CORPUS_ROWS = [instruction(f"孩子{number}岁发热", "先量体温。" * (number % 4 + 1)) for number in range(20)]
OWN_ROWS = [instruction(f"本院第{number}科在哪", f"在{number}楼。", task="general") for number in range(6)]


def _own(folder: Path, **more: Any) -> SetSettings:
    """A set of the user's own: JSON lines with nothing but `messages`."""
    write_json_lines(folder / "own.jsonl", [{"messages": row["messages"]} for row in OWN_ROWS])
    return SetSettings(path=folder / "own.jsonl", **more)


@pytest.mark.parametrize("weight", [0.2, 0.7])
def test_a_set_of_ones_own_has_its_share_of_the_tokens(loaded: Loaded, tmp_path: Path, weight: float) -> None:
    path = write(tmp_path, "instruction", CORPUS_ROWS)
    settings = SftSettings(max_length=128, data=[_own(tmp_path, weight=weight)])
    prepared = dialogue_set(path, loaded.tokenizer, settings, seed=3)
    lengths = [len(row["input_ids"]) for row in prepared.dataset]
    own = prepared.counts["by_set"]["own"]["tokens"]
    assert abs(own - weight * sum(lengths)) <= max(lengths)
    assert all((piece.start, piece.stop) == (0, lengths[piece.row]) for piece in prepared.parts or [])


def test_a_set_without_weight_joins_every_row_once(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", CORPUS_ROWS)
    prepared = dialogue_set(path, loaded.tokenizer, SftSettings(max_length=128, data=[_own(tmp_path)]))
    assert prepared.parts is None
    assert len(prepared.dataset) == len(CORPUS_ROWS) + len(OWN_ROWS)
    assert prepared.counts["by_set"]["own"]["rows"] == len(OWN_ROWS)
    assert prepared.counts["by_task"]["general"]["rows"] == len(OWN_ROWS)


def test_held_out_rows_of_a_set_of_ones_own_are_left_out(loaded: Loaded, tmp_path: Path) -> None:
    path = write(tmp_path, "instruction", CORPUS_ROWS)
    (tmp_path / "own").mkdir()
    held = [instruction("保留的问题", "保留的回答", split="held_out")]
    own = write(tmp_path / "own", "instruction", [*OWN_ROWS, *held])
    prepared = dialogue_set(path, loaded.tokenizer, SftSettings(data=[SetSettings(path=own, name="own")]))
    assert prepared.counts["left_out_held_out"] == 1
    assert len(prepared.dataset) == len(CORPUS_ROWS) + len(OWN_ROWS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": [{"path": "a.jsonl", "weight": 0.6}, {"path": "b.jsonl", "weight": 0.6}]}, "add up to 1.2"),
        ({"data": [{"path": "a.jsonl"}, {"path": "x/a.jsonl"}]}, "a name of its own, not a"),
        ({"data": [{"path": "corpus.jsonl"}]}, "a name of its own, not corpus"),
        ({"data": [{"path": "a.jsonl", "weight": 0.5}], "mixture": {"a": 1}}, "keep one"),
        ({"mixture": {"plain": 0.0}}, "a share above 0"),
    ],
)
def test_contradicting_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SftSettings(**settings)


def test_a_budget_and_steps_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match=r"tokens and trainer\.max_steps"):
        CptSettings(tokens=5, trainer={"max_steps": 3})
    with pytest.raises(ValidationError, match="keep one of the two"):
        ExpertsSettings(task_sampling="balanced", mixture={"medkqa": 1})


# --- tasks of the expert phase ----------------------------------------------------------------------------------------

AVAILABLE = {"medkqa": 9000, "evidiag": 1000, "trerecom": 3000, "general": 400}


def test_balanced_tasks_have_equal_tokens_as_far_as_repeats_go() -> None:
    found = mixture.task_budgets(AVAILABLE, ExpertsSettings(task_sampling="balanced", max_repeats=2))
    each = 13000 // 3
    assert found == {"medkqa": each, "evidiag": 2000, "trerecom": each, "general": 400}
    large = {"medkqa": 1_000_000, "evidiag": 1_000_000, "trerecom": 1000}
    found = mixture.task_budgets(large, ExpertsSettings(task_sampling="balanced", max_repeats=4))
    assert found == {"medkqa": 667_000, "evidiag": 667_000, "trerecom": 4000}
    found = mixture.task_budgets(AVAILABLE, ExpertsSettings(task_sampling="balanced", max_repeats=9))
    assert found["medkqa"] == found["evidiag"] == found["trerecom"] == 13000 // 3


def test_a_task_that_has_less_than_was_asked_for_is_told_with_numbers() -> None:
    def told(**settings: Any) -> list[str]:
        experts = ExpertsSettings(**settings)
        return mixture.told_of_tasks(AVAILABLE, mixture.task_budgets(AVAILABLE, experts), experts)

    (note,) = told(task_sampling="balanced", max_repeats=2)
    assert note.startswith("task evidiag has 2,000 of the 4,333 tokens that balanced asks for: its rows have 1,000")
    assert "max_repeats is 2" in note
    assert told(task_sampling="balanced", max_repeats=5) == []
    (note,) = told(general_replay=0.5, max_repeats=3)
    assert note.startswith("general rows are 8.5% of the tokens and not 50.0%: there are 400 tokens of them")
    assert told(general_replay=0.01) == []


def test_rows_that_sampling_leaves_out_are_counted_and_told(loaded: Loaded, tmp_path: Path) -> None:
    rows = [
        *(instruction(f"问{n}", "答。" * 20, task="medkqa") for n in range(40)),
        *(instruction(f"咨询{n}", "请就诊。", task="evidiag") for n in range(3)),
    ]
    path = write(tmp_path, "instruction", [*rows, *rows[40:]])
    settings = ExpertsSettings(max_length=256, task_sampling="balanced", max_repeats=2)
    prepared = dialogue_set(path, loaded.tokenizer, settings)
    drawn = {piece.row for piece in prepared.parts or []}
    assert prepared.counts["not_drawn"] == 43 - len(drawn) > 10
    assert prepared.counts["by_task"]["medkqa"]["rows"] > 10  # the small task does not hold the large one down
    assert f"{43 - len(drawn)} of 46 rows are not drawn in this pass" in prepared.notes
    assert any(note.startswith("task evidiag has ") for note in prepared.notes)


def test_temperature_lies_between_as_built_and_balanced() -> None:
    def shares(temperature: float) -> list[int]:
        settings = ExpertsSettings(task_sampling="temperature", temperature=temperature, max_repeats=9)
        found = mixture.task_budgets(AVAILABLE, settings)
        return [found[task] for task in ("medkqa", "evidiag", "trerecom")]

    assert shares(1) == [9000, 1000, 3000]
    roots = [tokens**0.5 for tokens in (9000, 1000, 3000)]
    assert shares(2) == pytest.approx([13000 * root / sum(roots) for root in roots], abs=1)
    assert shares(1e6) == pytest.approx([13000 / 3] * 3, abs=2)


def test_general_replay_has_its_share_and_is_refused_without_rows() -> None:
    found = mixture.task_budgets(AVAILABLE, ExpertsSettings(general_replay=0.1, max_repeats=9))
    assert found["general"] / sum(found.values()) == pytest.approx(0.1, abs=1e-3)
    assert mixture.task_budgets(AVAILABLE, ExpertsSettings(general_replay=0.0))["general"] == 0
    with pytest.raises(UserError, match="needs general rows"):
        mixture.task_budgets({"medkqa": 5}, ExpertsSettings(general_replay=0.1))
    with pytest.raises(UserError, match="no row is of a pediatric task"):
        mixture.task_budgets({"general": 5}, ExpertsSettings(task_sampling="balanced"))


def test_sampled_tasks_are_what_the_counts_say(loaded: Loaded, tmp_path: Path) -> None:
    rows = [
        *(instruction(f"问{n}", "答。" * 20, task="medkqa") for n in range(30)),
        *(instruction(f"咨询{n}", "几天了？", f"{n}天", "请就诊。", task="evidiag") for n in range(8)),
        *(instruction(f"治疗{n}", "多休息。", task="trerecom") for n in range(9)),
        *(instruction(f"地理{n}", "北京。", task="general") for n in range(5)),
    ]
    path = write(tmp_path, "instruction", [*rows, *rows[30:]])  # the corpus repeats the smaller tasks
    settings = ExpertsSettings(max_length=256, task_sampling="balanced", max_repeats=20, general_replay=0.1)
    prepared = dialogue_set(path, loaded.tokenizer, settings, seed=1)
    by_task = prepared.counts["by_task"]
    longest = max(len(row["input_ids"]) for row in prepared.dataset)
    tokens = [by_task[task]["tokens"] for task in ("medkqa", "evidiag", "trerecom")]
    assert max(tokens) - min(tokens) <= longest
    assert by_task["general"]["share_percent"] == pytest.approx(10, abs=2)
    assert {task: one["rows"] for task, one in by_task.items()}["evidiag"] == 8
    assert sum(one["tokens"] for one in by_task.values()) == prepared.counts["tokens"]
    assert prepared.counts["loss_tokens"] == sum(one["loss_tokens"] for one in by_task.values())


def test_texts_of_ones_own_are_part_of_the_stream_and_of_the_budget(
    loaded: Loaded, texts: Path, tmp_path: Path
) -> None:
    write_json_lines(tmp_path / "guidelines.jsonl", [{"text": f"指南第{number}条：补液。"} for number in range(3)])
    own = SetSettings(path=tmp_path / "guidelines.jsonl", weight=0.25)
    prepared = text_set(texts, loaded.tokenizer, CptSettings(data=[own], tokens=400))
    assert prepared.counts["by_set"]["guidelines"]["tokens"] == 100
    assert prepared.counts["by_set"]["corpus"]["tokens"] == 300
    assert prepared.counts["by_source"]["guidelines"]["rows"] == 3


def test_paths_of_sets_are_relative_to_the_recipe(tmp_path: Path) -> None:
    settings = SftSettings(data=[SetSettings(path=Path("sets/own.jsonl"), weight=0.5)])
    resolved = settings.resolved(tmp_path)
    assert [own.path for own in resolved.data] == settings.files(tmp_path) == [(tmp_path / "sets/own.jsonl").resolve()]
    assert (resolved.data[0].title, resolved.data[0].weight) == ("own", 0.5)
