"""Routing measured on held-out rows of each task, and what the report shows of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from pediatricsgpt.errors import UserError
from pediatricsgpt.evaluation.report import render
from pediatricsgpt.evaluation.report.files import RunFiles
from pediatricsgpt.evaluation.report.routing import ROUTING
from pediatricsgpt.evaluation.report.routing import routing as shown
from pediatricsgpt.evaluation.routing import has_experts, routing
from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear, get_peft_model
from pediatricsgpt.models.load import Loaded, load
from tests.evaluation.conftest import SmallRun


def rows() -> list[dict[str, Any]]:
    def row(task: str, question: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": "多喝水，观察体温。"}]
        return {"task": task, "messages": turns}

    return [row("medkqa", "发热怎么办？"), row("evidiag", "咳嗽三天。"), row("medkqa", "黄疸" * 60)]


def small(model_folder: Path) -> Loaded:
    loaded = load(model_folder, dtype="float32")
    model = get_peft_model(loaded.model, ExpertsConfig(r=2, num_experts=4, task_type="CAUSAL_LM")).eval()
    for module in model.modules():
        if isinstance(module, ExpertsLinear):
            nn.init.normal_(module.experts_router["default"].weight, std=0.5)
    return Loaded(model, loaded.tokenizer, loaded.name)


def test_every_task_and_layer_is_measured_on_all_tokens_of_its_rows(model_folder: Path) -> None:
    loaded = small(model_folder)
    assert has_experts(loaded)
    assert not has_experts(load(model_folder, dtype="float32"))
    found = routing(loaded, rows())
    assert found["rows"] == {"evidiag": 1, "medkqa": 2}
    layers = sum(isinstance(module, ExpertsLinear) for module in loaded.model.modules())
    assert len(found["layers"]) == 2 * layers
    for shares in found["by_task"].values():
        assert len(shares) == 4
        assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert found == routing(loaded, rows()[::-1]), "the order of the rows does not matter"


def test_the_report_shows_the_weights_by_task_and_layer(whole: SmallRun, model_folder: Path) -> None:
    assert shown(RunFiles(whole.folder)) is None
    assert "Which experts work on what" not in render(RunFiles(whole.folder))
    found = routing(small(model_folder), rows())
    (whole.folder / ROUTING).write_text(json.dumps(found), encoding="utf-8")
    page = render(RunFiles(whole.folder))
    for shares in found["by_task"].values():
        assert all(f"{share:.3f}" in page for share in shares)
    assert page.count("<title>layers.0.mlp.up_proj") == 2 * 4


def test_a_damaged_file_is_named(whole: SmallRun) -> None:
    (whole.folder / ROUTING).write_text('{"by_task": {"medkqa": [1.0]}}', encoding="utf-8")
    with pytest.raises(UserError, match=r"routing\.json"):
        render(RunFiles(whole.folder))
