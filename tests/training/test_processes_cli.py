"""`pedgpt train` under a launcher: one run folder, one voice, one model; what dies is told in one line and resumed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.rows import instruction, text
from tests.training.jobs import DIALOGUES, PAIRS
from tests.training.processes import NEEDS_DEEPSPEED, REPOSITORY, environment, launch, sharding

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
TRAINER: dict[str, Any] = {
    "optim": "sgd",
    "learning_rate": 0.1,
    "lr_scheduler_type": "constant",
    "max_grad_norm": 0.0,
    "num_train_epochs": 8,
    "gradient_accumulation_steps": 40,  # a step is an epoch, on one process and on two
    "per_device_train_batch_size": 2,
    "save_steps": 2,
    "logging_steps": 1,
}


def pedgpt(folder: Path, strategy: str, arguments: list[str], kill: int = 0) -> None:
    """The command line, on a graph whose corpus is a few rows; the second process may be killed after a step."""
    from pediatricsgpt import cli, graph
    from pediatricsgpt.training import phase
    from pediatricsgpt.training.progress import ProgressBar

    class Killing(ProgressBar):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == kill and args.process_index == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            super().on_step_end(args, state, control, **kwargs)

    phase.ProgressBar = Killing  # type: ignore[misc]
    graph.build = partial(_graph, graph.build)
    sys.argv = ["pedgpt", *arguments]
    cli.main()


def _graph(build: Any, recipe: Any, folder: Path) -> list[Any]:
    rows = {"sft": ("instruction", DIALOGUES), "cpt": ("cpt", [text("天空是蓝的。")])}
    rows["experts"] = ("instruction", [instruction("孩子发烧", "请量体温。"), *DIALOGUES[:4]])
    rows["preferences"] = ("preference", PAIRS)

    def write(name: str, context: Any) -> dict[str, Any]:
        from pediatricsgpt.records import write_rows

        contract, made = rows[name]
        write_rows(context.folder / "rows.parquet", made, contract)
        return {"rows": len(made)}

    nodes = []
    for node in build(recipe, folder):
        room, _, name = node.name.partition("/")
        if room == "corpus" and name in rows:
            node = dataclasses.replace(node, inputs=(), files=list, work=partial(write, name))
        elif node.name in ("sft", "dfpo", "experts"):  # straight from the base: the phases between are others' tests
            node = dataclasses.replace(node, inputs=("base", *node.inputs[1:]))
        elif node.name != "base":
            continue
        nodes.append(node)
    return nodes


def _recipe(folder: Path, **own: Any) -> Path:
    recipe = yaml.safe_load((REPOSITORY / "tests/tiny.yaml").read_text(encoding="utf-8"))
    recipe["model"]["tokenizer"] = str(REPOSITORY / "examples/tokenizer")
    phases: dict[str, dict[str, Any]] = {"sft": {}, "dfpo": {"max_length": 128}, "experts": {"r": 2, "noise": False}}
    for name, settings in phases.items():
        recipe[name] = {"max_length": 64, **settings, "trainer": {**TRAINER, **own}}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return path


def _arguments(recipe: Path, runs: Path, phase: str = "sft") -> list[str]:
    return ["train", phase, str(recipe), "--runs", str(runs)]


def _run(
    folder: Path, arguments: list[str], strategy: str = "ddp", launcher: tuple[str, ...] = TORCHRUN, kill: int = 0
) -> subprocess.CompletedProcess[str]:
    options = {"arguments": arguments, "kill": kill}
    return launch("tests.training.test_processes_cli:pedgpt", strategy, folder, options, launcher)


def _alone(arguments: list[str]) -> None:
    code = "from tests.training import test_processes_cli as t; from pathlib import Path; "
    code += f"t.pedgpt(Path(), 'one', {arguments!r})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment("one"), cwd=REPOSITORY, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def _ours(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that we print as errors, among the launcher's own."""
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """As they are loaded: a tied head may lie in the file or not."""
    adapter = folder / "adapter_model.safetensors"
    if adapter.is_file():
        return load_file(adapter)
    return dict(AutoModelForCausalLM.from_pretrained(folder).state_dict())


