"""What the libraries raise or pass over when a model is opened: one line, and never random weights."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.load import load
from pediatricsgpt.models.opening import is_hub_id, told


@pytest.fixture
def model(model_folder: Path, tmp_path: Path) -> Path:
    """A model folder to damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def _edit(name: str, **values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return apply


def _text(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _renamed(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file({name.replace(".mlp.", ".ffn."): value for name, value in weights.items()}, path)


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _pickle(content: bytes) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content)

    return apply


CANNOT = "cannot load this model"
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "weights of other names": (_renamed, f"{CANNOT}: 6 of its weights are not in its files .*mlp.* and 3 more"),
    "weights of other shapes": (
        _edit("config.json", intermediate_size=48),
        f"{CANNOT}: its weights have other shapes .*for",
    ),
    "torn weights": (_cut, CANNOT),
    "torn pickle": (_pickle(b"\x80\x04torn"), CANNOT),
    "a pickle with code": (
        _pickle(pickle.dumps(print)),
        f"{CANNOT}: its weights file is damaged, or holds more than weights",
    ),
    "torn settings": (_text("config.json", '{"model_type": '), CANNOT),
    "settings that are a list": (_text("config.json", "[]"), CANNOT),
    "unknown family": (_edit("config.json", model_type="newest"), CANNOT),
    "torn tokenizer": (_text("tokenizer.json", '{"version": '), CANNOT),
    "a tokenizer of another version": (_text("tokenizer.json", '{"version": "9"}'), CANNOT),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_model_that_is_not_whole_is_refused_in_one_line(model: Path, damage: str) -> None:
    change, said = DAMAGES[damage]
    change(model)
    with pytest.raises(UserError, match=said) as caught:
        load(model)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert "weights_only" not in str(caught.value)


def test_a_tied_head_is_not_taken_for_a_missing_one(model: Path) -> None:
    assert "lm_head.weight" not in load_file(model / "model.safetensors")
    found = load(model).model
    assert torch.equal(found.lm_head.weight, found.model.embed_tokens.weight)


def test_an_untied_head_that_is_not_there_is_missed(model: Path) -> None:
    _edit("config.json", tie_word_embeddings=False)(model)
    with pytest.raises(UserError, match=r"1 of its weights are not in its files \(lm_head\.weight\)"):
        load(model)


def test_what_a_user_can_put_right_passes_through_and_all_else_is_told_with_its_kind() -> None:
    with pytest.raises(UserError, match=r"^place: done already$"), told("cannot", "place"):
        raise UserError("done already", "place")
    with pytest.raises(UserError, match=r"^place: cannot: 'a' \(KeyError\)$"), told("cannot", "place"):
        raise KeyError("a")
    with pytest.raises(UserError, match=r"^place: cannot: no reason given \(ValueError\)$"), told("cannot", "place"):
        raise ValueError
    with pytest.raises(KeyboardInterrupt), told("cannot", "place"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "known"),
    [("owner/name", True), ("name", False), ("./name", False), ("/a/b", False), ("~/b", False), ("a/b/c", False)],
)
def test_a_hub_id_is_told_from_a_path(name: str, known: bool) -> None:
    assert is_hub_id(name) == known
