"""Adapters: where their base lies, that they go onto it whole, and what is said of those that do not."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from pediatricsgpt.errors import UserError
from pediatricsgpt.experts import release
from pediatricsgpt.models import adapter
from pediatricsgpt.models.export import ExportSettings, export
from pediatricsgpt.models.load import Loaded, identity, load
from tests.experts.test_release import by_their_formula, folder_of, tensors
from tests.experts.test_tuner import logits, tiny_base
from tests.models.conftest import Hub


@pytest.fixture
def base(loaded: Loaded, tmp_path: Path) -> Path:
    """The base of the authors' adapter, as a model folder."""
    tiny_base().save_pretrained(tmp_path / "base")
    loaded.tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def lora(base: Path, tmp_path: Path) -> Path:
    """A LoRA on that base that changes its answers."""
    model = get_peft_model(load(base).model, LoraConfig(r=2, target_modules=["up_proj"], task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(std=0.3, generator=generator)
    model.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def edit(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("pickled", [False, True])
def test_an_adapter_in_the_authors_layout_gives_the_outputs_of_their_formula(
    base: Path, tmp_path: Path, pickled: bool
) -> None:
    weights = tensors()
    folder = folder_of(tmp_path / "theirs", weights, pickled, base_model_name_or_path=str(base))
    found = load(folder).model
    torch.testing.assert_close(logits(found), by_their_formula(weights), rtol=1e-5, atol=1e-5)
    assert not torch.equal(logits(found), logits(tiny_base()))
    assert not any(weight.requires_grad for weight in found.parameters())


@pytest.mark.parametrize("pickled", [False, True])
def test_the_authors_layout_is_known_by_its_tensors_too(base: Path, tmp_path: Path, pickled: bool) -> None:
    weights = tensors()
    folder = folder_of(tmp_path / "theirs", weights, pickled, base_model_name_or_path=str(base))
    settings = json.loads((folder / "adapter_config.json").read_text())
    del settings["lora_nums"]
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    torch.testing.assert_close(logits(load(folder).model), by_their_formula(weights), rtol=1e-5, atol=1e-5)


def test_the_experts_of_the_authors_layout_can_be_trained_on(base: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "theirs", tensors(), base_model_name_or_path=str(base))
    model = load(folder, trainable=True).model
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if ".experts_" in name} != set()
    assert model.training


def test_without_their_router_nothing_is_loaded_in_its_place(base: Path, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "theirs", tensors(router=False), base_model_name_or_path=str(base))
    (base / "model.safetensors").write_bytes(b"")  # told before the base, which may be large, is read
    with pytest.raises(UserError, match=r"has no router \(lora_route\.weight\).*ask for one with its router") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_even_shares_written_in_our_layout_open_like_any_other(base: Path, tmp_path: Path) -> None:
    weights = tensors(router=False)
    folder = folder_of(tmp_path / "theirs", weights, base_model_name_or_path=str(base))
    release.load(load(base).model, folder, spread_evenly=True).save_pretrained(tmp_path / "even")
    found = load(tmp_path / "even").model
    torch.testing.assert_close(logits(found), by_their_formula(weights), rtol=1e-5, atol=1e-5)


def test_an_export_of_the_authors_layout_is_in_ours(base: Path, tmp_path: Path) -> None:
    weights = tensors()
    folder = folder_of(tmp_path / "theirs", weights, base_model_name_or_path=str(base))
    with pytest.raises(UserError, match="experts cannot be merged into one model"):
        export(str(folder), tmp_path / "out")
    export(str(folder), tmp_path / "out", ExportSettings(form="adapter"))
    shutil.rmtree(base)
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    plain = PeftModel.from_pretrained(load(moved / "base").model, str(moved / "adapter")).eval()
    torch.testing.assert_close(logits(plain), by_their_formula(weights), rtol=1e-5, atol=1e-5)
    assert torch.equal(logits(load(moved / "adapter").model), logits(plain))


def _tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file({name: value.contiguous() for name, value in change(load_file(path)).items()}, path)

    return apply


def _torn(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(print))


def _first(weights: dict[str, torch.Tensor]) -> tuple[str, torch.Tensor]:
    return next(iter(sorted(weights.items())))


UNFIT = "does not fit its base base"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "another architecture": (lambda folder: edit(folder, target_modules=["c_attn"]), UNFIT),
    "other shapes": (_tensors(lambda weights: {name: value[:, :-1] for name, value in weights.items()}), UNFIT),
    "a part": (_tensors(lambda weights: dict([_first(weights)])), "missing adapter keys"),
    "renamed": (
        _tensors(lambda weights: {name.replace("up_proj", "w1"): value for name, value in weights.items()}),
        "missing adapter keys",
    ),
    "of a larger base": (
        _tensors(lambda w: {**w, _first(w)[0].replace("layers.0", "layers.7"): _first(w)[1].clone()}),
        r"1 of its weights have no place there .*layers\.7",
    ),
    "unknown kind": (lambda folder: edit(folder, peft_type="NEWEST"), UNFIT),
    "torn weights": (_torn, "cannot read these weights"),
    "a pickle with code": (_pickled, "cannot read these weights: its weights file is damaged, or holds more"),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "no weights in this adapter"),
    "torn settings": (lambda folder: (folder / "adapter_config.json").write_text('{"r": '), "damaged"),
    "a list": (lambda folder: (folder / "adapter_config.json").write_text("[]"), "no JSON object"),
    "no base": (lambda folder: edit(folder, base_model_name_or_path=None), "does not say what its base is"),
    "a base that is gone": (lambda folder: edit(folder, base_model_name_or_path="/no/base"), "base .* is not there"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_adapter_that_does_not_go_onto_its_base_whole_is_refused_in_one_line(lora: Path, damage: str) -> None:
    change, said = DAMAGES[damage]
    load(lora)  # as it was, it loads
    change(lora)
    with pytest.raises(UserError, match=said) as caught:
        load(lora)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_base_named_from_the_adapters_folder_is_found_there(
    base: Path, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(lora, base_model_name_or_path="../base")
    expected = logits(load(lora).model)
    (tmp_path / "elsewhere/here").mkdir(parents=True)
    shutil.copytree(base, tmp_path / "elsewhere/base")
    other = load_file(base / "model.safetensors")
    save_file({name: value + 1 for name, value in other.items()}, tmp_path / "elsewhere/base/model.safetensors")
    monkeypatch.chdir(tmp_path / "elsewhere/here")  # `../base` from here is another model
    assert torch.equal(logits(load(lora).model), expected)
    export(str(lora), tmp_path / "out")
    torch.testing.assert_close(logits(load(tmp_path / "out").model), expected, rtol=1e-5, atol=1e-5)


def test_the_base_of_an_adapter_is_found_in_the_same_place_for_loading_and_export(base: Path, lora: Path) -> None:
    settings = adapter.settings_of(lora)
    assert adapter.base_of(lora, settings) == str(base)
    (lora / "manifest.json").write_text("{}")
    assert adapter.base_of(lora, settings | {"base_model_name_or_path": "/gone/base"}) == str(base)
    assert adapter.base_of(lora, settings | {"base_model_name_or_path": "owner/name"}) == "owner/name"


def test_another_base_under_an_adapter_is_another_model(base: Path, lora: Path) -> None:
    before = identity(load(lora))
    assert identity(load(lora)) == before
    weights = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    save_file({name: value + 0.1 for name, value in weights.items()}, base / "model.safetensors")
    assert identity(load(lora)) != before


def test_the_revision_of_the_base_that_an_adapter_names_is_taken(hub: Hub, base: Path, lora: Path) -> None:
    first, second = "a" * 40, "b" * 40
    expected = logits(load(lora).model)
    hub("owner/name", base, first)
    weights = load_file(base / "model.safetensors")
    save_file({name: value + 0.1 for name, value in weights.items()}, base / "model.safetensors")
    hub("owner/name", base, second)
    edit(lora, base_model_name_or_path="owner/name", revision=first)
    assert torch.equal(logits(load(lora).model), expected)
    edit(lora, revision=None)
    assert not torch.allclose(logits(load(lora).model), expected)


def test_an_adapter_of_the_hub_is_refused_before_its_base_is_fetched(hub: Hub, lora: Path) -> None:
    hub("owner/adapter", lora, "c" * 40)
    with pytest.raises(UserError, match="this hub id is an adapter; download it"):
        load("owner/adapter")
