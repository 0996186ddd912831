"""What the tests of the readers share: sources made in one line, over files that are made or shipped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pediatricsgpt.corpus.settings import SourceSettings
from pediatricsgpt.corpus.sources import read_source
from pediatricsgpt.records import Record, Reject

ROOT = Path(__file__).parents[3]

Read = Callable[..., tuple[list[Record], list[Reject]]]


@pytest.fixture
def examples() -> Path:
    return ROOT / "examples"


@pytest.fixture
def read() -> Read:
    """Read a path as a source of a kind; the recipe stands beside the file unless a base is given."""

    def reader(path: Path, kind: str, base: Path | None = None, **more: Any) -> tuple[list[Record], list[Reject]]:
        settings = SourceSettings.model_validate(
            {
                "name": "source",
                "kind": kind,
                "path": path if base else path.name,
                "licence": "CC0",
                "consent": "no personal data",
                "purpose": "testing",
                "retrieved": "2026-11-22",
                **more,
            }
        )
        reading = read_source(settings, base or path.parent)
        return reading.records, reading.rejects

    return reader


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of a source."""

    def maker(name: str, content: str | bytes, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return maker
