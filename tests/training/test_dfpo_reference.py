"""A live, a precomputed and an adapter's reference say the same; a precomputed one is never computed twice."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from pediatricsgpt.curves import METRICS
from pediatricsgpt.errors import UserError
from pediatricsgpt.models.load import load
from pediatricsgpt.records import read_json_lines
from pediatricsgpt.training import dfpo
from pediatricsgpt.training.phase import Job
from pediatricsgpt.training.preference import progress as preference_progress
from pediatricsgpt.training.preference import trainer as preference_trainer
from pediatricsgpt.training.preference.data import preference_set
from pediatricsgpt.training.preference.loss import CHANGE
from pediatricsgpt.training.preference.progress import progress_of_reference
from pediatricsgpt.training.preference.reference import Cache, fill, key_of
from pediatricsgpt.training.preference.shortcuts import SHORTCUTS, STATISTICS, look
from pediatricsgpt.training.preference.trainer import FELL
from pediatricsgpt.training.settings import DfpoSettings, PreferenceAdapter
from tests.rows import preference, write
from tests.training.test_dfpo import PAIRS

TRAINER = {"max_steps": 4, "per_device_train_batch_size": 2, "logging_steps": 1, "learning_rate": 1.0e-3}


def _job(tmp_path: Path, model_folder: Path, name: str = "out", console: Console | None = None) -> Job:
    data = tmp_path / "preference.parquet"
    if not data.exists():
        write(tmp_path, "preference", PAIRS)
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    return Job("dfpo", model_folder, data, folder, 1, console or Console(quiet=True))


def _settings(**own: Any) -> DfpoSettings:
    return DfpoSettings(max_length=128, trainer=TRAINER, **own)


def _log(folder: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_json_lines(folder / METRICS) if "loss" in row]


def test_live_and_precomputed_give_equal_curves(model_folder: Path, tmp_path: Path) -> None:
    logs = []
    for reference in ("live", "precomputed"):
        job = _job(tmp_path, model_folder, reference)
        counts = dfpo.train(job, _settings(reference=reference))
        assert counts["reference"] == reference
        assert Cache.files(job.folder) == []
        logs.append(_log(job.folder))
    for one, other in zip(*logs, strict=True):
        for name in ("loss", "loss/preference", "logps/chosen", "logps/rejected"):
            assert one[name] == pytest.approx(other[name], rel=1e-5)


@pytest.mark.parametrize("kind", ["lora", "experts"])
def test_an_adapters_reference_is_the_model_that_came_in(model_folder: Path, tmp_path: Path, kind: Any) -> None:
    adapter = _job(tmp_path, model_folder)
    own = PreferenceAdapter(kind=kind, r=4, lora_alpha=8)
    counts = dfpo.train(adapter, _settings(reference="adapter", adapter=own))
    assert counts["trained_parameters"] < counts["parameters"] / 2
    first, *rest = _log(adapter.folder)
    assert first["loss/preference"] == pytest.approx(math.log(2), rel=1e-6)
    assert first["loss"] == pytest.approx(math.log(2) + first["loss/likelihood"], rel=1e-6)
    assert first["rewards/chosen"] == pytest.approx(0, abs=1e-5)
    assert rest[-1]["rewards/chosen"] != pytest.approx(0, abs=1e-5)


def test_a_lora_is_merged_into_a_plain_model(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(tmp_path, model_folder)
    seen: dict[str, torch.Tensor] = {}
    run = dfpo.run

    def remember(trainer: Any, *given: Any) -> dict[str, Any]:
        counts = run(trainer, *given)
        seen["adapted"] = trainer.model.eval()(torch.arange(1, 20)[None]).logits.detach()
        return counts

    monkeypatch.setattr(dfpo, "run", remember)
    dfpo.train(job, _settings(reference="adapter", adapter=PreferenceAdapter(r=4)))
    assert not list(job.folder.glob("adapter*"))
    merged, before = (load(folder, dtype="float32").model for folder in (job.folder, model_folder))
    assert type(merged) is type(before)
    assert merged.state_dict().keys() == before.state_dict().keys()
    logits, untrained = (model(torch.arange(1, 20)[None]).logits for model in (merged, before))
    torch.testing.assert_close(logits, seen["adapted"], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits, untrained, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "experts"])
@pytest.mark.parametrize("targets", [["gate_prj"], ["mlp.gate_prj"]])
def test_targets_that_match_nothing_are_one_line(kind: Any, targets: Any, model_folder: Path, tmp_path: Path) -> None:
    adapter = PreferenceAdapter(kind=kind, target_modules=targets)
    with pytest.raises(UserError, match=r"^dfpo\.adapter\.target_modules: .*nearest: gate_proj") as caught:
        dfpo.train(_job(tmp_path, model_folder), _settings(reference="adapter", adapter=adapter))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["lora", "experts"])
def test_one_target_of_several_that_matches_nothing_is_told(kind: Any, model_folder: Path) -> None:
    told: list[str] = []
    adapter = PreferenceAdapter(kind=kind, target_modules=["gate_prj", "q_proj"])
    model = dfpo.with_adapter(load(model_folder, dtype="float32").model, adapter, 0, told.append)
    assert told == ["target_modules 'gate_prj' matches no layer of this model, nearest: gate_proj, v_proj, q_proj"]
    assert all(".q_proj." in name for name, weight in model.named_parameters() if weight.requires_grad)


@pytest.mark.parametrize("targets", ["ffn", "attention", "all-linear", ["attention", "up_proj"]])
def test_the_words_of_target_modules_mean_the_same_layers_in_both_kinds(targets: Any, model_folder: Path) -> None:
    found = []
    for kind, last in (("lora", "lora_A"), ("experts", "experts_A")):
        adapter = PreferenceAdapter.model_validate({"kind": kind, "target_modules": targets})
        model = dfpo.with_adapter(load(model_folder, dtype="float32").model, adapter, 0)
        found.append({name.partition(f".{last}")[0] for name, _ in model.named_parameters() if f".{last}" in name})
    assert found[0] == found[1] != set()


def test_off_a_terminal_the_precomputation_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 2))
    monkeypatch.setattr(preference_progress.time, "monotonic", lambda: next(clock))
    console = Console(record=True, width=200, file=io.StringIO())
    with progress_of_reference(console, "dfpo") as show:
        for done in range(1, 101):
            show(done, 100)
    lines = console.export_text().splitlines()
    assert len(lines) == 10
    assert lines[0].strip() == "dfpo: reference of 10/100 pairs, 3 min 0 s left"

    quick = Console(record=True, width=200, file=io.StringIO())
    monkeypatch.setattr(preference_progress.time, "monotonic", lambda: 0.0)
    with progress_of_reference(quick, "dfpo") as show:
        show(50, 100)
    assert quick.export_text() == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_the_precomputation_of_a_phase_is_shown(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr(preference_progress, "_QUIET", -1.0)
    console = Console(record=True, width=200, file=io.StringIO(), force_terminal=terminal)
    dfpo.train(_job(tmp_path, model_folder, console=console), _settings(reference="precomputed"))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "dfpo: reference" in said
    assert terminal or "dfpo: reference of 4/4 pairs, 0 s left" in said


def test_a_killed_precomputation_goes_on_where_it_was(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, settings = _job(tmp_path, model_folder), _settings(reference="precomputed")
    loaded = load(model_folder, dtype="float32", trainable=True)
    pairs = preference_set(job.data, loaded.tokenizer, 128).dataset
    asked: list[int] = []
    answers = preference_trainer.answers

    def failing(model: Any, inputs: dict[str, Any], until: int) -> torch.Tensor:
        if len(asked) >= until:
            raise KeyboardInterrupt
        asked.extend(inputs["pairs"].tolist())
        return answers(model, inputs)

    trainer = dfpo.trainer_of(job, settings, loaded, pairs)
    monkeypatch.setattr(trainer, "_budget", 24)  # small packs
    monkeypatch.setattr(preference_trainer, "answers", lambda model, inputs: failing(model, inputs, 1))
    with pytest.raises(KeyboardInterrupt):
        trainer.precompute(job.folder, "key")
    first = list(asked)
    assert 0 < len(first) < len(pairs)
    monkeypatch.setattr(preference_trainer, "answers", lambda model, inputs: failing(model, inputs, 99))
    trainer.precompute(job.folder, "key")
    assert sorted(asked) == list(range(len(pairs)))  # none twice
    resumed = trainer._known
    trainer.precompute(job.folder, "another key")
    assert sorted(asked) == sorted([*range(len(pairs))] * 2)
    torch.testing.assert_close(resumed, trainer._known, rtol=1e-5, atol=1e-5)


def test_the_key_knows_model_data_and_precision() -> None:
    pair = {"prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4]}
    moved = {"prompt_ids": [1], "chosen_ids": [2, 3], "rejected_ids": [4]}
    keys = [
        key_of("a", [pair], "fp32"),
        key_of("b", [pair], "fp32"),
        key_of("a", [moved], "fp32"),
        key_of("a", [pair, pair], "fp32"),
        key_of("a", [pair], "bf16"),
    ]
    assert len(set(keys)) == len(keys)
    assert key_of("a", [dict(pair)], "fp32") == keys[0]


def test_processes_share_the_work_and_all_know_everything(tmp_path: Path) -> None:
    """A third of it was computed by three processes before; two go on."""
    old = Cache(tmp_path, "key", process=2)
    old.add([1, 4, 7], [(-1.0, -10.0), (-4.0, -40.0), (-7.0, -70.0)])
    old.save()
    asked: list[list[int]] = [[], []]
    barrier = Barrier(2)

    def work(process: int) -> torch.Tensor:
        def batches(numbers: list[int]) -> Iterator[tuple[list[int], torch.Tensor]]:
            asked[process] += numbers
            yield numbers, torch.tensor([[-number, -10 * number] for number in numbers])

        cache = Cache(tmp_path, "key", process)
        return fill(cache, 9, batches, process=process, processes=2, wait=lambda: barrier.wait(30) and None)

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(work, range(2))
    assert asked == [[0, 3, 6], [2, 5, 8]]
    assert torch.equal(one, torch.tensor([[-number, -10.0 * number] for number in range(9)]))
    assert torch.equal(one, other)


def test_an_adapter_that_would_not_be_used_is_refused() -> None:
    with pytest.raises(ValidationError, match="adapter has no effect"):
        DfpoSettings(adapter=PreferenceAdapter(r=4))


def test_a_damaged_cache_is_computed_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "key")
    cache.add([3], [(-1.5, -2.25)])
    cache.save()
    assert Cache(tmp_path, "key").known() == {3: (-1.5, -2.25)}
    (tmp_path / "reference-0.json").write_text('{"key": "key", "values": {"3": [-1.5', encoding="utf-8")
    assert Cache(tmp_path, "key").known() == {}


def test_without_any_reference_training_is_refused(model_folder: Path, tmp_path: Path) -> None:
    job, settings = _job(tmp_path, model_folder), _settings(reference="precomputed")
    loaded = load(model_folder, dtype="float32", trainable=True)
    pairs = preference_set(job.data, loaded.tokenizer, 128).dataset
    with pytest.raises(UserError, match="no reference"):
        dfpo.trainer_of(job, settings, loaded, pairs).train()


def test_falling_preferred_answers_are_told_once_and_counted(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Both sides begin alike and the low one goes on: pushing it down pushes its beginning down.
    rows = [preference(question, "多喝水", "多喝水多喝水多喝水多喝水") for question in ("发烧", "咳嗽", "腹泻", "呕吐")]
    write(tmp_path, "preference", rows)
    job = _job(tmp_path, model_folder, console=Console(width=300))
    trainer = {**TRAINER, "max_steps": 8, "learning_rate": 2.0e-2}
    settings = DfpoSettings(max_length=128, mu=0.0, beta=1.0, chosen_fall=0.01, trainer=trainer)
    counts = dfpo.train(job, settings)
    log = _log(job.folder)
    below = [row[CHANGE] < -0.01 for row in log]
    assert any(below)
    assert [row[FELL] for row in log] == [sum(below[: end + 1]) for end in range(len(log))]
    assert counts["chosen_falls"] == sum(below)
    said = capsys.readouterr().out
    assert said.count("the preferred answers fell by") == 1
    assert said.count("shortcuts of the preference set are unknown") == 1
    assert "missing" in json.loads((job.folder / SHORTCUTS).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("auc", "warned"), [(0.97, True), (0.55, False)])
def test_shortcuts_are_written_and_told_where_style_separates(tmp_path: Path, auc: float, warned: bool) -> None:
    probe = {"n": 400, "auc": auc, "chance": [0.46, 0.54], "features": {"length": 0.9, "baby": 0.5, "greeting": 0.2}}
    of_pairs = {"sides": {"chosen": {"greeting": 0.1}, "rejected": {"greeting": 0.9}}, "probe": probe}
    (tmp_path / STATISTICS).write_text(json.dumps({"sets": {"preferences": of_pairs}}), encoding="utf-8")
    said: list[str] = []
    assert look(tmp_path / "preference.parquet", tmp_path, 0.75, said.append) == of_pairs
    assert json.loads((tmp_path / SHORTCUTS).read_text(encoding="utf-8")) == of_pairs
    assert len(said) == warned
    assert not warned or ("AUC 0.97 over 400 pairs" in said[0] and "length 0.90, greeting 0.20" in said[0])
    assert look(tmp_path / "preference.parquet", tmp_path, None, said.append) == of_pairs
    assert len(said) == warned


def test_the_statistics_that_the_corpus_writes_are_understood(tmp_path: Path) -> None:
    """Sides that differ in their greeting alone, measured by the corpus, told by the phase."""
    from pediatricsgpt.corpus.build.preferences import statistics

    rows = [preference(f"问题{n}", f"您好，多喝水{n}。", f"多喝水{n}。") for n in range(40)]
    found = statistics(rows, [])
    (tmp_path / STATISTICS).write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    said: list[str] = []
    look(tmp_path / "preference.parquet", tmp_path, 0.75, said.append)
    assert "style alone tells" in said[0]
    assert "greeting 1.00" in said[0]


def test_too_long_pairs_can_be_an_error(model_folder: Path, tmp_path: Path) -> None:
    write(tmp_path, "preference", [*PAIRS, preference("发烧", "多喝水。" * 100, "没事")])
    with pytest.raises(UserError, match="more tokens than max_length 128"):
        dfpo.train(_job(tmp_path, model_folder), _settings(too_long="error"))
