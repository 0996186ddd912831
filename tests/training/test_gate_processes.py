"""Gate, log and checkpoints of a phase on two processes: one log, all tokens counted, killed and resumed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pediatricsgpt.models.encode import encode_dialogue
from pediatricsgpt.models.load import load
from pediatricsgpt.training import sft
from pediatricsgpt.training.held_out import Objective, held_sets, log_likelihoods, loss
from pediatricsgpt.training.metrics import read_metrics
from pediatricsgpt.training.settings import GateSettings, SftSettings
from pediatricsgpt.training.token_loss import add_token_loss
from tests.rows import write
from tests.training.jobs import DIALOGUES, TRAINER, held_out, job

REPOSITORY = Path(__file__).parents[2]


def _launch(folder: Path, model: Path, kill: int = 0) -> int:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    code = [*command, __file__, str(folder), str(model), str(kill)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(code, env=environment, cwd=REPOSITORY, capture_output=True, timeout=200).returncode


def _inputs(folder: Path) -> Path:
    folder.mkdir()
    held_out(folder)
    write(folder, "instruction", DIALOGUES)
    return folder


@pytest.mark.check
def test_two_processes_keep_one_log_and_resume(model_folder: Path, tmp_path: Path) -> None:
    whole, broken = _inputs(tmp_path / "whole"), _inputs(tmp_path / "broken")
    assert _launch(whole, model_folder) == 0
    assert _launch(broken, model_folder, kill=5) != 0
    assert [path.name for path in (broken / "out/checkpoints").glob("checkpoint-*")]
    assert _launch(broken, model_folder) == 0
    for name in ("model.safetensors",):
        assert (broken / "out" / name).read_bytes() == (whole / "out" / name).read_bytes()
    logs = [read_metrics(folder / "out") for folder in (whole, broken)]
    for one, other in zip(*logs, strict=True):
        same = one.keys() - {"tokens_per_second", "memory_mb"}
        assert {name: one[name] for name in same} == {name: other[name] for name in same}
    loaded = load(whole / "out", dtype="float32")
    real = sum(len(encode_dialogue(loaded.tokenizer, row["messages"]).input_ids) for row in DIALOGUES)
    (at_epoch,) = [line for line in logs[0] if line["epoch"] == 1]
    assert at_epoch["tokens"] == pytest.approx(real, abs=2)  # a pack without loss may have been added
    add_token_loss(loaded.model)
    own = held_sets(
        {"own": whole / "own/instruction.parquet"},
        whole / "instruction.parquet",
        loaded.tokenizer,
        rows=9,
        max_length=64,
    )["own"]
    assert loss(own, log_likelihoods(loaded.model, own), None, Objective()) == pytest.approx(
        logs[0][-1]["held_out/own"], rel=1e-5
    )


def _main(folder: Path, model: Path, kill: int) -> None:
    """What each process does."""
    from transformers import TrainerCallback

    from pediatricsgpt.training import phase

    class Dying(TrainerCallback):
        def on_step_end(self, args: object, state: object, control: object, **kwargs: object) -> None:
            if getattr(state, "global_step", 0) == kill:
                os._exit(9)

        def close(self) -> None:
            """It stands in the place of the progress bar."""

    if kill:
        phase.ProgressBar = lambda *_: Dying()  # type: ignore[assignment, misc]
    watched = {name: folder / name / f"{kind}.parquet" for name, kind in (("general", "cpt"), ("own", "instruction"))}
    one = job(folder / "out", model, folder / "instruction.parquet", watched)
    trainer = {key: value for key, value in TRAINER.items() if key != "max_steps"}
    gate = GateSettings(every_steps=3, max_rise=50.0)
    sft.train(one, SftSettings(max_length=64, gate=gate, trainer={**trainer, "num_train_epochs": 2}))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
