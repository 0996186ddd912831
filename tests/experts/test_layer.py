"""The layer against a slow, obvious reference, and what the layer must never do."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.pytorch_utils import Conv1D

from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear

D_IN, D_OUT = 24, 40


def make_layer(seed: int = 0, base: nn.Module | None = None, adapter: str = "default", **settings) -> ExpertsLinear:
    """A layer on a frozen base, with every weight away from zero so that every path shows in the output."""
    torch.manual_seed(seed)
    base = base if base is not None else nn.Linear(D_IN, D_OUT)
    base.requires_grad_(False)
    layer = ExpertsLinear(base, adapter, ExpertsConfig(**settings))
    make_visible(layer)
    return layer


def make_visible(layer: ExpertsLinear) -> None:
    for name, weight in layer.named_parameters():
        if name.startswith("experts_"):
            nn.init.normal_(weight, std=0.3)


def loop_over_experts(
    layer: ExpertsLinear,
    x: torch.Tensor,
    config: ExpertsConfig,
    adapter: str = "default",
    eps: torch.Tensor | None = None,
) -> torch.Tensor:
    """METHOD: y = W0 x + s * ( B_u A_u x + sum_j g_j(x) B_j A_j x ), token by token and expert by expert."""
    s = config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)
    a, b = layer.experts_A[adapter].weight, layer.experts_B[adapter].weight
    router, noise = layer.experts_router[adapter].weight, layer.experts_noise[adapter].weight
    tokens = x.reshape(-1, x.shape[-1])
    outputs = []
    for i, token in enumerate(tokens):
        y = layer.base_layer(token)
        logits = router @ token
        if eps is not None:
            logits = logits + eps.reshape(len(tokens), -1)[i] * torch.log1p(torch.exp(noise @ token))
        g = torch.exp(logits) / torch.exp(logits).sum()
        for expert in range(config.num_experts + 1):
            rows = slice(expert * config.r, (expert + 1) * config.r)
            share = 1.0 if expert == 0 else g[expert - 1]
            y = y + s * share * (b[:, rows] @ (a[rows] @ token))
        outputs.append(y)
    return torch.stack(outputs).reshape(*x.shape[:-1], -1)


@pytest.mark.parametrize("shape", [(7, D_IN), (2, 5, D_IN), (D_IN,)])
@pytest.mark.parametrize("use_rslora", [False, True])
@pytest.mark.parametrize(("r", "num_experts"), [(4, 3), (1, 1), (3, 5)])
def test_equals_the_loop_over_experts(shape, use_rslora, r, num_experts):
    settings = {"r": r, "num_experts": num_experts, "use_rslora": use_rslora, "noise": False}
    layer = make_layer(**settings)
    x = torch.randn(shape)
    expected = loop_over_experts(layer, x, ExpertsConfig(**settings))
    for training in (True, False):
        torch.testing.assert_close(layer.train(training)(x), expected)


def test_training_noise_follows_the_formula():
    layer = make_layer(r=4, num_experts=3).train()
    x = torch.randn(2, 5, D_IN)
    torch.manual_seed(1)
    noisy = layer(x)
    torch.manual_seed(1)
    eps = torch.randn(2, 5, 3)
    torch.testing.assert_close(noisy, loop_over_experts(layer, x, ExpertsConfig(r=4, num_experts=3), eps=eps))


def test_experts_work_on_conv1d_layers():
    config = ExpertsConfig(r=2)
    layer = make_layer(base=Conv1D(D_OUT, D_IN), r=2).eval()
    x = torch.randn(3, D_IN)
    torch.testing.assert_close(layer(x), loop_over_experts(layer, x, config))


def test_a_base_layer_that_is_not_linear_is_refused_by_name():
    with pytest.raises(TypeError, match="Embedding"):
        ExpertsLinear(nn.Embedding(4, 4), "default", ExpertsConfig())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_at_initialisation_equals_the_base_exactly(dtype):
    base = nn.Linear(D_IN, D_OUT, dtype=dtype)
    layer = ExpertsLinear(base, "default", ExpertsConfig()).train()
    x = torch.randn(2, 5, D_IN, dtype=dtype)
    assert torch.equal(layer(x), base(x))
    assert layer(x).dtype == dtype


def test_every_expert_starts_like_a_lora_of_its_rank():
    layer = ExpertsLinear(nn.Linear(D_IN, D_OUT), "default", ExpertsConfig(r=4, num_experts=3))
    a = layer.experts_A["default"].weight.detach()
    assert a.abs().max() <= 1 / math.sqrt(D_IN)
    assert (a.unflatten(0, (4, 4)).std(dim=(1, 2)) > 0.5 / math.sqrt(3 * D_IN)).all()
    assert not layer.experts_B["default"].weight.any()
    assert 0.01 < layer.experts_router["default"].weight.std() < 0.03
    assert 0.01 < layer.experts_noise["default"].weight.std() < 0.03


def test_evaluation_is_repeatable_and_training_is_noisy():
    layer = make_layer()
    x = torch.randn(4, D_IN)
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_without_noise_training_is_repeatable_and_the_noise_weights_are_frozen():
    layer = make_layer(noise=False).train()
    x = torch.randn(4, D_IN)
    assert torch.equal(layer(x), layer(x))
    frozen = [name for name, weight in layer.named_parameters() if not weight.requires_grad]
    assert frozen == ["base_layer.weight", "base_layer.bias", "experts_noise.default.weight"]


def test_dropout_reaches_the_experts_but_neither_router_nor_base():
    config = ExpertsConfig(r=4, dropout=0.5, noise=False)
    layer = make_layer(r=4, dropout=0.5, noise=False).train()
    x = torch.randn(50, D_IN)
    torch.manual_seed(1)
    result = layer(x)
    torch.manual_seed(1)
    dropped = F.dropout(x, 0.5)
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    torch.testing.assert_close(result, in_one_piece(layer, x, config, dropped=dropped))


def in_one_piece(layer, x, config, eps=None, dropped=None, adapter="default"):
    """The formula in plain tensor operations that autograd can follow, with one full output per expert."""
    a = layer.experts_A[adapter].weight.unflatten(0, (config.num_experts + 1, -1))
    b = layer.experts_B[adapter].weight.unflatten(1, (config.num_experts + 1, -1))
    logits = x @ layer.experts_router[adapter].weight.t()
    if eps is not None:
        logits = logits + eps * F.softplus(x @ layer.experts_noise[adapter].weight.t())
    shares = F.pad(logits.softmax(-1), (1, 0), value=1.0)
    every = torch.einsum("...d,erd,oer->...eo", x if dropped is None else dropped, a, b)
    return layer.base_layer(x) + config.scaling * (every * shares.unsqueeze(-1)).sum(-2)


@pytest.mark.parametrize("trained_base", [False, True])
@pytest.mark.parametrize(("dropout", "noise"), [(0.0, False), (0.0, True), (0.3, True)])
def test_every_gradient_equals_that_of_autograd(dropout, noise, trained_base):
    settings = {"r": 4, "num_experts": 3, "dropout": dropout, "noise": noise}
    layer = make_layer(**settings).train()
    layer.base_layer.requires_grad_(trained_base)
    x = torch.randn(3, 7, D_IN, requires_grad=True)
    target = torch.randn(3, 7, D_OUT)

    def gradients(result: torch.Tensor) -> dict[str, torch.Tensor]:
        weights = {"x": x} | {name: weight for name, weight in layer.named_parameters() if weight.requires_grad}
        found = torch.autograd.grad((result * target).sum(), list(weights.values()))
        return dict(zip(weights, found, strict=True))

    torch.manual_seed(1)
    ours = gradients(layer(x))
    torch.manual_seed(1)
    eps = torch.randn(21, 3).reshape(3, 7, 3) if noise else None
    dropped = F.dropout(x, dropout) if dropout else None
    expected = gradients(in_one_piece(layer, x, ExpertsConfig(**settings), eps, dropped))
    assert ours.keys() == expected.keys()
    assert len(ours) == 1 + (4 if noise else 3) + 2 * trained_base
    for name, gradient in expected.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-5, atol=1e-5, msg=name)


def scale_the_input(base: nn.Linear) -> None:
    base.register_forward_pre_hook(lambda _, inputs: (3 * inputs[0],))


def scale_the_output(base: nn.Linear) -> None:
    base.register_forward_hook(lambda _, inputs, output: -2 * output)


def replace_the_forward(base: nn.Linear) -> None:
    base.forward = lambda x: F.linear(x.tanh(), base.weight, base.bias)


@pytest.mark.parametrize("change", [scale_the_input, scale_the_output, replace_the_forward])
def test_gradients_go_through_whatever_others_put_on_the_base_layer(change):
    config = ExpertsConfig(r=4, noise=False)
    layer = make_layer(r=4, noise=False).train()
    change(layer.base_layer)
    x = torch.randn(7, D_IN, requires_grad=True)
    result, expected = layer(x), in_one_piece(layer, x, config)
    torch.testing.assert_close(result, expected)
    (ours,), (wanted,) = (torch.autograd.grad(y.square().sum(), x) for y in (result, expected))
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)


def test_an_output_that_a_patched_forward_keeps_is_not_overwritten():
    layer, kept = make_layer(), []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(F.linear(x, layer.base_layer.weight))
        return kept[0]

    layer.base_layer.forward = keep
    x = torch.randn(4, D_IN)
    layer(x)
    assert torch.equal(kept[0], F.linear(x, layer.base_layer.weight))


def test_gradients_of_two_active_adapters_equal_those_of_autograd():
    settings = {
        "first": {"r": 4, "num_experts": 3, "noise": False},
        "second": {"r": 2, "num_experts": 5, "noise": False, "lora_alpha": 7},
    }
    layer = make_layer(adapter="first", **settings["first"])
    layer.update_layer("second", ExpertsConfig(**settings["second"]))
    make_visible(layer)
    layer.set_adapter(list(settings))
    x = torch.randn(7, D_IN, requires_grad=True)
    weights = {"x": x} | {name: weight for name, weight in layer.named_parameters() if weight.requires_grad}
    assert len(weights) == 1 + 2 * 3
    both = sum(in_one_piece(layer, x, ExpertsConfig(**one), adapter=name) for name, one in settings.items())
    wanted = torch.autograd.grad((both - layer.base_layer(x)).square().sum(), list(weights.values()))
    ours = torch.autograd.grad(layer.train()(x).square().sum(), list(weights.values()))
    for name, gradient, expected in zip(weights, ours, wanted, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-3, msg=name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_training_in_half_precision_lowers_the_loss_with_router_gradients_in_float32(dtype):
    layer = make_layer(base=nn.Linear(D_IN, D_OUT, dtype=dtype), r=4).train()
    assert layer.experts_A["default"].weight.dtype == dtype
    x = torch.randn(64, D_IN, dtype=dtype)
    target = make_layer(seed=7, base=layer.base_layer, r=4, noise=False).eval()(x).detach().float()
    trained = [weight for weight in layer.parameters() if weight.requires_grad]
    routers = {name: w for name, w in layer.named_parameters() if "router" in name or "noise" in name}
    before = {name: weight.detach().clone() for name, weight in routers.items()}
    optimizer = torch.optim.SGD(trained, lr=0.05)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.mse_loss(layer(x).float(), target)
        loss.backward()
        losses.append(loss.item())
        assert {weight.grad.dtype for weight in routers.values()} == {torch.float32}
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    for name, weight in routers.items():
        moved = weight.detach() - before[name]
        assert weight.dtype == torch.float32
        assert moved.any(dim=1).all()
        assert not torch.equal(weight, weight.to(dtype).float()), "updates finer than half precision are kept"


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_half_precision_stays_close_to_float32(stored):
    layer = make_layer(r=4).eval()
    x = torch.randn(600, D_IN).bfloat16().float().requires_grad_()  # more tokens than are widened at once
    layer.base_layer.bfloat16().float()
    weights = [
        weight for name, weight in layer.named_parameters() if name.startswith("experts_") and "noise" not in name
    ]
    exact = torch.autograd.grad(layer(x).square().mean(), [x, *weights])
    layer.base_layer.bfloat16()
    layer.experts_A.to(stored)
    layer.experts_B.to(stored)
    weights = [
        weight for name, weight in layer.named_parameters() if name.startswith("experts_") and "noise" not in name
    ]
    half = x.detach().bfloat16().requires_grad_()
    result = layer(half)
    assert result.dtype == torch.bfloat16
    for gradient, weight, wanted in zip(
        torch.autograd.grad(result.float().square().mean(), [half, *weights]), [half, *weights], exact, strict=True
    ):
        assert gradient.dtype == weight.dtype
        assert F.cosine_similarity(gradient.float().flatten(), wanted.flatten(), dim=0) > 0.999


def test_the_router_is_as_exact_on_half_precision_input_as_on_float32():
    layer = make_layer().eval()
    x = torch.randn(700, D_IN).bfloat16()
    torch.testing.assert_close(layer.gates(x, "default"), layer.gates(x.float(), "default"), rtol=1e-5, atol=1e-6)


def test_an_output_of_the_base_that_somebody_keeps_is_not_overwritten():
    kept = []
    layer = make_layer()
    layer.base_layer.register_forward_hook(lambda _, inputs, output: kept.append((inputs[0], output)))
    layer(torch.randn(4, D_IN))
    given, output = kept[0]
    assert torch.equal(output, F.linear(given, layer.base_layer.weight, layer.base_layer.bias))


@pytest.mark.parametrize("cast", [lambda m: m.to(torch.bfloat16), lambda m: m.half(), lambda m: m.bfloat16().float()])
def test_router_keeps_its_float32_weights_through_casts(cast):
    layer = make_layer().eval()
    routers = {n: w.detach().clone() for n, w in layer.named_parameters() if "router" in n or "noise" in n}
    cast(layer)
    for name, weight in routers.items():
        assert layer.get_parameter(name).dtype == torch.float32
        assert torch.equal(layer.get_parameter(name), weight)
    dtype = layer.experts_A["default"].weight.dtype
    x = torch.randn(4, D_IN, dtype=dtype)
    assert layer(x).dtype == dtype
    assert layer.gates(x, "default").dtype == torch.float32


def test_gradients_of_the_router_keep_float32_through_casts():
    layer = make_layer().train()
    layer(torch.randn(4, D_IN)).sum().backward()
    layer.to(torch.bfloat16)
    assert layer.experts_router["default"].weight.grad.dtype == torch.float32
    assert layer.experts_A["default"].weight.grad.dtype == torch.bfloat16


def test_gates_are_float32_and_the_same_under_autocast():
    layer = make_layer().eval()
    x = torch.randn(6, D_IN)
    plain = layer.gates(x, "default")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer.gates(x, "default"), plain)
        assert layer(x).dtype == torch.bfloat16
    assert plain.dtype == torch.float32
    torch.testing.assert_close(plain.sum(-1), torch.ones(6))


def test_runs_on_the_meta_device_to_estimate_shapes():
    layer = make_layer().to("meta")
    assert layer(torch.empty(2, 3, D_IN, device="meta")).shape == (2, 3, D_OUT)


def test_gradients_reach_every_expert_the_router_and_the_noise():
    layer = make_layer(r=4, num_experts=3).train()
    layer(torch.randn(8, D_IN)).square().sum().backward()
    for expert in range(4):
        rows = slice(4 * expert, 4 * expert + 4)
        assert layer.experts_A["default"].weight.grad[rows].any(dim=1).all()
        assert layer.experts_B["default"].weight.grad[:, rows].any(dim=0).all()
    assert layer.experts_router["default"].weight.grad.any(dim=1).all()
    assert layer.experts_noise["default"].weight.grad.any(dim=1).all()
    assert layer.base_layer.weight.grad is None


class OutputShapes(TorchDispatchMode):
    """Records the shape of every tensor that any operation returns, in the forward and the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.shapes |= {tuple(leaf.shape) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)}
        return result


