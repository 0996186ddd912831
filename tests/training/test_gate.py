"""The forgetting gate: what rises by too much stops a phase, and the best step that obeys is the result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pediatricsgpt.models.load import load
from pediatricsgpt.training import expert_sft, sft
from pediatricsgpt.training.gate import ForgettingGate
from pediatricsgpt.training.held_out import Objective, held_sets, log_likelihoods, loss
from pediatricsgpt.training.meter import Meter
from pediatricsgpt.training.metrics import Metrics, read_metrics
from pediatricsgpt.training.settings import ExpertsSettings, GateSettings, SftSettings
from pediatricsgpt.training.token_loss import add_token_loss
from pediatricsgpt.training.watch import TrainingFailed
from tests.rows import write
from tests.training.jobs import DIALOGUES, TRAINER, held_out, held_out_pairs, job

# Learns fast and forgets: general loss falls first, as everything is new, and rises later.
HARSH = {**TRAINER, "learning_rate": 3.0e-2, "lr_scheduler_type": "constant", "max_steps": 24, "save_steps": 50}


def _losses(folder: Path, name: str) -> dict[int, float]:
    field = f"held_out/{name}"
    return {line["step"]: line[field] for line in read_metrics(folder) if field in line}


def _phase(tmp_path: Path, model: Path, gate: GateSettings, **trainer: Any) -> tuple[Path, dict[str, Any]]:
    data = write(tmp_path, "instruction", DIALOGUES)
    one = job(tmp_path / "out", model, data, held_out(tmp_path))
    one.console = Console(file=(tmp_path / "said").open("w"), width=300)
    counts = sft.train(one, SftSettings(max_length=64, gate=gate, trainer={**HARSH, **trainer}))
    one.console.file.close()
    return one.folder, counts


def test_a_set_that_rises_by_too_much_stops_the_phase(model_folder: Path, tmp_path: Path) -> None:
    free, counts = _phase(tmp_path, model_folder, GateSettings(every_steps=4, max_rise=None))
    assert "stopped" not in counts
    rises = {step: value - _losses(free, "general")[0] for step, value in _losses(free, "general").items() if step}
    assert counts["held_out"]["general"]["after"] == pytest.approx(_losses(free, "general")[24], abs=1e-4)
    assert list(rises) == [4, 8, 12, 16, 20, 24]
    worst = max(rises, key=lambda step: rises[step])
    allowed = (rises[worst] + max((rises[step] for step in rises if step < worst), default=0.0)) / 2
    assert worst > 4, "the test needs a set that is forgotten later"

    folder = tmp_path / "gated"
    folder.mkdir()
    gated, counts = _phase(folder, model_folder, GateSettings(every_steps=4, max_rise=allowed))
    own = {step: value for step, value in _losses(gated, "own").items() if 0 < step < worst}
    best = min(own, key=lambda step: own[step])
    assert counts["steps"] == worst
    assert counts["kept_step"] == best
    assert "'general' rose by" in counts["stopped"]
    assert "gate.max_rise" in counts["stopped"]
    said = (folder / "said").read_text()
    assert f"stopped at step {worst}: held-out loss of 'general' rose by" in said
    assert f"step {best} is kept" in said
    # What was written is the model of that step and no other.
    loaded = load(gated, dtype="float32")
    add_token_loss(loaded.model)
    sets = held_sets(
        {"own": folder / "own/instruction.parquet"},
        folder / "instruction.parquet",
        loaded.tokenizer,
        rows=9,
        max_length=64,
    )
    measured = loss(sets["own"], log_likelihoods(loaded.model, sets["own"]), None, Objective())
    assert measured == pytest.approx(own[best], rel=1e-6)


def test_a_gate_that_was_never_obeyed_fails_in_one_line(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="no earlier checkpoint obeys") as caught:
        _phase(tmp_path, model_folder, GateSettings(every_steps=1, max_rise=0.0), learning_rate=5.0)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert "held_out/general" in read_metrics(tmp_path / "out")[-1]
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_an_adapter_goes_back_to_its_best_step_too(model_folder: Path, tmp_path: Path) -> None:
    data = write(tmp_path, "instruction", DIALOGUES)
    one = job(tmp_path / "experts", model_folder, data, held_out(tmp_path))
    gate = GateSettings(every_steps=2, max_rise=None, patience=2)
    trainer = {**HARSH, "learning_rate": 0.5, "max_steps": 40}
    counts = expert_sft.train(one, ExpertsSettings(max_length=64, r=2, gate=gate, trainer=trainer))
    own = {step: value for step, value in _losses(one.folder, "own").items() if step}
    assert counts["kept_step"] == min(own, key=lambda step: own[step]) == counts["steps"] - 4
    loaded = load(one.folder, dtype="float32")
    add_token_loss(loaded.model)
    sets = held_sets(one.watched, data, loaded.tokenizer, rows=9, max_length=64)
    measured = loss(sets["own"], log_likelihoods(loaded.model, sets["own"]), None, Objective())
    assert measured == pytest.approx(own[counts["kept_step"]], rel=1e-6)


class _State:
    is_world_process_zero = True
    epoch = 0.0
    best_global_step = None

    def __init__(self, step: int, last: int = 100) -> None:
        self.global_step, self.max_steps = step, last


class _Control:
    should_save = should_log = should_training_stop = False


class _Arguments:
    learning_rate = 1e-3
    load_best_model_at_end = False


def _judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: GateSettings, losses: list[dict[str, float]]
) -> Any:
    """Feed a gate with losses, one measurement every ten steps, until it stops."""
    meter = Meter()
    gate = ForgettingGate({}, settings, Metrics(tmp_path, meter), meter, lambda _: None, Objective())
    coming = iter(losses)

    def measure(model: Any) -> dict[str, float]:
        gate.standing.latest = dict(next(coming))
        return dict(gate.standing.latest)

    monkeypatch.setattr(gate, "_measure", measure)
    args, saved = _Arguments(), []
    gate.on_train_begin(args, _State(0), _Control(), model=None)
    for step in range(10, 10 * len(losses), 10):
        control = _Control()
        gate.on_step_end(args, _State(step), control, model=None)
        assert control.should_log
        if control.should_save:
            saved.append(step)
        if control.should_training_stop:
            return gate.standing, saved, step, args
    return gate.standing, saved, None, args


@pytest.mark.parametrize(
    ("own", "general", "settings", "saved", "stop", "kept"),
    [
        ([9, 8, 7, 6], [5, 5, 5, 5], {}, [10, 20, 30], None, 0),
        ([9, 8, 7, 6], [5, 5.05, 5.1, 5.2], {}, [10, 20], 30, 20),  # a rise of exactly the limit is none too much
        ([9, 8, 7, 6], [5, 5, 5, math.nan], {}, [10, 20], 30, 20),
        ([9, 8, 8.5, 8.1, 8.2], [5, 5, 5, 5, 5], {"patience": 2}, [10], 30, 10),
        ([9, 8, 8.5, 7.9, 8.2, 8], [5] * 6, {"patience": 2}, [10, 30], 50, 30),
        ([9, 8, 7, 6], [5, 9, 9, 9], {"max_rise": None}, [10, 20, 30], None, 0),
    ],
)
def test_verdicts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: list[float],
    general: list[float],
    settings: dict[str, Any],
    saved: list[int],
    stop: int | None,
    kept: int,
) -> None:
    rule = GateSettings(**{"every_steps": 10, "max_rise": 0.1000001, **settings})
    losses = [{"own": mine, "general": other} for mine, other in zip(own, general, strict=True)]
    standing, found, stopped, args = _judged(tmp_path, monkeypatch, rule, losses)
    assert (found, stopped, standing.kept_step) == (saved, stop, kept)
    assert args.load_best_model_at_end == bool(kept)
    assert bool(standing.stopped) == bool(kept)


def test_without_own_rows_the_newest_that_obeys_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [{"general": value} for value in (5.0, 4.9, 5.05, 5.3)]
    standing, saved, stop, _ = _judged(tmp_path, monkeypatch, GateSettings(every_steps=10), losses)
    assert (saved, stop, standing.kept_step) == ([10, 20], 30, 20)


def test_a_short_phase_is_measured_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    rule = GateSettings(every_steps=1000)
    gate = ForgettingGate({}, rule, Metrics(tmp_path, Meter()), Meter(), lambda _: None, Objective())
    monkeypatch.setattr(gate, "_measure", lambda _: {})
    gate.standing.before = gate.standing.latest = {"own": 1.0}
    for step in range(1, 81):
        control = _Control()
        gate.on_step_end(_Arguments(), _State(step, 80), control, model=None)
        measured += [step] if control.should_log else []
    assert measured == [20, 40, 60, 80]


def test_pairs_of_an_earlier_phase_are_guarded_by_their_preferred_answers(model_folder: Path, tmp_path: Path) -> None:
    loaded = load(model_folder, dtype="float32")
    add_token_loss(loaded.model)
    trained = write(tmp_path, "instruction", DIALOGUES)
    sets = held_sets({"dfpo": held_out_pairs(tmp_path)}, trained, loaded.tokenizer, rows=9, max_length=64)
    gate = ForgettingGate(sets, GateSettings(), Metrics(tmp_path, Meter()), Meter(), lambda _: None, Objective())
    found = log_likelihoods(loaded.model, sets["dfpo"])[0::2]
    expected = -sum(value for value, _ in found) / sum(tokens for _, tokens in found)
    assert gate._measure(loaded.model)["dfpo"] == pytest.approx(expected, rel=1e-6)
