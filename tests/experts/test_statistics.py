"""Routing statistics against gates computed by hand."""

from __future__ import annotations

import json

import pytest
import torch

from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear, RoutingStatistics
from tests.experts.test_tuner import TOKENS, logits, make_visible, tiny_base, tiny_experts


def by_hand(model, tokens, counted):
    """Mean gates of each layer over the counted tokens."""
    found = {}

    def note(name):
        def hook(layer, inputs, _):
            found[name] = layer.gates(inputs[0], "default").flatten(0, -2)[counted.flatten()].mean(0).tolist()

        return hook

    handles = [
        module.register_forward_hook(note(name.removeprefix("base_model.model.")))
        for name, module in model.named_modules()
        if isinstance(module, ExpertsLinear)
    ]
    with torch.no_grad():
        model(input_ids=tokens)
    for handle in handles:
        handle.remove()
    return found


def test_shares_by_task_and_layer_equal_the_mean_gates_and_padding_does_not_count():
    model, statistics = tiny_experts(), RoutingStatistics()
    mask = torch.ones_like(TOKENS)
    mask[1, 5:] = 0
    with torch.no_grad():
        with statistics.watching(model, "medkqa"):
            model(input_ids=TOKENS)
        with statistics.watching(model, "evidiag"):
            model(input_ids=TOKENS, attention_mask=mask)
    rows = {(row.task, row.layer): row for row in statistics.rows()}
    assert len(rows) == 2 * 6
    for task, counted in {"medkqa": torch.ones_like(mask), "evidiag": mask}.items():
        for layer, shares in by_hand(model, TOKENS, counted.bool()).items():
            row = rows[task, layer]
            assert row.tokens == counted.sum()
            assert row.shares == pytest.approx(shares, abs=1e-5)
            assert sum(row.first) == pytest.approx(1)
            assert 0 < row.entropy <= 1


def test_several_batches_of_a_task_add_up():
    model, once, twice = tiny_experts(), RoutingStatistics(), RoutingStatistics()
    with torch.no_grad():
        with once.watching(model, "a"):
            model(input_ids=TOKENS)
        for row in TOKENS:
            with twice.watching(model, "a"):
                model(input_ids=row.unsqueeze(0))
    assert twice.by_task()["a"] == pytest.approx(once.by_task()["a"], abs=1e-6)
    assert [row.tokens for row in twice.rows()] == [row.tokens for row in once.rows()]


def test_the_tasks_shares_sum_to_one_and_can_be_written_as_json():
    model, statistics = tiny_experts(), RoutingStatistics()
    with statistics.watching(model, "任务"), torch.no_grad():
        model.generate(input_ids=TOKENS, max_new_tokens=3, do_sample=False, pad_token_id=63)
    assert sum(statistics.by_task()["任务"]) == pytest.approx(1, abs=1e-6)
    written = json.loads(json.dumps(statistics.to_json()))
    assert written["layers"][0]["tokens"] == TOKENS.numel() + 2 * len(TOKENS), "the prompt, then each new token but one"


def test_watching_ends_with_its_block_and_changes_no_answer():
    model, statistics = tiny_experts(), RoutingStatistics()
    expected = logits(model)
    with statistics.watching(model, "a"):
        assert torch.equal(logits(model), expected)
    counted = [row.tokens for row in statistics.rows()]
    logits(model)
    assert [row.tokens for row in statistics.rows()] == counted


@pytest.mark.parametrize("num_experts", [3, 5])
def test_adapters_that_work_together_are_counted_apart(num_experts):
    model, statistics = tiny_experts(), RoutingStatistics()
    model.add_adapter("second", ExpertsConfig(r=2, num_experts=num_experts, task_type="CAUSAL_LM"))
    make_visible(model)
    model.base_model.set_adapter(["default", "second"])
    with statistics.watching(model, "a"):
        logits(model.eval())
    rows = statistics.rows()
    assert len(rows) == 2 * 6
    assert {row.tokens for row in rows} == {TOKENS.numel()}
    assert {row.adapter: len(row.shares) for row in rows} == {"default": 3, "second": num_experts}
    wanted = by_hand(model, TOKENS, torch.ones_like(TOKENS).bool())
    for row in rows:
        if row.adapter == "default":
            assert row.shares == pytest.approx(wanted[row.layer], abs=1e-5)
    by_task = statistics.by_task()
    assert {name: len(shares) for name, shares in by_task.items()} == {"a (default)": 3, "a (second)": num_experts}
    for shares in by_task.values():
        assert sum(shares) == pytest.approx(1, abs=1e-6)


def test_a_model_without_experts_is_refused():
    watching = RoutingStatistics().watching(tiny_base(), "a")
    with pytest.raises(ValueError, match="no universal-specific experts"):
        watching.__enter__()
