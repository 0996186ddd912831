"""The steps in their order, part by part, with an account that adds up."""

from __future__ import annotations

import json
import os

import pytest

from pediatricsgpt import records as contract
from pediatricsgpt.corpus import execute
from pediatricsgpt.corpus.execute import curate
from pediatricsgpt.corpus.settings import CorpusSettings, SourceSettings
from pediatricsgpt.errors import UserError
from pediatricsgpt.records import read_json_lines, read_records, write_records

SOURCE = SourceSettings(name="made", kind="conversation", path=".", licence="CC0", consent="none", purpose="testing")
SETTINGS = CorpusSettings(sources=[SOURCE])
DISEASES = ("肺炎", "腹泻", "湿疹", "麻疹", "水痘", "贫血", "哮喘", "黄疸")
ADVICE = ("多喝温开水，注意休息。", "到医院查血常规。", "保持皮肤清洁干燥。", "清淡饮食，少量多餐。")


@pytest.fixture
def records(make):
    good = [
        make.dialogue(f"我家宝宝{n + 1}岁，得了{name}，烧到38.{n}度，该怎么办？", f"{name}的孩子要{ADVICE[n % 4]}")
        for n, name in enumerate(DISEASES)
    ]
    return [*good, good[0], make.dialogue("孩子咳嗽怎么办", "嗯")]


@pytest.fixture
def run(tmp_path):
    """Curates records into a folder of its own; gives the folder."""

    def curated(records, name="one", settings=SETTINGS, **changes):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        write_records(tmp_path / f"{name}.parquet", records)
        curate([tmp_path / f"{name}.parquet"], settings.model_copy(update=changes), 17, folder)
        return folder

    return curated


def results(folder):
    """The three files of a result, for comparison."""
    return {name: (folder / name).read_bytes() for name in (execute.RECORDS, execute.REJECTS, execute.COUNTS)}


def kept(folder):
    return read_records(folder / execute.RECORDS)


def rejected(folder):
    return [row for _, row in read_json_lines(folder / execute.REJECTS)]


def test_every_step_accounts_for_what_it_read(records, run) -> None:
    folder = run(records)
    counts = json.loads((folder / execute.COUNTS).read_text(encoding="utf-8"))
    assert list(counts) == ["deidentify", "clean", "label", "quality", "deduplicate", "split"]
    for account in counts.values():
        assert account["kept"] + account["rejected"] == account["read"]
        assert sum(account["reasons"].values()) == account["rejected"]
    assert counts["deduplicate"]["reasons"] == {"duplicate": 1}
    assert len(kept(folder)) == 8
    assert len(rejected(folder)) == 2


def test_records_go_through_all_steps(records, run) -> None:
    for record in kept(run(records)):
        assert [step.name for step in record.steps][:2] == ["read", "deidentify"]
        assert [step.name for step in record.steps][-2:] == ["deduplicate", "split"]
        assert record.split in ("train", "held_out")
        assert record.task


def test_a_duplicate_names_the_record_that_is_kept(records, run) -> None:
    folder = run(records)
    duplicate = next(row for row in rejected(folder) if row["step"] == "deduplicate")
    assert duplicate["reason"].startswith(f"duplicate: of {kept(folder)[0].id} (")


def test_a_step_that_loses_a_record_is_named(records, run, monkeypatch) -> None:
    monkeypatch.setattr(execute, "maps", lambda settings, scores: [("label", lambda found: (found[1:], []))])
    with pytest.raises(RuntimeError, match="step 'label' read 10 records but kept 9"):
        run(records)


def test_same_input_gives_same_output(records, run) -> None:
    assert results(run(records, "one")) == results(run(records, "other"))


def test_the_size_of_parts_changes_nothing(records, run, monkeypatch) -> None:
    whole = run(records, "whole")
    monkeypatch.setattr(contract, "ROW_GROUP", 3)
    parted = run(records, "parted", workers=1)
    assert kept(parted) == kept(whole)
    assert sorted(map(str, rejected(parted))) == sorted(map(str, rejected(whole)))
    assert json.loads((parted / execute.COUNTS).read_text()) == json.loads((whole / execute.COUNTS).read_text())


def test_several_processes_give_the_same_bytes_as_one(records, run, monkeypatch) -> None:
    monkeypatch.setattr(contract, "ROW_GROUP", 2)
    assert results(run(records, "one", workers=1)) == results(run(records, "two", workers=2))


def test_a_killed_run_goes_on_with_the_missing_parts(records, run, monkeypatch) -> None:
    monkeypatch.setattr(contract, "ROW_GROUP", 2)
    whole = run(records, "whole", workers=1)
    work_part, done = execute.work_part, []

    def killed(part, **arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(part.number)
        return work_part(part, **arguments)

    monkeypatch.setattr(execute, "work_part", killed)
    with pytest.raises(KeyboardInterrupt):
        run(records, "killed", workers=1)
    again = []
    monkeypatch.setattr(
        execute, "work_part", lambda part, **given: again.append(part.number) or work_part(part, **given)
    )
    assert results(run(records, "killed", workers=1)) == results(whole)
    assert sorted(done + again) == [0, 1, 2, 3, 4]


def _dies(_part) -> int:
    os._exit(9)


def test_a_killed_process_is_one_line_that_says_what_to_do(tmp_path) -> None:
    parts = [execute.Part(number, tmp_path / "none.parquet", 0, 1) for number in range(4)]
    with pytest.raises(UserError, match=r"for want of memory.*--set corpus\.workers=1"):
        list(execute._local(_dies, parts, 2))


def test_what_a_later_step_rejects_is_already_de_identified(make, run) -> None:
    folder = run([make.dialogue("我叫欧阳建国，电话13912345678，孩子咳嗽怎么办", "嗯")])
    text = (folder / execute.REJECTS).read_text(encoding="utf-8")
    assert rejected(folder)
    assert "13912345678" not in text
    assert "欧阳建国" not in text


@pytest.mark.check
def test_a_ray_cluster_gives_the_same_output_as_this_machine(records, run, monkeypatch) -> None:
    import ray

    monkeypatch.setattr(contract, "ROW_GROUP", 2)
    try:
        assert results(run(records, "ray", engine="ray", workers=2)) == results(run(records, "local", workers=1))
    finally:
        ray.shutdown()


def test_real_records_are_curated(real_records, run) -> None:
    folder = run(real_records)
    assert len(kept(folder)) + len(rejected(folder)) == len(real_records)
    tasks = {record.task for record in kept(folder) if record.pediatric}
    assert {"medkqa", "evidiag", "trerecom"} <= tasks
