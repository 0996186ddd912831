"""What a run will need: figures that can be counted by hand."""

from __future__ import annotations

import pytest

from pediatricsgpt.training import estimate
from pediatricsgpt.training.estimate import SetSize, Shape
from pediatricsgpt.training.settings import CptSettings, DfpoSettings, ExpertsSettings, SftSettings

SHAPE = Shape(hidden=8, intermediate=16, layers=2, heads=2, key_value_heads=1, head_dim=4, vocabulary=100, tied=True)


def _trained(targets: object) -> int:
    """Parameters of the experts on these modules."""
    settings = ExpertsSettings.model_construct(target_modules=targets, r=2, num_experts=3, max_length=16, trainer={})
    return estimate._expert_parameters(SHAPE, settings)


def test_parameters_are_those_of_the_layers_and_the_embeddings() -> None:
    attention, ffn = 8 * 8 + 2 * 8 * 4 + 8 * 8, 3 * 8 * 16
    assert SHAPE.parameters == 2 * (attention + ffn) + 100 * 8


def test_experts_count_what_target_modules_means() -> None:
    def linear(width_in: int, width_out: int) -> int:
        return 4 * 2 * (width_in + width_out) + 2 * 3 * width_in

    ffn = 2 * (2 * linear(8, 16) + linear(16, 8))
    attention = 2 * (2 * linear(8, 8) + 2 * linear(8, 4))
    assert _trained("ffn") == ffn
    assert _trained("attention") == attention
    assert _trained("all-linear") == ffn + attention
    assert _trained(["q_proj"]) == 2 * linear(8, 8)
    assert _trained(["ffn", "mlp.down_proj", "q_proj"]) >= ffn + 2 * linear(8, 8)


def test_steps_are_those_set_or_those_of_the_epochs() -> None:
    data = SetSize(rows=100, tokens=20_000)
    batch = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 5}
    assert estimate.steps(data, SftSettings(trainer={"max_steps": 7})) == 7
    packed = SftSettings(max_length=100, trainer={"num_train_epochs": 2, **batch})
    assert estimate.steps(data, packed) == 2 * 200 / 10
    loose = SftSettings(max_length=100, packing=False, trainer={"num_train_epochs": 2, **batch})
    assert estimate.steps(data, loose) == 2 * 100 / 10
    assert estimate.trained_tokens(data, packed) == 40_000


@pytest.mark.parametrize(("settings", "each"), [(CptSettings(), 6), (DfpoSettings(), 8), (ExpertsSettings(), 4)])
def test_time_follows_from_operations_at_the_nominal_rate(settings: CptSettings, each: int) -> None:
    operations = estimate.training_operations(SHAPE, 1000, settings)
    assert operations == each * SHAPE.parameters * 1000
    assert estimate.seconds(operations, cores=2) == pytest.approx(operations / 100e9)