def _assert_same(one: Path, other: Path) -> None:
    found, expected = _weights(one), _weights(other)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert float((found[key] - value).abs().max()) <= 1e-5 * float(value.abs().max()) + 1e-9, key


@pytest.mark.check
@pytest.mark.parametrize(
    ("launcher", "phase"),
    [(TORCHRUN, "experts"), (ACCELERATE, "sft"), (TORCHRUN, "dfpo")],
    ids=["torchrun", "accelerate", "torchrun-pairs"],
)
def test_a_phase_on_two_processes_is_that_on_one(launcher: tuple[str, ...], phase: str, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    done = _run(tmp_path, _arguments(recipe, tmp_path / "two", phase), launcher=launcher)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("step 8/8") == 1  # one process speaks
    assert done.stdout.count("model: ") == 1
    _alone(_arguments(recipe, tmp_path / "one", phase))
    folders = [tmp_path / runs / "tiny" / phase for runs in ("two", "one")]
    _assert_same(*folders)
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in folders]
    assert manifests[0]["counts"].pop("processes") == 2
    tokens = [manifest["counts"].pop("trained_tokens") for manifest in manifests]
    assert tokens[0] == pytest.approx(tokens[1], abs=2 * 8)  # a pack without loss may be added in each epoch
    assert manifests[0]["counts"] == manifests[1]["counts"]
    assert manifests[0]["fingerprint"] == manifests[1]["fingerprint"]
    assert sorted(path.name for path in folders[0].iterdir()) == sorted(path.name for path in folders[1].iterdir())
    assert not list((tmp_path / "two/tiny").glob("*.partial"))


@pytest.mark.check
@pytest.mark.parametrize("strategy", ["fsdp2", pytest.param("zero3", marks=NEEDS_DEEPSPEED)])
def test_a_recipe_shards_by_transformers_own_arguments(strategy: str, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, use_cpu=False, **sharding(strategy, tmp_path, "Qwen3DecoderLayer"))
    done = _run(tmp_path, _arguments(recipe, tmp_path / "two"), strategy)
    assert done.returncode == 0, done.stderr[-3000:]
    _alone(_arguments(_recipe(tmp_path), tmp_path / "one"))
    folders = [tmp_path / runs / "tiny/sft" for runs in ("two", "one")]
    _assert_same(*folders)
    counts = [json.loads((folder / "manifest.json").read_text())["counts"] for folder in folders]
    assert counts[0]["parameters"] == counts[0]["trained_parameters"] == counts[1]["parameters"]


@pytest.mark.check
def test_a_killed_process_ends_all_with_one_line_and_nothing_is_lost(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    arguments = _arguments(recipe, tmp_path / "broken")
    done = _run(tmp_path, arguments, kill=5)
    assert done.returncode != 0
    (line,) = _ours(done)
    assert "process 1 of 2 died" in line
    assert "checkpoint-4" in line
    partial_folder = tmp_path / "broken/tiny/sft.partial"
    assert (partial_folder / "checkpoints/checkpoint-4").is_dir()
    done = _run(tmp_path, arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "resuming at step 4 of 8" in done.stdout
    whole = _run(tmp_path, _arguments(recipe, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr[-3000:]
    found, expected = (load_file(tmp_path / runs / "tiny/sft/model.safetensors") for runs in ("broken", "whole"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.check
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 1.0e30}, "stopped at step"),  # every process finds it, one tells
        ({"fsdp": True}, "trainer.fsdp is set, but MULTI_CPU would be at work"),
        ({"no_such": 1}, "trainer.no_such is no training argument"),  # before anything begins
    ],
)
def test_an_error_is_told_once(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    done = _run(tmp_path, _arguments(_recipe(tmp_path, **settings), tmp_path / "runs"))
    assert done.returncode != 0
    (line,) = _ours(done)
    assert message in line


@pytest.mark.check
def test_other_commands_refuse_several_processes(tmp_path: Path) -> None:
    done = _run(tmp_path, ["plan", str(_recipe(tmp_path))])
    (line,) = _ours(done)
    assert "several processes are for 'train' and 'run' alone" in line
