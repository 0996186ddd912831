"""Making and finding models, and what is said when there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from pediatricsgpt.errors import UserError
from pediatricsgpt.models.load import Loaded, config_of, identity, load, make_base, tokenizer_of
from pediatricsgpt.models.settings import ModelSettings
from tests.models.conftest import Hub


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


TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|im_end|>{% endfor %}"


def test_a_template_of_the_recipe_replaces_the_bases_own(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text(TEMPLATE, encoding="utf-8")
    folder = tmp_path / "base"
    folder.mkdir()
    make_base(ModelSettings(base=str(model_folder), chat_template=Path("own.jinja")), folder, tmp_path, seed=1)
    assert load(folder).tokenizer.chat_template == TEMPLATE


def test_a_template_that_cannot_serve_is_told_before_any_training(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text("{% for m in messages %}{{ m.content | upper }}{% endfor %}", encoding="utf-8")
    with pytest.raises(UserError, match="changes what the assistant said"):
        make_base(ModelSettings(base=str(model_folder), chat_template=Path("own.jinja")), tmp_path, tmp_path, seed=1)


def test_a_base_without_tokenizer_is_refused(model_folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(model_folder, base)
    for file in base.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match="no tokenizer in this folder"):
        make_base(ModelSettings(base=str(base)), tmp_path, Path(), seed=1)


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


def test_changed_weights_of_a_local_base_change_what_the_base_is(model_folder: Path, tmp_path: Path) -> None:
    from pediatricsgpt.manifest import hash_folder

    base, first, second, moved = (tmp_path / name for name in ("base", "first", "second", "moved"))
    shutil.copytree(model_folder, base)
    for folder in (first, second, moved):
        folder.mkdir()
    make_base(ModelSettings(base=str(base)), first, Path(), seed=1)
    shutil.copytree(base, tmp_path / "elsewhere")
    make_base(ModelSettings(base=str(tmp_path / "elsewhere")), moved, Path(), seed=1)
    weights = bytearray((base / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (base / "model.safetensors").write_bytes(bytes(weights))
    make_base(ModelSettings(base=str(base)), second, Path(), seed=1)
    contents = [hash_folder(folder, ignore=("base.json",)) for folder in (first, moved, second)]
    assert contents[0] == contents[1] != contents[2]


def test_the_base_of_another_run_is_followed_with_all_that_this_run_set(model_folder: Path, tmp_path: Path) -> None:
    reference, again = tmp_path / "reference", tmp_path / "again"
    reference.mkdir()
    again.mkdir()
    (tmp_path / "own.jinja").write_text(TEMPLATE, encoding="utf-8")
    other = ModelSettings(base=str(model_folder), chat_template=Path("own.jinja"), trust_remote_code=True)
    make_base(other, reference, tmp_path, seed=1)
    follows = ModelSettings(base=str(reference))
    make_base(follows, again, Path(), seed=1)
    assert json.loads((again / "base.json").read_text()) == json.loads((reference / "base.json").read_text())
    assert load(again).tokenizer.chat_template == TEMPLATE
    assert tokenizer_of(follows, Path()).chat_template == TEMPLATE
    assert config_of(follows, Path()).hidden_size == 32
    (tmp_path / "newer.jinja").write_text(TEMPLATE + "\n", encoding="utf-8")
    make_base(ModelSettings(base=str(reference), chat_template=Path("newer.jinja")), again, tmp_path, seed=1)
    assert load(again).tokenizer.chat_template == TEMPLATE + "\n"  # what the recipe says goes first


def test_the_commit_of_another_runs_base_is_kept(hub: Hub, model_folder: Path, tmp_path: Path) -> None:
    base, reference, again = (tmp_path / name for name in ("base", "reference", "again"))
    shutil.copytree(model_folder, base)
    for folder in (reference, again):
        folder.mkdir()
    hub("owner/name", base, "a" * 40)
    make_base(ModelSettings(base="owner/name"), reference, Path(), seed=1)
    (base / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    hub("owner/name", base, "b" * 40)  # the main branch has moved on since
    assert load("owner/name").tokenizer.chat_template == TEMPLATE
    make_base(ModelSettings(base=str(reference)), again, Path(), seed=1)
    assert json.loads((again / "base.json").read_text())["revision"] == "a" * 40
    assert load(again).tokenizer.chat_template == load(model_folder).tokenizer.chat_template != TEMPLATE


def test_a_base_of_the_hub_stays_at_the_commit_of_its_first_use(hub: Hub, model_folder: Path, tmp_path: Path) -> None:
    hub("owner/name", model_folder, "a" * 40)
    folder = tmp_path / "base"
    folder.mkdir()
    make_base(ModelSettings(base="owner/name"), folder, Path(), seed=1)
    assert json.loads((folder / "base.json").read_text())["revision"] == "a" * 40
    assert json.loads((folder / "identity.json").read_text())["content"] == "owner/name@" + "a" * 40
    before = identity(load("owner/name"))
    hub("owner/name", model_folder, "b" * 40)
    assert identity(load("owner/name")) != before


def test_an_adapter_is_no_base(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="must be a whole model"):
        make_base(ModelSettings(base=str(tmp_path / "adapter")), tmp_path, Path(), seed=1)


@pytest.mark.parametrize("damage", ["gone", "torn", "empty"])
def test_a_reference_that_leads_nowhere_is_said_in_one_line(model_folder: Path, tmp_path: Path, damage: str) -> None:
    base, reference = tmp_path / "base", tmp_path / "reference"
    shutil.copytree(model_folder, base)
    reference.mkdir()
    make_base(ModelSettings(base=str(base)), reference, Path(), seed=1)
    if damage == "gone":
        shutil.rmtree(base)
    else:
        (reference / "base.json").write_text('{"base": ' if damage == "torn" else "{}")
    said = {"gone": "is no longer there", "torn": "damaged", "empty": "names no base"}[damage]
    for use in (lambda: load(reference), lambda: tokenizer_of(ModelSettings(base=str(reference)), Path())):
        with pytest.raises(UserError, match=said) as caught:
            use()
        assert "\n" not in str(caught.value)


def test_other_weights_behind_a_reference_are_another_model(model_folder: Path, tmp_path: Path) -> None:
    base, reference = tmp_path / "base", tmp_path / "reference"
    shutil.copytree(model_folder, base)
    reference.mkdir()
    make_base(ModelSettings(base=str(base)), reference, Path(), seed=1)
    before = identity(load(reference))
    assert identity(load(reference)) == before
    weights = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    assert identity(load(reference)) != before
