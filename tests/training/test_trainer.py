"""The packed trainer: the loss of the unpacked run, whatever micro-batches and processes; a resumed run is the same."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional
from transformers import TrainingArguments

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.segments import use_segments
from pediatricsgpt.training.batches import batch
from pediatricsgpt.training.ledger import Ledger
from pediatricsgpt.training.token_loss import add_token_loss, summed_loss
from pediatricsgpt.training.trainer import PackedTrainer, loss_of_batch, verify
from tests.fixtures import SHAPE
from tests.models.test_segments import model_of

ARCHITECTURES = ["Qwen2", "Qwen3", "Llama"]


def rows(number: int = 12, seed: int = 0) -> list[dict[str, list[int]]]:
    """Questions without and answers with loss, of many lengths."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for length in torch.randint(4, 30, (number,), generator=generator).tolist():
        ids = torch.randint(1, 97, (length,), generator=generator).tolist()
        made.append({"input_ids": ids, "labels": [-100] * (length // 3) + ids[length // 3 :]})
    return made


def loss_alone(model: Any, data: list[dict[str, list[int]]]) -> torch.Tensor:
    """Mean loss per token, each row by itself through the model's own forward."""
    total, count = torch.zeros(()), 0
    for row in data:
        labels = torch.tensor(row["labels"])[1:]
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        total = total + functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        count += int((labels != -100).sum())
    return total / count


def trainer_of(model: Any, data: Any, folder: Path, max_length: int = 32, **arguments: Any) -> PackedTrainer:
    own = {
        "per_device_train_batch_size": 2,
        "num_train_epochs": 1,
        "max_grad_norm": 0.0,
        "report_to": [],
        "save_strategy": "no",
        "use_cpu": True,
        "lr_scheduler_type": "constant",
        "learning_rate": 1e-3,
        "seed": 3,
        "disable_tqdm": True,
    }
    packing = arguments.pop("packing", "bfd")
    args = TrainingArguments(output_dir=str(folder), **{**own, **arguments})
    return PackedTrainer(model, args, data, max_length=max_length, packing=packing)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], relative: float) -> None:
    """Equal names, and differences small against the largest entry of each tensor."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert float((value - other[name]).abs().max()) <= relative * float(value.abs().max()) + 1e-9, name


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_packed_is_unpacked_in_loss_and_gradients(name: str, tmp_path: Path) -> None:
    data = rows()
    model = model_of(name)
    expected = loss_alone(model, data)
    expected.backward()
    by_itself = gradients(model)
    model.zero_grad()
    trainer = trainer_of(model, data, tmp_path)
    packed = batch([(row["input_ids"], row["labels"]) for row in data])
    loss = trainer.compute_loss(model, packed)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert_close(gradients(model), by_itself, 1e-5)


def _step(tmp_path: Path, **arguments: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss of one step of plain gradient descent over all rows, and the weights after it."""
    model = model_of("Qwen2")
    trainer = trainer_of(model, rows(), tmp_path, logging_steps=1, **arguments)
    trainer.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer.train()
    (log,) = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return log, {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize(("size", "packing"), [(1, "bfd"), (2, "bfd"), (3, None), (1, "bfd_split")])
def test_accumulated_is_full_batch(tmp_path: Path, size: int, packing: str | None) -> None:
    full_loss, full = _step(tmp_path, per_device_train_batch_size=40)
    parts = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 40}
    loss, weights = _step(tmp_path, packing=packing, **parts)
    assert loss == pytest.approx(full_loss, rel=1e-5)
    assert_close(weights, full, 1e-5)


class _Killed(Exception):
    pass


class _Killer(transformers.TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            raise _Killed


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    steps = {"max_steps": 9, "save_strategy": "steps", "save_steps": 2, "per_device_train_batch_size": 1}
    steps |= {"gradient_accumulation_steps": 2, "logging_steps": 1}
    weights, logs = [], []
    for name in ("whole", "killed"):
        model = model_of("Qwen2")
        model.config.attention_dropout = 0.1
        for layer in model.model.layers:
            layer.self_attn.attention_dropout = 0.1
        trainer = trainer_of(model, rows(), tmp_path / name, **steps)
        assert len(trainer.packs) < 2 * 9  # the epoch turns over after the kill
        if name == "killed":
            trainer.add_callback(_Killer())
            with pytest.raises(_Killed):
                trainer.train()
            model = model_of("Qwen2")
            for layer in model.model.layers:
                layer.self_attn.attention_dropout = 0.1
            trainer = trainer_of(model, rows(), tmp_path / name, **steps)
            trainer.train(resume_from_checkpoint=str(tmp_path / name / "checkpoint-4"))
        else:
            trainer.train()
        weights.append(list(model.state_dict().values()))
        logs.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert logs[0] == logs[1]
    assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))


def test_training_learns_and_long_texts_are_split(tmp_path: Path) -> None:
    data = [{"input_ids": [1, 2, 3, 4] * 20, "labels": [1, 2, 3, 4] * 20}]
    model = model_of("Qwen3")
    trainer = trainer_of(model, data, tmp_path, packing="bfd_split", max_steps=40, logging_steps=1, learning_rate=1e-2)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.2 * losses[0]


