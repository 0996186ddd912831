"""`pedgpt export` from outside: what is printed, what is refused in one line, and a whole run handed on."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from pediatricsgpt.models.load import load

REPOSITORY = Path(__file__).parents[2]


def pedgpt(folder: Path, *arguments: str, largest: int | None = None) -> subprocess.CompletedProcess[str]:
    limit = None if largest is None else partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest, largest))
    return subprocess.run(
        [sys.executable, "-m", "pediatricsgpt.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        preexec_fn=limit,
    )


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refused command."""
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in done.stderr
    return line


def test_an_export_says_what_it_wrote_and_under_which_licence(model_folder: Path, tmp_path: Path) -> None:
    done = pedgpt(tmp_path, "export", str(model_folder), "--to", "hf", "out", "--dtype", "bfloat16", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["folder"], said["dtype"]) == ("out", "bfloat16")
    assert said["licence"] == "unknown: check before you publish"
    assert load(tmp_path / "out").model.num_parameters() == said["parameters"]


def test_a_refused_export_is_one_line_and_leaves_nothing(model_folder: Path, tmp_path: Path) -> None:
    assert "whole model" in error_of(pedgpt(tmp_path, "export", str(model_folder), "out", "--to", "adapter"))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing(model_folder: Path, tmp_path: Path) -> None:
    said = error_of(pedgpt(tmp_path, "export", str(model_folder), "out", largest=100_000))
    assert "larger than is allowed" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.check
def test_a_whole_run_is_handed_on(tmp_path: Path) -> None:
    # How well persons are found is measured elsewhere, and takes its time.
    done = pedgpt(tmp_path, "run", str(REPOSITORY / "tests/tiny.yaml"), "--set", "corpus.deidentify.enabled=false")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs/tiny"
    shown = re.findall(r"(?m)^pedgpt (export [^#\n]*)", (REPOSITORY / "docs/models.md").read_text(encoding="utf-8"))
    assert len(shown) == 3
    for command in [*shown, "export runs/demo/dfpo dense", "export runs/demo/experts beside --to adapter"]:
        done = pedgpt(tmp_path, *command.replace("runs/demo", "runs/tiny").split())
        assert done.returncode == 0, done.stderr
    ids = torch.arange(5, 45).reshape(2, 20)
    with torch.no_grad():
        for phase, out in (("dfpo", "dense"), ("experts", "beside/adapter")):
            trained, exported = (load(place).model.eval()(ids).logits for place in (run / phase, tmp_path / out))
            assert torch.equal(trained, exported)
    found = json.loads((tmp_path / "beside/lineage.json").read_text())
    assert [phase["phase"] for phase in found["phases"]] == ["cpt", "sft", "dfpo", "experts"]
    assert all(phase["data"][0]["sources"] for phase in found["phases"])
    assert found["evaluation"]["loss"]["rows"] > 0
    assert (tmp_path / "beside/corpus/README.md").is_file()
    card = (tmp_path / "dense/README.md").read_text()
    assert "changed since" not in card
    assert str(tmp_path) not in card