def test_no_tensor_holds_one_full_output_per_expert():
    tokens, experts = 50, 3
    layer = make_layer(r=2, num_experts=experts, dropout=0.1).train()
    saved: set[tuple[int, ...]] = set()
    x = torch.randn(2, tokens // 2, D_IN, requires_grad=True)

    def note(tensor: torch.Tensor) -> torch.Tensor:
        saved.add(tuple(tensor.shape))
        return tensor

    with OutputShapes() as made, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        layer(x).square().sum().backward()
    assert (2, tokens // 2, D_OUT) in made.shapes, "the recorder saw the output"
    assert (tokens, experts + 1, 2) in made.shapes, "experts are separate in rank space only"
    assert max(math.prod(shape) for shape in made.shapes | saved) < experts * tokens * D_OUT
    assert not any({experts, experts + 1} & set(shape) and D_OUT in shape for shape in made.shapes | saved)


def test_adapters_of_one_layer_have_their_own_router_rank_and_number_of_experts():
    settings = {"first": {"r": 4, "num_experts": 3}, "second": {"r": 2, "num_experts": 5, "lora_alpha": 7}}
    layer = make_layer(adapter="first", **settings["first"])
    layer.update_layer("second", ExpertsConfig(**settings["second"]))
    make_visible(layer)
    layer.eval()
    x = torch.randn(4, D_IN)
    for name, values in settings.items():
        layer.set_adapter(name)
        torch.testing.assert_close(layer(x), loop_over_experts(layer, x, ExpertsConfig(**values), name))
    layer.set_adapter(["first", "second"])
    both = sum(loop_over_experts(layer, x, ExpertsConfig(**values), name) for name, values in settings.items())
    torch.testing.assert_close(layer(x), both - layer.base_layer(x))


def test_merging_is_refused_with_its_reason_but_nothing_counts_as_merged():
    layer = make_layer()
    for refused in (layer.merge, layer.unmerge):
        with pytest.raises(NotImplementedError, match="gates depend on each token"):
            refused()
    assert not layer.merged


def test_softmax_does_not_overflow_on_large_logits():
    layer = make_layer().eval()
    gates = layer.gates(1e4 * torch.ones(1, D_IN, dtype=torch.bfloat16), "default")
    assert torch.isfinite(gates).all()
    assert F.l1_loss(gates.sum(-1), torch.ones(1)) < 1e-6
