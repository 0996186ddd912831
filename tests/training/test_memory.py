"""What a step is said to need against what PyTorch's allocator saw in the real phase."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from trl import DPOConfig, SFTConfig

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.load import config_of, load, make_base
from pediatricsgpt.models.settings import InitSettings, ModelSettings
from pediatricsgpt.training import dfpo, expert_sft, sft
from pediatricsgpt.training.arguments import arguments
from pediatricsgpt.training.estimate import work_of_set
from pediatricsgpt.training.memory import Needs, needs_of, shared_out
from pediatricsgpt.training.settings import DfpoSettings, ExpertsSettings, PhaseSettings, SftSettings
from tests.fixtures import REPOSITORY, tiny_config
from tests.rows import instruction, preference, write
from tests.training.jobs import job

SHAPES = {"wide": (256, 1024, 2, 4, 2), "deep": (96, 256, 10, 4, 4), "narrow": (64, 128, 3, 2, 1)}
"""Width, width of the FFN, layers, heads, heads of keys and values"""
SEED = 1
TRAINER: dict[str, Any] = {"per_device_train_batch_size": 2, "num_train_epochs": 2, "save_strategy": "no"}
DFPO: Any = {"max_length": 384, "trainer": TRAINER}
PHASES: dict[str, PhaseSettings] = {
    "full": SftSettings(max_length=384, trainer=TRAINER),
    "checkpointed": SftSettings(
        max_length=384, trainer={**TRAINER, "activation_checkpointing": True, "gradient_accumulation_steps": 2}
    ),
    "bf16": SftSettings(max_length=384, trainer={**TRAINER, "bf16": True}),
    "unpacked": SftSettings(max_length=384, packing=False, trainer=TRAINER),
    "experts": ExpertsSettings(max_length=384, target_modules="all-linear", trainer=TRAINER),
    "bf16 base": ExpertsSettings(max_length=384, base_dtype="bfloat16", trainer={**TRAINER, "bf16": True}),
    "nf4 base": ExpertsSettings(max_length=384, base_dtype="nf4", trainer=TRAINER),
    "int8 base": ExpertsSettings(max_length=384, base_dtype="int8", trainer=TRAINER),
    "live": DfpoSettings(**DFPO),
    "precomputed": DfpoSettings(**DFPO, reference="precomputed", share_prompt=False),
    "adapter": DfpoSettings(**DFPO, reference="adapter"),
}
ON_ALL_SHAPES = ("full", "experts", "live")


@pytest.fixture(scope="module")
def shaped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSettings, Path]:
    """The recipe's words for a shape, and a model of it."""
    hidden, ffn, layers, heads, groups = SHAPES[request.param]
    shape = InitSettings(
        hidden_size=hidden,
        intermediate_size=ffn,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        head_dim=hidden // heads,
        max_position_embeddings=512,
    )
    settings = ModelSettings(init=shape, tokenizer=REPOSITORY / "examples/tokenizer")
    folder = tmp_path_factory.mktemp(request.param)
    make_base(settings, folder, REPOSITORY, SEED)
    return settings, folder


