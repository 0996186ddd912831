"""Checkpoints are whole or not there; the newest and the best stay, others go."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from pediatricsgpt.curves import METRICS
from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import disk_errors
from pediatricsgpt.training import sft
from pediatricsgpt.training.checkpoints import check_processes, last_checkpoint, newest_whole, remove, seal
from pediatricsgpt.training.settings import GateSettings, SftSettings
from tests.rows import write
from tests.training.jobs import DIALOGUES, TRAINER, held_out, job, killed, weights


def _checkpoint(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "shard").mkdir(parents=True)
    for name in ("model.safetensors", "optimizer.pt", "rng_state.pth", "shard/0.distcp"):
        (checkpoint / name).write_bytes(b"x")
    (checkpoint / "trainer_state.json").write_text("{}")
    seal(checkpoint)
    return checkpoint


@pytest.mark.parametrize(
    "lost", ["trainer_state.json", "model.safetensors", "rng_state.pth", "shard/0.distcp", "whole.json", "a size"]
)
def test_a_torn_checkpoint_is_not_taken(tmp_path: Path, lost: str) -> None:
    older, newer = _checkpoint(tmp_path, 9), _checkpoint(tmp_path, 10)
    assert last_checkpoint(tmp_path) == newer
    if lost == "a size":
        (newer / "optimizer.pt").write_bytes(b"")
    else:
        (newer / lost).unlink()
    assert newest_whole(tmp_path) == older
    assert newer.exists()
    assert last_checkpoint(tmp_path) == older
    assert not newer.exists()
    remove(older)
    assert last_checkpoint(tmp_path) is None


def test_a_removal_that_was_cut_off_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "removing-checkpoint-8").mkdir()
    (tmp_path / "checkpoint-8.partial").mkdir()
    kept = _checkpoint(tmp_path, 7)
    assert last_checkpoint(tmp_path) == kept


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("checkpoint-*"))


def test_the_newest_and_the_best_stay(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the run was moved: the best is known by its step, not by where it once was."""
    gate = GateSettings(every_steps=1, max_rise=None)
    trainer = {**TRAINER, "learning_rate": 0.3, "lr_scheduler_type": "constant", "save_steps": 1}
    settings = SftSettings(max_length=64, gate=gate, trainer=trainer)
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", DIALOGUES), held_out(tmp_path))
    killed(5, lambda: sft.train(one, settings), monkeypatch)
    best, newest = _steps(one.checkpoints)
    assert newest == 4
    assert best < 4
    one.folder = one.folder.rename(tmp_path / "moved")
    killed(None, lambda: sft.train(one, settings), monkeypatch)
    assert _steps(one.checkpoints) == [best, 6]


def test_a_full_disk_ends_with_one_line_and_loses_nothing(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SftSettings(max_length=64, trainer=TRAINER)
    data = write(tmp_path, "instruction", DIALOGUES)
    whole = job(tmp_path / "whole", model_folder, data)
    sft.train(whole, settings)

    one = job(tmp_path / "out", model_folder, data)
    save, times = torch.save, []

    def full(value: Any, place: Any, *args: Any, **options: Any) -> None:
        if "checkpoint-4" in str(place):
            times.append(place)
            raise OSError(errno.ENOSPC, "No space left on device", str(place))
        save(value, place, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(UserError, match="the disk is full") as caught, disk_errors(one.folder):
            sft.train(one, settings)
    assert times
    assert "\n" not in str(caught.value)
    assert _steps(one.checkpoints) == [2]  # what was half-written has given its room back
    sft.train(one, settings)
    assert weights(one.folder) == weights(whole.folder)


def test_a_log_that_finds_no_room_is_one_line(model_folder: Path, tmp_path: Path) -> None:
    one = job(tmp_path / "out", model_folder, write(tmp_path, "instruction", DIALOGUES))
    (one.folder / METRICS).symlink_to("/dev/full")
    with pytest.raises(UserError, match="the disk is full"), disk_errors(one.folder):
        sft.train(one, SftSettings(max_length=64, trainer=TRAINER))


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    alone = _checkpoint(tmp_path / "alone", 4)
    check_processes(alone, 1)
    two = _checkpoint(tmp_path / "two", 4)
    (two / "rng_state.pth").rename(two / "rng_state_0.pth")
    (two / "rng_state_1.pth").write_bytes(b"x")
    check_processes(two, 2)
    for checkpoint, processes in ((alone, 2), (two, 1), (two, 4)):
        with pytest.raises(UserError, match="processes trained up to this checkpoint"):
            check_processes(checkpoint, processes)
