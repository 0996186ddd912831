"""The sets in other tools' shapes, read back by those tools' own rules."""

from __future__ import annotations

import json

import pytest

from pediatricsgpt.corpus.export import DATASET_INFO, FORMS, LICENCES, export
from pediatricsgpt.errors import UserError
from tests import rows

SETS = {
    "cpt": ("cpt", [rows.text("小儿腹泻的补液原则。")]),
    "sft": ("instruction", [rows.instruction("孩子发烧怎么办", "多大了？", "两岁", "先量体温。", task="evidiag")]),
    "preferences": ("preference", [rows.preference("宝宝咳嗽", "注意休息，观察呼吸。", "不知道")]),
}


@pytest.fixture
def corpus(tmp_path):
    """A corpus with a set of every contract."""
    (tmp_path / "run" / "corpus" / "curated").mkdir(parents=True)
    for name, (contract, built) in SETS.items():
        folder = tmp_path / "run" / "corpus" / name
        folder.mkdir()
        rows.write(folder, contract, built).rename(folder / "rows.parquet")
        (folder / "manifest.json").write_text("{}")
    return tmp_path / "run"


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_every_row_with_its_id_and_licence(corpus, tmp_path, form) -> None:
    assert export(corpus, form, tmp_path / "out") == {"cpt": 1, "sft": 1, "preferences": 1}
    for name, (_, built) in SETS.items():
        assert [row["id"] for row in lines(tmp_path / "out" / f"{name}.jsonl")] == [row["id"] for row in built]
    assert "| sft | tests | CC0 | none needed | 1 |" in (tmp_path / "out" / LICENCES).read_text(encoding="utf-8")


def test_datasets_and_trl_take_the_rows_as_they_are(corpus, tmp_path) -> None:
    import datasets
    from trl import data_utils

    export(corpus, "trl", tmp_path / "out")
    loaded = {
        name: datasets.load_dataset("json", data_files=str(tmp_path / "out" / f"{name}.jsonl"), split="train")
        for name in SETS
    }
    assert loaded["cpt"][0]["text"] == "小儿腹泻的补液原则。"
    assert data_utils.is_conversational(loaded["sft"][0])
    assert [turn["role"] for turn in loaded["sft"][0]["messages"]] == ["user", "assistant", "user", "assistant"]
    assert data_utils.is_conversational(loaded["preferences"][0])
    assert {"prompt", "chosen", "rejected"} <= set(loaded["preferences"].column_names)


def _converted(info, row):
    """A row of a `sharegpt` file by the rules that LLaMA-Factory documents: its turns and the two answers."""
    tags, columns = info["tags"], info["columns"]
    roles = {tags["user_tag"]: "user", tags["assistant_tag"]: "assistant"}
    turns = [(roles[turn[tags["role_tag"]]], turn[tags["content_tag"]]) for turn in row[columns["messages"]]]
    assert all(role == ("user", "assistant")[place % 2] for place, (role, _) in enumerate(turns))
    assert len(turns) % 2 == (1 if info.get("ranking") else 0)
    sides = [row[columns[side]][tags["content_tag"]] for side in ("chosen", "rejected") if info.get("ranking")]
    return turns, sides


def test_llamafactory_reads_every_set_by_its_dataset_info(corpus, tmp_path) -> None:
    export(corpus, "llamafactory", tmp_path / "out")
    raw = (tmp_path / "out" / DATASET_INFO).read_bytes()
    assert raw.isascii()  # it is opened in the system's encoding there
    info = json.loads(raw)
    assert set(info) == {f"pedcorpus_{name}" for name in SETS}
    for entry in info.values():
        assert (tmp_path / "out" / entry["file_name"]).is_file()
    cpt = lines(tmp_path / "out" / info["pedcorpus_cpt"]["file_name"])[0]
    assert cpt[info["pedcorpus_cpt"]["columns"]["prompt"]] == "小儿腹泻的补液原则。"
    turns, _ = _converted(info["pedcorpus_sft"], lines(tmp_path / "out" / "sft.jsonl")[0])
    assert [text for _, text in turns] == ["孩子发烧怎么办", "多大了？", "两岁", "先量体温。"]
    turns, sides = _converted(info["pedcorpus_preferences"], lines(tmp_path / "out" / "preferences.jsonl")[0])
    assert turns == [("user", "宝宝咳嗽")]
    assert sides == ["注意休息，观察呼吸。", "不知道"]


def test_a_wrong_form_and_a_full_folder_are_refused(corpus, tmp_path) -> None:
    with pytest.raises(UserError, match="no form 'csv'; there are trl, llamafactory, jsonl"):
        export(corpus, "csv", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(UserError, match="there is something already"):
        export(corpus, "trl", tmp_path / "full")
    (tmp_path / "empty" / "corpus" / "curated").mkdir(parents=True)
    with pytest.raises(UserError, match="no set is built yet"):
        export(tmp_path / "empty", "trl", tmp_path / "out")
