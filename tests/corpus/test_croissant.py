"""The Croissant metadata, checked and read by MLCommons' own library."""

from __future__ import annotations

import hashlib
import json

import pytest

from pediatricsgpt.corpus.croissant import croissant
from tests import rows

SOURCE = {"name": "tests", "licence": "MIT", "consent": "no personal data", "purpose": "tests"}


@pytest.fixture
def described(tmp_path):
    (tmp_path / "sft").mkdir()
    (tmp_path / "card").mkdir()
    file = rows.write(tmp_path / "sft", "instruction", [rows.instruction("孩子发烧怎么办", "先量体温。")])
    path = tmp_path / "card" / "croissant.json"
    path.write_text(json.dumps(croissant("demo", {"sft": file}, [SOURCE]), ensure_ascii=False), encoding="utf-8")
    return path, file


def test_the_official_library_finds_no_error_and_reads_the_rows(described) -> None:
    import mlcroissant

    path, _ = described
    dataset = mlcroissant.Dataset(jsonld=str(path))
    assert not dataset.metadata.ctx.issues.errors
    (row,) = dataset.records("sft")
    assert row["sft/task"].decode() == "medkqa"
    assert row["sft/department"].decode() == "儿科"


def test_the_files_stand_with_their_hash(described) -> None:
    path, file = described
    (entry,) = json.loads(path.read_text(encoding="utf-8"))["distribution"]
    assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (path.parent / entry["contentUrl"]).resolve() == file


def test_consent_and_licence_stand_in_it(described) -> None:
    value = json.loads(described[0].read_text(encoding="utf-8"))
    assert value["license"] == "MIT"
    assert "no personal data" in value["rai:personalSensitiveInformation"]
