"""The load-balance loss: its value, its gradient, and that nothing that runs a layer twice counts it twice."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear, get_peft_model
from tests.experts.test_tuner import TOKENS, make_visible, tiny_base

COEFFICIENT = 0.5


def tiny(coefficient: float = COEFFICIENT, **settings):
    torch.manual_seed(2)
    config = ExpertsConfig(r=2, task_type="CAUSAL_LM", noise=False, balance_coefficient=coefficient, **settings)
    model = get_peft_model(tiny_base(), config)
    make_visible(model)
    return model.train()


def trained(model: nn.Module) -> dict[str, torch.Tensor]:
    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return {name: torch.zeros_like(weight) if weight.grad is None else weight.grad for name, weight in named.items()}


def by_autograd(mask: torch.Tensor | None = None) -> tuple[float, dict[str, torch.Tensor]]:
    """The same loss from gates that are computed beside the layers, with a graph through everything."""
    model, values = tiny(0.0), []

    def note(layer: ExpertsLinear, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        x = inputs[0].flatten(0, -2)
        gates = (x @ layer.experts_router["default"].weight.t()).softmax(-1)
        counted = gates if mask is None else gates[mask.flatten().bool()]
        values.append(3 * counted.mean(0).square().sum() - 1)

    for module in model.modules():
        if isinstance(module, ExpertsLinear):
            module.register_forward_hook(note)
    labels = TOKENS if mask is None else TOKENS.masked_fill(mask == 0, -100)
    loss = model(input_ids=TOKENS, labels=labels, attention_mask=mask).loss
    loss = loss + COEFFICIENT * torch.stack(values).mean()
    loss.backward()
    return loss.item(), trained(model)


def loss_of(model: nn.Module) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    loss = model(input_ids=TOKENS, labels=TOKENS).loss
    loss.backward()
    return loss.item(), trained(model)


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("checkpointing", [None, False, True])
def test_loss_and_gradients_equal_autograd_with_and_without_checkpointing(checkpointing, padded):
    mask = torch.ones_like(TOKENS)
    if padded:
        mask[1, 7:] = 0
    loss, wanted = by_autograd(mask)
    model = tiny()
    if checkpointing is not None:
        model.gradient_checkpointing_enable({"use_reentrant": checkpointing})
        model.enable_input_require_grads()
    output = model(input_ids=TOKENS, labels=TOKENS.masked_fill(mask == 0, -100), attention_mask=mask)
    output.loss.backward()
    assert output.loss.item() == pytest.approx(loss, rel=1e-6)
    same(trained(model), wanted)


def test_accumulated_micro_batches_weigh_as_their_part_of_the_step():
    model = tiny()
    labels = 2 * 11
    for row in TOKENS:
        row = row.unsqueeze(0)
        (model(input_ids=row, labels=row, num_items_in_batch=labels).loss).backward()
    accumulated = trained(model)
    single = []
    for row in TOKENS:
        model = tiny()
        row = row.unsqueeze(0)
        model(input_ids=row, labels=row).loss.backward()
        single.append(trained(model))
    same(accumulated, {name: (single[0][name] + single[1][name]) / 2 for name in accumulated})


def test_a_scaled_loss_scales_the_balance_gradient_as_well():
    plain, scaled = tiny(), tiny()
    plain(input_ids=TOKENS, labels=TOKENS).loss.backward()
    (1024 * scaled(input_ids=TOKENS, labels=TOKENS).loss).backward()
    same({name: gradient / 1024 for name, gradient in trained(scaled).items()}, trained(plain))


def test_a_loss_computed_outside_of_the_model_takes_the_balance_along():
    model = tiny()
    output = model(input_ids=TOKENS)
    own = nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), TOKENS[:, 1:].flatten())
    loss = model.base_model.with_balance(own)
    loss.backward()
    expected, wanted = by_autograd()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    same(trained(model), wanted)


def test_an_adapter_that_is_deleted_and_added_again_weighs_as_before():
    model = tiny()
    kept = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    loss, gradients = loss_of(model)
    model.add_adapter("other", ExpertsConfig(r=2, task_type="CAUSAL_LM"))  # PEFT needs one that stays
    with pytest.warns(UserWarning, match="Setting active adapter to other"):
        model.delete_adapter("default")
    model.add_adapter(
        "default", ExpertsConfig(r=2, task_type="CAUSAL_LM", noise=False, balance_coefficient=COEFFICIENT)
    )
    model.set_adapter("default")
    with torch.no_grad():
        for name, weight in kept.items():
            model.get_parameter(name).copy_(weight)
    again, found = loss_of(model.train())
    assert again == pytest.approx(loss, rel=1e-6)
    same(found, gradients)


def test_two_active_adapters_each_add_their_own_loss():
    model = tiny(0.5)
    model.add_adapter(
        "second",
        ExpertsConfig(
            r=2, num_experts=5, target_modules=["up_proj"], task_type="CAUSAL_LM", noise=False, balance_coefficient=2.0
        ),
    )
    model.base_model.set_adapter(["default", "second"])
    make_visible(model)
    gates: dict[str, list[torch.Tensor]] = {"default": [], "second": []}

    def note(layer: ExpertsLinear, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        for adapter in layer.experts_router:
            gates[adapter].append(layer.gates(inputs[0].flatten(0, -2), adapter))

    for module in model.modules():
        if isinstance(module, ExpertsLinear):
            module.register_forward_hook(note)
    found = model(input_ids=TOKENS, labels=TOKENS).loss.item()
    assert {name: len(layers) for name, layers in gates.items()} == {"default": 6, "second": 2}
    wanted = model.eval()(input_ids=TOKENS, labels=TOKENS).loss.item()
    for adapter, coefficient, layers in (("default", 0.5, 6), ("second", 2.0, 2)):
        for shares in gates[adapter][:layers]:
            wanted += coefficient / layers * (shares.shape[-1] * shares.mean(0).square().sum() - 1).item()
    assert found == pytest.approx(wanted, rel=1e-6)


def test_a_pass_whose_loss_nobody_took_does_not_count_in_the_next():
    model = tiny()
    model.add_adapter("second", ExpertsConfig(r=2, task_type="CAUSAL_LM", noise=False))
    model(input_ids=TOKENS)
    model.set_adapter("second")
    with_labels = model(input_ids=TOKENS, labels=TOKENS).loss.item()
    assert with_labels == model.eval()(input_ids=TOKENS, labels=TOKENS).loss.item()


def test_even_gates_cost_nothing_and_one_expert_alone_costs_most():
    def loss(coefficient: float, favoured: float) -> float:
        model = tiny(coefficient)
        for module in model.modules():  # the first number of every input is the same, so one logit decides
            if isinstance(module, ExpertsLinear):
                router = module.experts_router["default"].weight.data
                router.zero_()[0, 0] = favoured
                module.register_forward_pre_hook(lambda _, x: nn.functional.pad(x[0][..., 1:], (1, 0), value=1.0))
        return model(input_ids=TOKENS, labels=TOKENS).loss.item()

    assert loss(COEFFICIENT, 0.0) == pytest.approx(loss(0.0, 0.0), abs=1e-6)
    assert loss(COEFFICIENT, 50.0) - loss(0.0, 50.0) == pytest.approx(COEFFICIENT * (3 - 1), rel=1e-4)


def test_evaluation_has_no_balance_loss():
    model = tiny().eval()
    with torch.no_grad():
        assert model(input_ids=TOKENS, labels=TOKENS).loss == tiny(0.0).eval()(input_ids=TOKENS, labels=TOKENS).loss


def test_balancing_makes_the_shares_more_even():
    torch.manual_seed(0)
    layer = ExpertsLinear(
        nn.Linear(8, 8).requires_grad_(False), "default", ExpertsConfig(r=2, balance_coefficient=1.0, noise=False)
    )
    x = torch.randn(64, 8) + 1
    with torch.no_grad():
        layer.experts_router["default"].weight.copy_(torch.tensor([[1.0], [0.0], [-1.0]]).expand(3, 8))
    before = layer.gates(x, "default").mean(0)
    optimizer = torch.optim.Adam([layer.experts_router["default"].weight], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        (0 * layer.train()(x).sum()).backward()
        optimizer.step()
    after = layer.gates(x, "default").mean(0)
    assert before.max() > 0.9
    assert after.max() < 0.4


def test_packed_training_takes_the_balance_loss_along(tmp_path):
    from transformers import TrainingArguments

    from pediatricsgpt.training.trainer import PackedTrainer

    rows = [{"input_ids": row, "labels": row} for row in TOKENS.tolist()]

    def one_step(coefficient: float) -> dict[str, torch.Tensor]:
        arguments = TrainingArguments(
            str(tmp_path / str(coefficient)), max_steps=1, per_device_train_batch_size=1, gradient_accumulation_steps=2,
            learning_rate=1.0, optim="sgd", max_grad_norm=0.0, use_cpu=True, report_to=[], disable_tqdm=True,
            remove_unused_columns=False, lr_scheduler_type="constant",
        )  # fmt: skip
        model = tiny(coefficient)
        before = {name: weight.detach().clone() for name, weight in model.named_parameters() if "router" in name}
        PackedTrainer(model, arguments, rows, max_length=12).train()
        return {name: model.get_parameter(name).detach() - value for name, value in before.items()}

    # The update by the balance loss alone: the mean of the two rows' own, each half of the step.
    plain, balanced = one_step(0.0), one_step(COEFFICIENT)
    single = []
    for row in TOKENS:
        with_it, without = tiny(), tiny(0.0)
        for model in (with_it, without):
            model(input_ids=row.unsqueeze(0), labels=row.unsqueeze(0)).loss.backward()
        single.append({name: trained(with_it)[name] - trained(without)[name] for name in plain})
    for name in plain:
        wanted = -(single[0][name] + single[1][name]) / 2
        assert wanted.abs().max() > 0
        torch.testing.assert_close(balanced[name] - plain[name], wanted, rtol=1e-3, atol=1e-6)
