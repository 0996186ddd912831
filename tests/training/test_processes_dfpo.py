"""Phase 3 in two processes is phase 3 in one, whatever its reference and whatever is sharded, down to the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM

from pediatricsgpt.processes import rank
from pediatricsgpt.training import dfpo
from pediatricsgpt.training.phase import Job
from pediatricsgpt.training.settings import DfpoSettings, PreferenceAdapter
from tests.rows import write
from tests.training.jobs import PAIRS
from tests.training.processes import STRATEGIES, assert_at_work, launch, sharding
from tests.training.test_trainer import assert_close

HERE = __name__ if __name__ != "__main__" else "tests.training.test_processes_dfpo"
# A step is an epoch, in however many micro-batches; without momentum a wrong factor shows in the weights.
TRAINER: dict[str, Any] = {
    "optim": "sgd",
    "learning_rate": 0.1,
    "lr_scheduler_type": "constant",
    "num_train_epochs": 3,
    "gradient_accumulation_steps": 40,
    "per_device_train_batch_size": 1,
    "max_grad_norm": 0.0,
    "logging_steps": 1,
}


def phase(folder: Path, strategy: str, model: str, reference: Any) -> None:
    """The whole phase, as the graph calls it."""
    looks, at_work = dfpo.look, dfpo.run

    def look(*given: Any) -> dict[str, Any]:
        (folder / f"looked-{rank()}").touch()
        return looks(*given)

    def run(trainer: Any, *given: Any) -> dict[str, Any]:
        counts = at_work(trainer, *given)
        assert_at_work(trainer, strategy)
        return counts

    own = folder / strategy
    own.mkdir(exist_ok=True)
    adapter = PreferenceAdapter(r=4) if reference == "adapter" else PreferenceAdapter()
    trainer = {**TRAINER, **sharding(strategy, folder, "Qwen3DecoderLayer")}
    if strategy not in ("one", "ddp"):
        trainer["use_cpu"] = False
    settings = DfpoSettings(max_length=128, reference=reference, adapter=adapter, share_prompt=False, trainer=trainer)
    job = Job("dfpo", Path(model), folder / "preference.parquet", own, 1, Console(quiet=bool(rank())))
    with patch.multiple(dfpo, look=look, run=run):
        counts = dfpo.train(job, settings)
    if not rank():
        (folder / f"{strategy}.json").write_text(json.dumps(counts), encoding="utf-8")


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """As they are loaded: a tied head may lie in the file or not."""
    return dict(AutoModelForCausalLM.from_pretrained(folder).state_dict())


@pytest.mark.check
@pytest.mark.parametrize("reference", ["live", "precomputed", "adapter"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_phase_on_two_processes_is_that_on_one(
    strategy: str, reference: str, model_folder: Path, tmp_path: Path
) -> None:
    write(tmp_path, "preference", PAIRS)
    options = {"model": str(model_folder), "reference": reference}
    done = launch(f"{HERE}:phase", strategy, tmp_path, options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [path.name for path in tmp_path.glob("looked-*")] == ["looked-0"]  # two would share one half-written file
    phase(tmp_path, "one", **options)
    folders = [tmp_path / name for name in (strategy, "one")]
    found, expected = map(_weights, folders)
    assert any(not torch.equal(value, expected[name]) for name, value in _weights(model_folder).items())
    assert_close(found, expected, 1e-5)
    for folder in folders:
        assert not list(folder.glob("adapter_*")) + list(folder.glob("reference-*")) + list(folder.glob("*.partial"))
    counts = [json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in (strategy, "one")]
    names = ("pairs", "steps", "parameters", "trained_parameters", "reference")
    assert [counts[0][name] for name in names] == [counts[1][name] for name in names]