def test_an_adapter_trains_with_the_gradients_of_the_plain_loss(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    data = rows(6)
    found = []
    for own in (False, True):
        torch.manual_seed(0)
        model = get_peft_model(model_of("Llama"), LoraConfig(r=4, target_modules=["q_proj", "lm_head"]))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    weight.normal_()
        if own:
            loss_alone(model, data).backward()
        else:
            trainer = trainer_of(model, data, tmp_path, gradient_checkpointing=True)
            model.train()
            trainer.compute_loss(model, batch([(row["input_ids"], row["labels"]) for row in data])).backward()
        found.append(gradients(model))
    assert any("lm_head" in name for name in found[0])
    assert_close(*found, relative=1e-5)


@pytest.mark.parametrize("kind", ["Gemma2", "Cohere", "Granite"])
@pytest.mark.parametrize("size", [64, 5])
def test_scaled_and_capped_logits_give_the_models_own_loss(kind: str, size: int, monkeypatch: Any) -> None:
    from pediatricsgpt.training import output_head

    transformers.set_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SHAPE, head_dim=8, pad_token_id=0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    ids = torch.randint(1, 97, (1, 200))
    expected = functional.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="sum")
    expected.backward()
    own = gradients(model)
    model.zero_grad()
    monkeypatch.setitem(output_head.CHUNK_LOGITS, "cpu", size * 97)
    add_token_loss(model)
    loss = model(input_ids=ids, use_cache=False, loss_positions=torch.arange(199), targets=ids[0, 1:]).loss
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert_close(gradients(model), own, 2e-5)


def test_measuring_makes_no_gradient_of_the_head() -> None:
    model, data = model_of("Llama"), rows(1)
    add_token_loss(model)
    packed = batch([(row["input_ids"], row["labels"]) for row in data])
    head = model.get_output_embeddings().weight.untyped_storage().nbytes()
    made = {grad: Ledger() for grad in (True, False)}
    for grad, ledger in made.items():
        with torch.set_grad_enabled(grad), ledger:
            loss_of_batch(model, packed)
    assert made[True].peak - made[False].peak >= head


def test_a_copy_of_the_model_answers_for_itself() -> None:
    model = model_of("Qwen2")
    add_token_loss(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    ids = torch.arange(1, 9)[None]
    asked = {"loss_positions": torch.arange(7), "targets": ids[0, 1:]}
    assert model(input_ids=ids).logits.any()
    assert not twin(input_ids=ids).logits.any()
    assert float(twin(input_ids=ids, **asked).loss.detach()) == pytest.approx(7 * math.log(97))


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_heads_gradient_is_exact_with_bias_and_factor(wrapped: bool) -> None:
    torch.manual_seed(0)
    model = model_of("Qwen2").double()
    head = torch.nn.Linear(32, 97).double()
    if wrapped:  # a hook is a sign that the weights may not lie here whole: through the head's own call
        head.register_forward_hook(lambda *_: None)
    model.set_output_embeddings(head)
    hidden, targets = torch.randn(150, 32, dtype=torch.double, requires_grad=True), torch.randint(0, 97, (150,))
    expected = functional.cross_entropy(head(hidden), targets, reduction="sum") * 0.3
    wanted = torch.autograd.grad(expected, [hidden, head.weight, head.bias])
    found = torch.autograd.grad(summed_loss(model, hidden, targets) * 0.3, [hidden, head.weight, head.bias])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_batch_without_loss_has_a_gradient_of_zero(wrapped: bool, tmp_path: Path) -> None:
    model = model_of("Qwen2")
    if wrapped:
        model.lm_head.register_forward_hook(lambda *_: None)
    trainer = trainer_of(model, rows(), tmp_path)
    loss = trainer.compute_loss(model, batch([([5, 6], [-100, -100])]), num_items_in_batch=torch.tensor(0))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(not weight.any() for weight in gradients(model).values())


def test_a_model_whose_documents_see_each_other_is_found() -> None:
    model = model_of("Qwen2")
    use_segments(model)
    add_token_loss(model)
    verify(model, torch.arange(1, 40)[None], tolerance=1e-3)
    model.set_attn_implementation("sdpa")
    forward = model.base_model.forward
    model.base_model.forward = lambda **inputs: forward(
        **{**inputs, "attention_mask": torch.ones(1, 16)[:, : inputs["input_ids"].shape[1]]}
    )
    with pytest.raises(UserError, match="does not keep documents apart"):
        verify(model, torch.arange(1, 40)[None], tolerance=1e-3)


def test_a_head_that_does_more_is_found() -> None:
    model = model_of("Llama")
    use_segments(model)
    add_token_loss(model)
    model.config.final_logit_softcapping = 0.5  # known to us, not to the model
    with pytest.raises(UserError, match="changes its logits in an unknown way"):
        verify(model, torch.arange(1, 40)[None], tolerance=1e-3)


def test_the_logits_of_everything_never_exist(tmp_path: Path) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        rows = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.ndim == 2 and result.shape[1] == 97:
                self.rows = max(self.rows, result.shape[0])
            return result

    model = model_of("Qwen2")
    trainer = trainer_of(model, rows(40), tmp_path)
    packed = batch([(row["input_ids"], row["labels"]) for row in rows(40)])
    from pediatricsgpt.training import output_head

    with pytest.MonkeyPatch.context() as patch, Largest() as largest:
        patch.setitem(output_head.CHUNK_LOGITS, "cpu", 64 * 97)
        trainer.compute_loss(model, packed).backward()
    assert len(packed["loss_positions"]) > 300
    assert largest.rows <= 97  # the gradient of the head's own weight


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor cannot be set here"),
        ({"average_tokens_across_devices": False}, "average_tokens_across_devices must stay true"),
    ],
)
def test_arguments_without_effect_are_refused(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        trainer_of(model_of("Qwen2"), rows(), tmp_path, **arguments)
