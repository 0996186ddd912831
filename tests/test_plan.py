"""What a plan says of memory."""

from __future__ import annotations

import pytest

from pediatricsgpt import plan
from pediatricsgpt.plan import GIB, Device, Phase, Phases
from pediatricsgpt.training.estimate import Work
from pediatricsgpt.training.memory import Needs

WORK = Work(tokens=10, packs=1, layout=[(10, 9)], counted=True)


def _phase(peak: int) -> Phase:
    needs = Needs(
        parameters=1,
        trained=1,
        weights=peak,
        gradients=0,
        optimizer=0,
        activations=0,
        peak=peak,
        largest_block=0,
        outside_blocks=0,
        operations=1,
        tokens=10,
    )
    return Phase(WORK, needs, steps=1, trained_tokens=10)


def test_what_does_not_fit_is_said_with_what_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    phases = Phases({"sft": _phase(9 * GIB), "dfpo": _phase(11 * GIB), "experts": _phase(30 * GIB)})
    monkeypatch.setattr(plan, "_memory_here", lambda _: 10 * GIB)
    of_dfpo, of_experts = plan._too_much(phases, Device(gpu=False))
    assert of_dfpo.startswith("dfpo: 11.0 GiB do not fit into the 10.0 GiB")
    assert "reference: precomputed" in of_dfpo
    assert "base_dtype" in of_experts
    # Planned for a machine that is not this one.
    monkeypatch.setattr(plan, "_memory_here", lambda _: 0)
    assert plan._too_much(phases, Device(gpu=True)) == []


def test_figures_have_as_many_digits_as_they_need() -> None:
    assert [plan._gib(size) for size in (115 * GIB, GIB, GIB // 2, GIB // 1000)] == ["115.0", "1.00", "0.50", "0.001"]
    assert [plan._size(size) for size in (7_740_000_000, 39_500_000)] == ["7.74 B", "39.5 M"]
