"""What a phase will do: tokens, steps and packs, from a set or from a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trl import SFTConfig

from pediatricsgpt.errors import UserError
from pediatricsgpt.training import estimate
from pediatricsgpt.training.arguments import arguments
from pediatricsgpt.training.data import dialogue_set, text_set
from pediatricsgpt.training.estimate import SetSize, work_expected, work_of_set
from pediatricsgpt.training.settings import CptSettings, ExpertsSettings, PhaseSettings, SetSettings, SftSettings
from tests.rows import instruction, text, write
from tests.training.jobs import DIALOGUES


def _args(settings: PhaseSettings) -> Any:
    return arguments(SFTConfig, Path("unused"), 1, settings, gpu=False)


def test_steps_are_those_set_or_those_of_the_epochs() -> None:
    batch = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 5}
    size = SetSize(rows=100, tokens=20_000)
    fixed = SftSettings(trainer={"max_steps": 7})
    assert work_expected(size, fixed, _args(fixed)).steps(_args(fixed)) == 7
    packed = SftSettings(max_length=100, trainer={"num_train_epochs": 2, **batch})
    work = work_expected(size, packed, _args(packed))
    assert work.steps(_args(packed)) == 2 * 200 / 10
    assert work.trained_tokens(_args(packed)) == 40_000
    loose = SftSettings(max_length=100, packing=False, trainer={"num_train_epochs": 2, **batch})
    assert work_expected(size, loose, _args(loose)).steps(_args(loose)) == 2 * 100 / 10
    two = work_expected(size, packed, _args(packed), processes=2)
    assert two.steps(_args(packed)) == 2 * 200 / 10 / 2


def test_a_budget_says_how_long_to_train_whatever_is_there() -> None:
    settings = CptSettings(tokens=50_000, max_length=100, trainer={"per_device_train_batch_size": 1}).one_pass
    work = work_expected(SetSize(10, 2000), settings, _args(settings))
    assert (work.tokens, work.trained_tokens(_args(settings)), work.steps(_args(settings))) == (50_000, 50_000, 500)


def test_a_set_is_prepared_as_the_phase_prepares_it(loaded: Any, tmp_path: Path) -> None:
    data = write(tmp_path, "instruction", DIALOGUES)
    own = tmp_path / "own.jsonl"
    own.write_text('{"messages": [{"role": "user", "content": "咳"}, {"role": "assistant", "content": "就诊"}]}\n' * 9)
    mixed = SftSettings(max_length=64, data=[SetSettings(path=own, weight=0.5)], trainer={"num_train_epochs": 1})
    work = work_of_set(data, loaded.tokenizer, mixed, _args(mixed), 1)
    assert work.counted
    assert work.tokens == dialogue_set(data, loaded.tokenizer, mixed, 1).counts["tokens"]
    sampled = ExpertsSettings(max_length=64, task_sampling="balanced", trainer={"num_train_epochs": 1})
    expected = dialogue_set(data, loaded.tokenizer, sampled, 1).counts["tokens"]
    assert work_of_set(data, loaded.tokenizer, sampled, _args(sampled), 1).tokens == expected


def test_of_a_large_set_a_sample_is_tokenised(loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_SAMPLE", 100)
    rows = [text("小儿肺炎" * (1 + number * 7 % 23)) for number in range(1000)]
    data = write(tmp_path, "cpt", rows)
    settings = CptSettings(max_length=64, trainer={"num_train_epochs": 3})
    work, args = work_of_set(data, loaded.tokenizer, settings, _args(settings), 1), _args(settings)
    whole = text_set(data, loaded.tokenizer, settings).counts["tokens"]
    assert not work.counted
    assert work.tokens == pytest.approx(whole, rel=0.05)
    assert work.trained_tokens(args) == pytest.approx(3 * whole, rel=0.05)
    budget = CptSettings(max_length=64, tokens=20_000).one_pass
    assert work_of_set(data, loaded.tokenizer, budget, _args(budget), 1).tokens == 20_000


def test_a_part_that_the_sample_misses_is_looked_for_in_the_whole(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_SAMPLE", 2)
    rows = [*DIALOGUES[:7], instruction("方剂", "遵医嘱。", task="trerecom")]
    data = write(tmp_path, "instruction", rows)
    settings = SftSettings(max_length=64, mixture={"trerecom": 0.5, "medkqa": 0.5})
    work = work_of_set(data, loaded.tokenizer, settings, _args(settings), 1)
    assert work.counted
    impossible = SftSettings(max_length=64, mixture={"no such part": 1.0})
    with pytest.raises(UserError, match="no such part"):
        work_of_set(data, loaded.tokenizer, impossible, _args(impossible), 1)


def test_time_follows_from_operations_at_the_nominal_rate() -> None:
    assert estimate.seconds(1e12, cores=2) == pytest.approx(10)