def _peak(work: Callable[[], Any]) -> tuple[Any, int]:
    """What the work answers, and the most bytes that the allocator had given out during it."""
    gc.collect()  # what is freed in it should have been made in it
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        found = work()
    events = [event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return found, peak


def _data(folder: Path, pairs: bool) -> Path:
    if pairs:
        rows = [
            preference(f"第{i}个孩子发热怎么办" * 4, "先量体温。" * (8 + i % 5), "没事。" * (5 + i)) for i in range(12)
        ]
        return write(folder, "preference", rows)
    rows = [
        instruction(f"第{i}个孩子咳嗽" * 3, "多喝水，注意休息。" * (3 + i), "然后呢", "请就诊。") for i in range(16)
    ]
    return write(folder, "instruction", rows)


@pytest.mark.parametrize(
    ("shaped", "name"),
    [(shape, name) for shape in SHAPES for name in PHASES if shape == "wide" or name in ON_ALL_SHAPES],
    indirect=["shaped"],
)
def test_a_step_without_data_needs_what_the_phase_takes(
    shaped: tuple[ModelSettings, Path], name: str, tmp_path: Path
) -> None:
    model, folder = shaped
    settings = PHASES[name]
    pairs = isinstance(settings, DfpoSettings)
    data = _data(tmp_path, pairs)
    args = arguments(DPOConfig if pairs else SFTConfig, tmp_path, SEED, settings, gpu=False)
    work = work_of_set(data, load(folder).tokenizer, settings, args, SEED)
    needs = needs_of(config_of(model, REPOSITORY), settings, args, work.layout, gpu=False)
    trained = job(tmp_path / "phase", folder, data)
    phase: Any = dfpo if pairs else expert_sft if isinstance(settings, ExpertsSettings) else sft
    counts, peak = _peak(lambda: phase.train(trained, settings))
    # Loading quantised weights leaves a second copy of the embedding, which counts in a model as small as this.
    assert needs.peak == pytest.approx(peak, rel=0.2 if name in ("nf4 base", "int8 base") else 0.15)
    assert (needs.parameters, needs.trained) == (counts["parameters"], counts["trained_parameters"])
    assert (work.steps(args), work.trained_tokens(args)) == (counts["steps"], counts["trained_tokens"])


def _needs(**changes: Any) -> Needs:
    config = tiny_config("qwen2", vocab_size=512, hidden_size=64, intermediate_size=128, tie_word_embeddings=True)
    settings = SftSettings(max_length=64, trainer=changes)
    args = arguments(SFTConfig, Path("unused"), SEED, settings, gpu=False)
    return needs_of(config, settings, args, [(32, 31), (32, 8)], gpu=False)


def test_parts_are_those_of_adamw_in_float32() -> None:
    needs = _needs()
    matrices = 512 * 64 + 2 * (64 * (64 + 32 + 32) + 64 * 64 + 3 * 64 * 128)
    vectors = 2 * (64 + 32 + 32 + 2 * 64) + 64
    assert needs.parameters == needs.trained == matrices + vectors
    assert needs.gradients == 4 * needs.trained
    assert needs.optimizer == pytest.approx(8 * needs.trained, rel=1e-3)
    assert needs.weights == pytest.approx(4 * needs.parameters, rel=1e-3)
    assert needs.weights + needs.optimizer < needs.peak
    assert needs.peak <= needs.weights + needs.gradients + needs.optimizer + needs.activations


def test_operations_are_six_a_parameter_and_token_and_eight_when_checkpointed() -> None:
    # The head sees the tokens that carry loss alone, the embedding multiplies nothing.
    inside = _needs().parameters - 512 * 64
    assert _needs().operations == pytest.approx(6 * inside * 64 + 6 * 512 * 64 * 39, rel=0.1)
    again = _needs(activation_checkpointing=True).operations - _needs().operations
    last = 2 * 64 * 128  # of each layer: nothing needs what it gives out
    assert again == pytest.approx(2 * (inside - last) * 64, rel=0.1)


def test_another_optimiser_keeps_less() -> None:
    assert _needs(optim="adafactor").optimizer < _needs().optimizer / 4
    assert _needs(optim="sgd").optimizer == 0


def test_nothing_is_changed_by_an_estimate_for_a_gpu() -> None:
    from pediatricsgpt.experts.function import NUMBERS_AT_ONCE
    from pediatricsgpt.training.output_head import CHUNK_LOGITS

    before = dict(CHUNK_LOGITS), dict(NUMBERS_AT_ONCE)
    config = tiny_config("qwen2")
    settings = SftSettings(max_length=64)
    args = arguments(SFTConfig, Path("unused"), SEED, settings, gpu=True)
    assert (args.bf16, args.activation_checkpointing) == (True, True)
    assert needs_of(config, settings, args, [(64, 32)], gpu=True).peak > 0
    assert (dict(CHUNK_LOGITS), dict(NUMBERS_AT_ONCE)) == before


def test_a_model_that_has_to_see_values_is_refused_in_one_line() -> None:
    config = tiny_config("qwen3_moe", moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2)
    args = arguments(SFTConfig, Path("unused"), SEED, SftSettings(), gpu=False)
    with pytest.raises(UserError, match="qwen3_moe cannot be tried without data") as error:
        needs_of(config, SftSettings(), args, [(16, 8)], gpu=False)
    assert "\n" not in error.value.message


def test_sharing_out_divides_what_the_strategy_divides() -> None:
    alone = _needs()
    doubled = shared_out(alone, {}, 4)
    assert (doubled.weights, doubled.gradients) == (alone.weights, 2 * alone.gradients)
    for trainer in ({"fsdp": True}, {"deepspeed": {"zero_optimization": {"stage": 3}}}):
        shared = shared_out(alone, trainer, 4)
        assert (shared.weights, shared.optimizer) == (alone.weights // 4, alone.optimizer // 4)
        assert shared.activations > alone.activations
    second = shared_out(alone, {"deepspeed": {"zero_optimization": {"stage": 2}}}, 4)
    assert (second.weights, second.gradients) == (alone.weights, alone.gradients // 4)
    assert shared_out(alone, {"fsdp": True}, 1) is alone
    with pytest.raises(UserError, match="DeepSpeed"):
        shared_out(alone, {"deepspeed": "no such file.json"}, 2)


def test_torch_is_not_left_in_another_mode() -> None:
    _needs()
    assert torch.ones(2).sum().item() == 2
