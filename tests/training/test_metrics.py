"""The log of a phase: a line for each logged step, real tokens counted, TensorBoard the same values."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from pediatricsgpt.curves import METRICS, charts
from pediatricsgpt.errors import UserError
from pediatricsgpt.models.encode import encode_dialogue
from pediatricsgpt.models.load import load
from pediatricsgpt.training import meter as meter_module
from pediatricsgpt.training import sft
from pediatricsgpt.training.curves import draw
from pediatricsgpt.training.meter import Meter
from pediatricsgpt.training.metrics import Metrics, cut_back, read_metrics
from pediatricsgpt.training.progress import ProgressBar, duration
from pediatricsgpt.training.settings import DfpoSettings, SftSettings
from tests.rows import write
from tests.training.jobs import DIALOGUES, PAIRS, TRAINER, held_out, job, train_dfpo


@pytest.mark.parametrize("packing", [True, False])
def test_tokens_are_those_of_the_rows_without_padding(model_folder: Path, tmp_path: Path, packing: bool) -> None:
    trainer = {"per_device_train_batch_size": 3, "num_train_epochs": 2, "logging_steps": 2}
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", DIALOGUES))
    counts = sft.train(one, SftSettings(max_length=128, packing=packing, trainer=trainer))
    tokenizer = load(model_folder).tokenizer
    real = sum(len(encode_dialogue(tokenizer, row["messages"]).input_ids) for row in DIALOGUES)
    log = read_metrics(one.folder)
    assert counts["trained_tokens"] == log[-1]["tokens"] == 2 * real
    assert [line["step"] for line in log] == sorted({line["step"] for line in log})
    assert log[-1]["step"] == counts["steps"]
    for line in log:
        assert {"epoch", "loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_mb"} <= line.keys()
        assert line["tokens_per_second"] > 0
        assert line["memory_mb"] > 100


def test_both_sides_of_a_pair_count_once(model_folder: Path, tmp_path: Path) -> None:
    """The reference's pass is no training."""
    one = job(tmp_path / "out", model_folder, write(tmp_path, "preference", PAIRS[:4]), name="dfpo")
    trainer = {"per_device_train_batch_size": 4, "num_train_epochs": 1}
    train_dfpo(one, DfpoSettings(max_length=128, share_prompt=False, trainer=trainer))
    tokenizer = load(model_folder).tokenizer
    real = sum(
        len(encode_dialogue(tokenizer, [*pair["prompt"], pair[side][0]]).input_ids)
        for pair in PAIRS[:4]
        for side in ("chosen", "rejected")
    )
    # The template puts a line break behind the last turn, which an answer does not have.
    assert real - 8 <= read_metrics(one.folder)[-1]["tokens"] <= real


def test_the_log_is_cut_back_to_the_step_that_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    lines = [json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(6)]
    path.write_text("".join(lines) + '{"step": 6, "lo', encoding="utf-8")
    cut_back(path, 4)
    assert path.read_text(encoding="utf-8") == "".join(lines[:5])
    cut_back(path, 9)
    assert path.read_text(encoding="utf-8") == "".join(lines[:5])
    cut_back(path, 0)  # a training that begins anew
    assert path.read_text(encoding="utf-8") == ""


