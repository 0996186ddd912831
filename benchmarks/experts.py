"""The experts layer against the authors' formula, PEFT's LoRA of equal total rank, and the frozen layer alone.

    OMP_NUM_THREADS=2 python benchmarks/experts.py [--repeat 9] [--device cpu|cuda] [--tokens 4096] [--quick]

One linear layer, T = 3 specific experts, bfloat16, forward and backward with a gradient to the input, noise on. All
four sides take turns in one run; the figure is the median. The authors' formula is written here from the paper's method
(it makes one output of the layer's full width per expert and token). LoRA's rank is (T + 1) r. "extra memory" is the
peak of what a step allocates beyond what the frozen layer's step allocates.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from peft import LoraConfig
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn

from pediatricsgpt.experts import ExpertsConfig, ExpertsLinear

EXPERTS = 3
SHAPES = [(1024, 4096, 8), (1024, 4096, 64), (4096, 11008, 8), (4096, 11008, 64)]


class AuthorsExperts(nn.Module):
    """The method as its authors compute it: every expert's full output for every token, then the gated sum."""

    def __init__(self, base: nn.Linear, r: int, scaling: float) -> None:
        super().__init__()
        self.base, self.scaling, self.noise = base, scaling, True
        self.a = nn.Parameter(torch.randn(EXPERTS + 1, base.in_features, r) * base.in_features**-0.5)
        self.b = nn.Parameter(torch.randn(EXPERTS + 1, r, base.out_features) * 0.01)
        self.route = nn.Linear(base.in_features, EXPERTS, bias=False)
        self.w_noise = nn.Parameter(torch.randn(base.in_features, EXPERTS) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.route(x)
        if self.noise:
            deviation = F.softplus(x @ self.w_noise)
            logits = logits + torch.randn_like(deviation) * deviation
        ranks = torch.einsum("bnd,edh->bneh", x, self.a)
        outputs = torch.einsum("bneh,ehd->bned", ranks, self.b) * self.scaling
        share = F.softmax(logits, dim=-1, dtype=torch.float16).to(outputs.dtype)
        kept = outputs.clone()
        gated = torch.cat([kept[:, :, :1], kept[:, :, 1:] * share.unsqueeze(-1)], dim=2)
        return self.base(x) + gated.sum(dim=2)


def sides(d_in: int, d_out: int, r: int, device: str) -> dict[str, nn.Module]:
    """The four layers, each on a frozen layer of its own."""

    def base() -> nn.Linear:
        torch.manual_seed(0)
        layer = nn.Linear(d_in, d_out, bias=False, dtype=torch.bfloat16, device=device)
        return layer.requires_grad_(False)

    experts = ExpertsLinear(base(), "default", ExpertsConfig(r=r, lora_alpha=2 * r, num_experts=EXPERTS))
    nn.init.normal_(experts.experts_B["default"].weight, std=0.01)
    rank = (EXPERTS + 1) * r
    lora = LoraLinear(base(), "default", config=LoraConfig(r=rank), r=rank, lora_alpha=2 * rank)
    lora.to(torch.bfloat16)
    authors = AuthorsExperts(base(), r, scaling=2.0).to(device, torch.bfloat16)
    made: dict[str, nn.Module] = {"frozen": base(), "authors": authors, "lora": lora.to(device), "ours": experts}
    return {name: layer.train() for name, layer in made.items()}


def step(layer: nn.Module, x: Tensor, grad: Tensor) -> None:
    """Forward and backward once."""
    layer.zero_grad(set_to_none=True)
    x.grad = None
    layer(x).backward(grad)


def seconds(work: Callable[[], None], device: str) -> float:
    """Wall time of one call, the accelerator's work included."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak(work: Callable[[], None], device: str) -> int:
    """Most bytes that one call holds at once beyond what was there before."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True, record_shapes=False) as profiler:
        work()
    held = most = 0
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


def measure(d_in: int, d_out: int, r: int, tokens: int, repeat: int, device: str) -> None:
    """Print one row of the table."""
    layers = sides(d_in, d_out, r, device)
    x = torch.randn(4, tokens // 4, d_in, dtype=torch.bfloat16, device=device, requires_grad=True)
    grad = torch.randn(4, tokens // 4, d_out, dtype=torch.bfloat16, device=device)
    times: dict[str, list[float]] = {name: [] for name in layers}
    memory = {}
    for name, layer in layers.items():
        step(layer, x, grad)
        memory[name] = peak(lambda layer=layer: step(layer, x, grad), device)  # type: ignore[misc]
    for _ in range(repeat):
        for name, layer in layers.items():
            times[name].append(seconds(lambda layer=layer: step(layer, x, grad), device))  # type: ignore[misc]
    median = {name: statistics.median(values) for name, values in times.items()}
    extra = {name: memory[name] - memory["frozen"] for name in layers}
    print(
        f"| {d_in}->{d_out} | {r} | "
        + " | ".join(f"{1e3 * median[name]:.1f}" for name in ("frozen", "authors", "lora", "ours"))
        + f" | {median['authors'] / median['ours']:.1f} x | {median['ours'] / median['lora']:.2f} x"
        + f" | {' / '.join(f'{extra[name] / 2**20:.0f}' for name in ('authors', 'lora', 'ours'))}"
        + f" | {extra['ours'] / extra['authors']:.3f} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--quick", action="store_true", help="the small layer alone")
    arguments = parser.parse_args()
    print(f"{arguments.tokens} tokens, bfloat16, {arguments.device}, median of {arguments.repeat}; times in ms")
    print(
        "| layer | r | frozen | authors' | LoRA | ours | authors' / ours | ours / LoRA | extra MiB (a/l/o) | ours/a |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for d_in, d_out, r in SHAPES[:2] if arguments.quick else SHAPES:
        measure(d_in, d_out, r, arguments.tokens, arguments.repeat, arguments.device)


if __name__ == "__main__":
    main()
