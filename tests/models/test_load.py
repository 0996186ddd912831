"""Making and finding models, and what is said when there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.load import Loaded, load, make_base
from pediatricsgpt.models.settings import ModelSettings


def test_the_same_seed_gives_the_same_weights(tiny_model: ModelSettings, tmp_path: Path, model_folder: Path) -> None:
    make_base(tiny_model, tmp_path, Path(), seed=3)
    assert (tmp_path / "model.safetensors").read_bytes() == (model_folder / "model.safetensors").read_bytes()


def test_another_seed_gives_other_weights(tiny_model: ModelSettings, tmp_path: Path, model_folder: Path) -> None:
    make_base(tiny_model, tmp_path, Path(), seed=4)
    assert (tmp_path / "model.safetensors").read_bytes() != (model_folder / "model.safetensors").read_bytes()


def test_an_existing_model_trains_under_a_reference(model_folder: Path, loaded: Loaded, tmp_path: Path) -> None:
    make_base(ModelSettings(base=str(model_folder)), tmp_path, Path(), seed=1)
    assert not (tmp_path / "model.safetensors").exists()
    through = load(tmp_path)
    pairs = zip(through.model.parameters(), loaded.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert through.tokenizer.chat_template == loaded.tokenizer.chat_template


def test_a_template_of_the_recipe_replaces_the_bases_own(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text("{{ messages[0].content }}", encoding="utf-8")
    folder = tmp_path / "base"
    folder.mkdir()
    make_base(ModelSettings(base=str(model_folder), chat_template=Path("own.jinja")), folder, tmp_path, seed=1)
    assert load(folder).tokenizer.chat_template == "{{ messages[0].content }}"


def test_a_folder_without_weights_is_refused(model_folder: Path, tmp_path: Path) -> None:
    shutil.copy(model_folder / "config.json", tmp_path)
    with pytest.raises(UserError, match="no weights in this folder"):
        load(tmp_path)
    with pytest.raises(UserError, match="no weights in this folder"):
        make_base(ModelSettings(base=str(tmp_path)), tmp_path, Path(), seed=1)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "no_such_folder"])
def test_a_path_that_is_not_there_is_refused_without_asking_a_hub(name: str) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load(name)


def test_a_hub_that_cannot_be_reached_is_said_in_one_line() -> None:
    with pytest.raises(UserError, match="cannot load this model") as caught:
        load("no-such-owner/no-such-model")
    assert "\n" not in str(caught.value)


def test_a_damaged_weight_file_is_said_in_one_line(model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "m")
    (tmp_path / "m/model.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="cannot load this model"):
        load(tmp_path / "m")


def test_init_needs_a_tokenizer_that_is_there(tiny_model: ModelSettings, tmp_path: Path) -> None:
    missing = tiny_model.model_copy(update={"tokenizer": tmp_path})
    with pytest.raises(UserError, match=r"no tokenizer\.json"):
        make_base(missing, tmp_path, Path(), seed=1)