def test_event_files_hold_the_same_values(model_folder: Path, tmp_path: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", DIALOGUES))
    sft.train(one, SftSettings(max_length=64, tensorboard=True, trainer=TRAINER))
    (file,) = (one.folder / "tensorboard").iterdir()
    data, place, found = file.read_bytes(), 0, {}
    while place < len(data):  # records: length, its checksum, the event, its checksum
        size = int.from_bytes(data[place : place + 8], "little")
        event = Event.FromString(data[place + 12 : place + 12 + size])
        found |= {(event.step, value.tag): value.simple_value for value in event.summary.value}
        place += 16 + size
    for line in read_metrics(one.folder):
        assert found[line["step"], "loss"] == pytest.approx(line["loss"])
        assert found[line["step"], "tokens"] == line["tokens"]


def test_a_training_that_begins_anew_has_no_older_events(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard/events.out.tfevents.1").write_bytes(b"old")
    state = type("State", (), {"global_step": 0, "epoch": 0.0, "is_world_process_zero": True})()
    metrics = Metrics(tmp_path, Meter(), tensorboard=True)
    metrics.on_train_begin(None, state, None)
    metrics.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert file.read_bytes() != b"old"
    state.global_step = 4
    resumed = Metrics(tmp_path, Meter(), tensorboard=True)
    resumed.on_train_begin(None, state, None)
    resumed.close()
    assert file.exists()


def test_tensorboard_without_its_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"pip install 'pediatricsgpt\[tensorboard\]'"):
        Metrics(tmp_path, Meter(), tensorboard=True)


def test_the_curves_are_a_picture(model_folder: Path, tmp_path: Path) -> None:
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", DIALOGUES), held_out(tmp_path))
    sft.train(one, SftSettings(max_length=64, trainer=TRAINER))
    assert (one.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    drawn = charts(read_metrics(one.folder))
    assert list(drawn) == ["training loss", "held-out loss"]
    assert drawn["held-out loss"].keys() == {"general", "own", "sft"}
    steps = [step for step, _ in drawn["held-out loss"]["own"]]
    assert (steps[0], steps[-1]) == (0, 6)
    assert "matplotlib.pyplot" not in sys.modules or sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_without_matplotlib_a_phase_does_not_begin(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", DIALOGUES))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else find(name, *rest)
    )
    with pytest.raises(UserError, match=r"needs 'matplotlib'.*pediatricsgpt\[train\]"):
        sft.train(one, SftSettings(max_length=64, trainer=TRAINER))
    assert not (one.folder / METRICS).exists()


@pytest.mark.filterwarnings("error")
def test_chinese_names_and_values_that_are_not_finite_can_be_drawn(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"step": 1, "loss": math.nan}, {"step": 2, "loss": 2.0, "held_out/综合": 3.0}]
    (tmp_path / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert draw(tmp_path, "sft") == tmp_path / "curves.png"
    assert draw(tmp_path / "nothing", "sft") is None


def test_off_a_terminal_a_tenth_is_a_line(model_folder: Path, tmp_path: Path) -> None:
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", DIALOGUES))
    with (tmp_path / "said").open("w") as file:
        one.console = Console(file=file, width=200)
        sft.train(one, SftSettings(max_length=64, trainer={**TRAINER, "max_steps": 20}))
    said = (tmp_path / "said").read_text().splitlines()
    assert len(said) == 10
    assert all("tokens/s" in line and "GiB" in line and "loss" in line for line in said)
    assert all("left" in line for line in said[:-1])


def test_on_a_terminal_there_is_a_bar_that_gives_it_back(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w") as file:
        bar = ProgressBar("sft", Console(file=file, force_terminal=True, width=120), Meter())
        state = type("State", (), {"global_step": 0, "max_steps": 4, "is_world_process_zero": True})()
        bar.on_train_begin(None, state, None)
        state.global_step = 2
        bar.on_step_end(None, state, None)
        bar.on_log(None, state, None, logs={"loss": 1.25})
        bar.close()
        bar.close()
    said = (tmp_path / "said").read_text()
    assert "2/4" in said
    assert "loss 1.250" in said
    assert said.rstrip().endswith("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize(("seconds", "said"), [(4.4, "4 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_passes_without_gradients_do_not_count() -> None:
    model = torch.nn.Embedding(9, 2)
    meter = Meter()
    state = type("State", (), {"global_step": 0, "max_steps": 4, "stateful_callbacks": {}})()
    meter.on_train_begin(None, state, None, model=model)
    ids = torch.tensor([[1, 2, 3]])
    model(ids)
    with torch.no_grad():
        model(ids)
    model.eval()
    model(ids)
    args = type("Arguments", (), {"device": "cpu"})()
    meter.on_log(args, state, None, logs={"loss": 1.0})
    assert meter.tokens == 3
    meter.close()
    model.train()(ids)
    meter.on_log(args, state, None, logs={"loss": 1.0})
    assert meter.tokens == 3


def test_the_time_left_does_not_count_what_comes_before_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate measures the model that came in once; what it measures between steps comes again."""
    now = [0.0]
    monkeypatch.setattr(meter_module.time, "perf_counter", lambda: now[0])
    meter = Meter()
    state = type("State", (), {"global_step": 2, "max_steps": 10, "stateful_callbacks": {}})()
    meter.on_train_begin(None, state, None, model=torch.nn.Embedding(9, 2))
    assert meter.seconds_left(state) is None
    now[0] += 1000.0  # the first measurement
    for _ in range(2):
        meter.on_step_begin(None, state, None)
        assert (meter.seconds_left(state) is None) == (state.global_step == 2)
        now[0] += 3.0
        state.global_step += 1
        meter.on_step_end(None, state, None)
        now[0] += 2.0  # a measurement, a checkpoint
    assert meter.seconds_left(state) == pytest.approx(5.0 * 6)
    meter.close()
