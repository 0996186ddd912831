"""The sets in other tools' shapes, read back by those tools' own rules."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from pediatricsgpt.corpus.export import DATASET_INFO, FORMS, LICENCES, export
from pediatricsgpt.errors import UserError
from pediatricsgpt.manifest import Manifest
from tests import rows

SETS = {
    "cpt": ("cpt", [rows.text("小儿腹泻的补液原则。")]),
    "sft": ("instruction", [rows.instruction("孩子发烧怎么办", "多大了？", "两岁", "先量体温。", task="evidiag")]),
    "preferences": ("preference", [rows.preference("宝宝咳嗽", "注意休息，观察呼吸。", "不知道")]),
}


def finished(folder, content, **inputs):
    """A manifest as `run.py` writes it; inputs by the name of their step in the corpus, `/` written as `__`."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"corpus/{name}".replace("__", "/"): value for name, value in inputs.items()}
    manifest = Manifest(f"corpus/{folder.name}", "f", content, {**named, "/data/exam.json": "x"}, {}, "c", 17)
    (folder / "manifest.json").write_text(json.dumps(dataclasses.asdict(manifest)))


@pytest.fixture
def corpus(tmp_path):
    """A corpus with a set of every contract."""
    finished(tmp_path / "run" / "corpus" / "sources" / "clinic", "s1")
    finished(tmp_path / "run" / "corpus" / "curated", "c1", sources__clinic="s1")
    finished(tmp_path / "run" / "corpus" / "instructions", "i1", curated="c1")
    for name, (contract, built) in SETS.items():
        folder = tmp_path / "run" / "corpus" / name
        folder.mkdir()
        rows.write(folder, contract, built).rename(folder / "rows.parquet")
        finished(folder, f"{name}1", instructions="i1", gone="x")
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


def test_only_the_named_folder_is_touched(corpus, tmp_path) -> None:
    for name in ("out.partial", "out.old", ".out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
    before = {path.name for path in tmp_path.iterdir()}
    export(corpus, "trl", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == before | {"out"}
    assert all((tmp_path / name / "mine").is_file() for name in ("out.partial", "out.old", ".out"))
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~mask


def test_an_export_that_fails_leaves_nothing_behind(corpus, tmp_path) -> None:
    (corpus / "corpus" / "sft" / "rows.parquet").write_bytes(b"PAR1 no more")
    before = set(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"sft/rows.parquet: .*not a Parquet file"):
        export(corpus, "trl", tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


def test_a_set_that_is_older_than_its_inputs_is_left_out_and_said(corpus, tmp_path) -> None:
    finished(corpus / "corpus" / "instructions", "i2", curated="c1")
    for name in ("cpt", "sft"):
        finished(corpus / "corpus" / name, f"{name}2", instructions="i2")
    said: list[str] = []
    assert export(corpus, "trl", tmp_path / "out", said.append) == {"cpt": 1, "sft": 1}
    assert not (tmp_path / "out" / "preferences.jsonl").exists()
    assert said == [
        "preferences is left out: it is stale, corpus/instructions is no more what it was made from; "
        "`pedgpt run RECIPE` makes it again"
    ]


def test_a_build_that_was_stopped_in_the_middle_is_not_exported(corpus, tmp_path) -> None:
    finished(corpus / "corpus" / "curated", "c2", sources__clinic="s1")
    with pytest.raises(UserError, match="every set is stale, cpt because corpus/curated is no more what"):
        export(corpus, "trl", tmp_path / "out")


def test_work_redone_with_the_same_result_makes_nothing_stale(corpus, tmp_path) -> None:
    finished(corpus / "corpus" / "sources" / "clinic", "s2")
    finished(corpus / "corpus" / "curated", "c1", sources__clinic="s2")
    assert len(export(corpus, "trl", tmp_path / "out", pytest.fail)) == 3
