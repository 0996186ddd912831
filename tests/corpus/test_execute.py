"""The steps in their order, with an account that adds up."""

from __future__ import annotations

import pytest

from pediatricsgpt.corpus import execute
from pediatricsgpt.corpus.execute import curate
from pediatricsgpt.corpus.settings import CorpusSettings, SourceSettings
from pediatricsgpt.records import read_records, write_records

SOURCE = SourceSettings(name="made", kind="conversation", path=".", licence="CC0", consent="none", purpose="testing")
SETTINGS = CorpusSettings(sources=[SOURCE])


@pytest.fixture
def records(make):
    good = [make.dialogue(f"我家宝宝{n}岁，发烧三天怎么办？", f"建议多喝水，第{n}天复查。") for n in range(1, 9)]
    return [*good, good[0], make.dialogue("孩子咳嗽怎么办", "嗯")]


def test_every_step_accounts_for_what_it_read(records) -> None:
    curated = curate(records, SETTINGS, seed=17)
    assert list(curated.counts) == ["clean", "deduplicate", "label", "split"]
    for counts in curated.counts.values():
        assert counts["kept"] + counts["rejected"] == counts["read"]
    assert curated.counts["clean"]["reasons"] == {"answer too short": 1}
    assert curated.counts["deduplicate"]["reasons"] == {"duplicate": 1}
    assert len(curated.records) + len(curated.rejects) == len(records)


def test_records_go_through_all_steps(records, tmp_path) -> None:
    curated = curate(records, SETTINGS, seed=17)
    for record in curated.records:
        assert [step.name for step in record.steps] == ["read", "clean", "deduplicate", "label", "split"]
        assert record.split in ("train", "held_out")
        assert record.task
    write_records(tmp_path / "records.parquet", curated.records)
    assert read_records(tmp_path / "records.parquet") == curated.records


def test_a_step_that_loses_a_record_is_named(records, monkeypatch) -> None:
    monkeypatch.setattr(execute, "label", lambda found: found[1:])
    with pytest.raises(RuntimeError, match="step 'label' read 8 records but kept 7"):
        curate(records, SETTINGS, seed=17)


def test_same_input_gives_same_output(records) -> None:
    assert curate(records, SETTINGS, seed=17) == curate(records, SETTINGS, seed=17)


def test_real_records_are_curated(real_records) -> None:
    curated = curate(real_records, SETTINGS, seed=17)
    assert len(curated.records) + len(curated.rejects) == len(real_records)
    tasks = {record.task for record in curated.records if record.pediatric}
    assert {"medkqa", "evidiag", "trerecom"} <= tasks
